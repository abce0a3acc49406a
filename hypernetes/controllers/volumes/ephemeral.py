"""Claims that pods bring along: one for each ephemeral volume, owned by the pod, so that it ends with it.

https://github.com/kubernetes/enhancements/tree/master/keps/sig-storage/1698-generic-ephemeral-volumes
"""

from collections.abc import Iterable

from hypernetes.api.models.core_v1 import PersistentVolumeClaim, Pod
from hypernetes.api.models.meta_v1 import ObjectMeta, OwnerReference
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import pods as podfacts
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers


def claims(pod: Pod) -> Iterable[tuple[str, PersistentVolumeClaim]]:
    """(volume, claim) of each."""
    for volume in pod.spec.volumes:
        template = volume.ephemeral.volume_claim_template if volume.ephemeral is not None else None
        if template is not None:
            owner = OwnerReference(
                api_version_="v1", kind_="Pod", name=pod.metadata.name or "", uid=pod.metadata.uid or "",
                controller=True, block_owner_deletion=True,
            )  # fmt: skip
            metadata = ObjectMeta(
                name=f"{pod.metadata.name}-{volume.name}",
                namespace=pod.metadata.namespace,
                labels=dict(template.metadata.labels),
                annotations=dict(template.metadata.annotations),
                owner_references=[owner],
            )
            yield volume.name, PersistentVolumeClaim(metadata=metadata, spec=template.spec)


def is_of(claim: PersistentVolumeClaim, pod: Pod) -> bool:
    return any(owner.controller and owner.uid == pod.metadata.uid for owner in claim.metadata.owner_references)


class EphemeralVolumes(Controller):
    name = "ephemeral-volume"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._pods = informers.of(Pod)
        self._claims = informers.of(PersistentVolumeClaim)
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if new is not None and (old is None or old.metadata.uid != new.metadata.uid) and _has_any(new):
            self.queue.add(key)

    def _claim_changed(
        self, key: Key, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:  # fmt: skip
        if new is None and old is not None:
            for owner in old.metadata.owner_references:
                if owner.kind_ == "Pod" and owner.controller:
                    self.queue.add(Key(key.tenant, key.namespace, owner.name))

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        if pod is None or pod.metadata.deletion_timestamp is not None or podfacts.is_finished(pod):
            return None
        for volume, claim in claims(pod):
            there = self._claims.get(Key(key.tenant, key.namespace, claim.metadata.name or ""))
            if there is None:
                try:
                    there = await self.client.create(claim, tenant=key.tenant)
                except Exception as error:
                    if not is_reason(error, "AlreadyExists"):
                        message = f"ephemeral volume {volume}: PVC {claim.metadata.name} was not created: {error}"
                        self.recorder.event(pod, "Warning", "FailedBinding", message)
                    raise
            if not is_of(there, pod):
                message = f"ephemeral volume {volume}: PVC {claim.metadata.name} was not created for the pod"
                self.recorder.event(pod, "Warning", "FailedBinding", message)
        return None


def _has_any(pod: Pod) -> bool:
    return any(volume.ephemeral is not None for volume in pod.spec.volumes)
