"""Claims and volumes that are deleted while somebody uses them: the finalizers that hold them go with the last user.

A claim is used by pods that have a node and haven't ended; a volume by the claim it is bound to.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from collections.abc import Iterable
from typing import Any

from hypernetes.api.models.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from hypernetes.api.volumes.names import claims_of
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import pods as podfacts
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index

CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


def is_used(claim: str, pods: Iterable[Pod]) -> bool:
    """By a pod on a node. One that has none yet will find the claim ending, and doesn't start."""
    return any(
        pod.spec.node_name and not podfacts.is_finished(pod) and claim in claims_of(pod).values() for pod in pods
    )


class _Protection(Controller):
    """Takes a finalizer from what is being deleted once nobody uses it."""

    model: type[Any]
    finalizer: str

    async def _release(self, key: Key, obj: Any) -> None:
        kept = [entry for entry in obj.metadata.finalizers if entry != self.finalizer]
        body = {"metadata": {"uid": obj.metadata.uid, "finalizers": kept,
                             "resourceVersion": obj.metadata.resource_version}}  # fmt: skip
        try:
            await self.client.patch(self.model, key.name, body, namespace=key.namespace or None, tenant=key.tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise

    def _held(self, obj: Any) -> bool:
        """Whether it is being deleted, and held by our finalizer."""
        return obj.metadata.deletion_timestamp is not None and self.finalizer in obj.metadata.finalizers


class ClaimProtection(_Protection):
    name = "persistentvolumeclaim-protection"
    model = PersistentVolumeClaim
    finalizer = CLAIM_FINALIZER

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._claims = informers.of(PersistentVolumeClaim)
        self._pods = informers.of(Pod)
        self._claims.on_key(self.queue.add)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or podfacts.is_finished(new)):
            for name in claims_of(old).values():
                self.queue.add(Key(key.tenant, key.namespace, name))

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None or not self._held(claim):
            return None
        if not is_used(key.name, self._pods.by_index("namespace", namespace_index(key.tenant, key.namespace))):
            await self._release(key, claim)
        return None


class VolumeProtection(_Protection):
    name = "persistentvolume-protection"
    model = PersistentVolume
    finalizer = VOLUME_FINALIZER

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._volumes = informers.of(PersistentVolume)
        self._volumes.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        volume = self._volumes.get(key)
        if volume is not None and self._held(volume) and volume.status.phase != "Bound":
            await self._release(key, volume)
        return None
