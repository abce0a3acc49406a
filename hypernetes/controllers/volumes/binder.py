"""Claims and volumes are bound to each other: the volume first, by its claimRef, then the claim, by its volumeName.

Each of the four writes is made only if the one before it holds, and each names the version it goes by, so that no two
claims get one volume, whoever dies or is late.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from typing import Any

from hypernetes.api.models.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim
from hypernetes.api.models.storage_v1 import StorageClass
from hypernetes.api.volumes import matching, names
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import classes, faults


def claimed(volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
    """The volume, reserved for the claim; itself if it is."""
    reference = volume.spec.claim_ref
    if reference is not None and reference.uid == claim.metadata.uid:
        return volume
    new = volume.model_copy(deep=True)
    if reference is None:
        new.metadata.annotations[names.BOUND_BY_CONTROLLER] = "yes"
    new.spec.claim_ref = ObjectReference(
        api_version_="v1", kind_="PersistentVolumeClaim", namespace=claim.metadata.namespace, name=claim.metadata.name,
        uid=claim.metadata.uid, resource_version=claim.metadata.resource_version,
    )  # fmt: skip
    return new


def with_volume(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolumeClaim:
    """The claim that names the volume; itself if it does."""
    if claim.spec.volume_name == volume.metadata.name and names.BIND_COMPLETED in claim.metadata.annotations:
        return claim
    new = claim.model_copy(deep=True)
    if not claim.spec.volume_name:
        new.spec.volume_name = volume.metadata.name
        new.metadata.annotations[names.BOUND_BY_CONTROLLER] = "yes"
    new.metadata.annotations[names.BIND_COMPLETED] = "yes"
    return new


def bound(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolumeClaim:
    """The claim with what it has got in its status. The size of one that is bound already isn't touched: until the
    file system has grown, it is less than the volume's."""
    status = claim.status.model_copy()
    if status.phase != "Bound" or not status.capacity:
        status.capacity = dict(volume.spec.capacity)
    status.phase, status.access_modes = "Bound", list(volume.spec.access_modes)
    if status.current_volume_attributes_class_name is None:
        status.current_volume_attributes_class_name = volume.spec.volume_attributes_class_name
    return claim if status == claim.status else claim.model_copy(update={"status": status})


def in_phase(obj: Any, phase: str, **more: Any) -> Any:
    """The volume or claim in another phase; itself if it is in that."""
    if obj.status.phase == phase:
        return obj
    return obj.model_copy(update={"status": obj.status.model_copy(update={"phase": phase, **more})})


class ClaimBinder(Controller):
    name = "persistentvolume-binder"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._classes = informers.of(StorageClass)
        self._claims.on_key(self.queue.add)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(self._class_changed)

    def _volume_changed(self, key: Key, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        for volume in (old, new):
            if volume is not None and volume.spec.claim_ref is not None:
                reference = volume.spec.claim_ref
                self.queue.add(Key(key.tenant, reference.namespace or "", reference.name or ""))
        for claim in self._claims.by_index("volume", names.volume_index(key.tenant, key.name)):
            self.queue.add(Key(key.tenant, claim.metadata.namespace or "", claim.metadata.name or ""))
        if new is not None and new.spec.claim_ref is None:
            self._wake(key.tenant, names.class_name(new))

    def _class_changed(self, key: Key, old: StorageClass | None, new: StorageClass | None) -> None:
        if new is not None:
            for claim_key, claim in self._claims.items():
                if names.class_name(claim) == key.name and not claim.spec.volume_name:
                    self.queue.add(claim_key)

    def _wake(self, tenant: str, class_name: str) -> None:
        """The claims that may have waited for a volume of this class."""
        for key in self._claims.index_keys("class", names.class_index(tenant, class_name)):
            claim = self._claims.get(key)
            if claim is not None and claim.status.phase != "Bound":
                self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None:
            return None
        if claim.spec.volume_name:
            await self._named(key, claim, claim.spec.volume_name)
        elif claim.metadata.deletion_timestamp is None:
            await self._unnamed(key, claim)
        return None

    # Claims that name no volume

    async def _unnamed(self, key: Key, claim: PersistentVolumeClaim) -> None:
        found = classes.find(self._classes, key.tenant, names.class_name(claim))
        waits = found is not None and found.volume_binding_mode == "WaitForFirstConsumer"
        volumes = self._volumes.by_index("class", names.class_index(key.tenant, names.class_name(claim)))
        if waits:  # the scheduler reserves one that is there, for the node that it has chosen
            volumes = [volume for volume in volumes if matching.refers(volume.spec.claim_ref, claim)]
        volume = matching.best(claim, volumes)
        if volume is not None:
            await self._bind(key, claim, volume)
        elif waits and names.SELECTED_NODE not in claim.metadata.annotations:
            message = "waiting for first consumer to be created before binding"
            self.recorder.event(claim, "Normal", "WaitForFirstConsumer", message)
        elif found is None or found.provisioner == names.NO_PROVISIONER:
            self._say_no_volume(claim, found)
        else:
            await self._ask(key, claim, found.provisioner)

    def _say_no_volume(self, claim: PersistentVolumeClaim, found: StorageClass | None) -> None:
        name = names.class_name(claim)
        if name and found is None:
            message = f'storageclass.storage.k8s.io "{name}" not found'
            self.recorder.event(claim, "Warning", "ProvisioningFailed", message)
            return
        message = "no persistent volumes available for this claim and no storage class is set"
        self.recorder.event(claim, "Normal", "FailedBinding", message)

    async def _ask(self, key: Key, claim: PersistentVolumeClaim, provisioner: str) -> None:
        """Says which driver is to make a volume: ours (provisioner.py), or one that somebody runs."""
        if any(claim.metadata.annotations.get(name) != provisioner for name in names.PROVISIONERS):
            new = claim.model_copy(deep=True)
            new.metadata.annotations |= dict.fromkeys(names.PROVISIONERS, provisioner)
            await self.client.update(new, tenant=key.tenant)
        message = (
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
            "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
            "correctly registered."
        )
        self.recorder.event(claim, "Normal", "ExternalProvisioning", message)

    # Claims that do

    async def _named(self, key: Key, claim: PersistentVolumeClaim, name: str) -> None:
        completed = names.BIND_COMPLETED in claim.metadata.annotations
        volume = self._volumes.get(Key(key.tenant, "", name))
        if volume is None:
            if completed and not await self._exists(key.tenant, name):
                await self._lose(
                    key, claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                )
            return
        reference = volume.spec.claim_ref
        if reference is None or matching.refers(reference, claim):
            why = None if completed or (reference is not None and reference.uid) else matching.mismatch(volume, claim)
            if why is None:
                await self._bind(key, claim, volume)
            else:
                message = f'Cannot bind to requested volume "{name}": {why}'
                self.recorder.event(claim, "Warning", "VolumeMismatch", message)
        elif completed:
            await self._lose(
                key, claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"
            )
        else:
            message = f'volume "{name}" already bound to a different claim.'
            self.recorder.event(claim, "Warning", "FailedBinding", message)

    async def _exists(self, tenant: str, name: str) -> bool:
        """By the server's word, since the cache may lag."""
        try:
            await self.client.get(PersistentVolume, name, tenant=tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            return False
        return True

    async def _lose(self, key: Key, claim: PersistentVolumeClaim, reason: str, message: str) -> None:
        lost = in_phase(claim, "Lost", capacity={}, access_modes=[])
        if lost is not claim:
            await self.client.update_status(lost, tenant=key.tenant)
            self.recorder.event(claim, "Warning", reason, message)

    # Both

    async def _bind(self, key: Key, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        reserved = claimed(volume, claim)
        if reserved is not volume:
            reserved = await self.client.update(reserved, tenant=key.tenant)
        faults.passed(faults.VOLUME_CLAIMED)
        taken = in_phase(reserved, "Bound")
        if taken is not reserved:
            await self.client.update_status(taken, tenant=key.tenant)
        naming = with_volume(claim, volume)
        if naming is not claim:
            naming = await self.client.update(naming, tenant=key.tenant)
        faults.passed(faults.CLAIM_BOUND)
        complete = bound(naming, volume)
        if complete is not naming:
            await self.client.update_status(complete, tenant=key.tenant)
