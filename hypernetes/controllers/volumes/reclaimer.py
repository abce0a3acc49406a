"""What becomes of a volume that nobody claims any more: it stays, or it is deleted with all that is in it.

Only what a driver has made for a claim is deleted, once nothing is attached; volumes that others made are given back
as they are.
"""

from hypernetes.api.models.core_v1 import PersistentVolume
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.api.volumes import names
from hypernetes.api.volumes.names import Storage
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller, Unfinished
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import faults
from hypernetes.controllers.volumes.providers import Providers, answer, owner_of
from hypernetes.controllers.volumes.provisioner import REFUSED_SECONDS
from hypernetes.controllers.writes import Delete, carry_out_one
from hypernetes.providers.volume.base import Handle, Refused, VolumeError

KEEP, LET_GO, DELETE = "keep", "let go", "delete"


def verdict(volume: PersistentVolume) -> str:
    """KEEP it, LET_GO of the object (the storage stays), or DELETE both."""
    ending = volume.metadata.deletion_timestamp is not None
    held = names.PROVISIONED_FINALIZER in volume.metadata.finalizers
    ours = names.PROVISIONED_BY in volume.metadata.annotations
    if ours and volume.spec.persistent_volume_reclaim_policy == "Delete":
        if volume.status.phase == "Released" or (ending and volume.status.phase != "Bound"):
            return DELETE
        return KEEP
    return LET_GO if ending and held else KEEP


class VolumeReclaimer(Controller):
    name = "volume-reclaimer"
    workers = 16

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, providers: Providers) -> None:
        super().__init__(client, informers, recorder)
        self._providers = providers
        self._volumes = informers.of(PersistentVolume)
        self._attachments = informers.of(VolumeAttachment)
        self._tenants = informers.of(Tenant)
        self._volumes.on_key(self.queue.add)
        self._attachments.on_change(self._attachment_changed)

    def _attachment_changed(self, key: Key, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        if old is not None and new is None:
            for volume in self._volumes.index_keys("storage", names.storage_index(names.attached_storage(old))):
                self.queue.add(volume)

    async def reconcile(self, key: Key) -> float | None:
        volume = self._volumes.get(key)
        if volume is None:
            return None
        decided, storage = verdict(volume), names.storage_of(key.tenant, volume.spec)
        if decided == KEEP or storage is None:
            return None
        if decided == DELETE:
            if volume.metadata.annotations[names.PROVISIONED_BY] != storage.driver:
                return None
            if self._attachments.index_size("storage", names.storage_index(storage)):
                return None  # the end of the attachment brings us back
            try:
                if not await self._delete(key, storage):
                    return None
            except Refused as error:
                self.recorder.event(volume, "Warning", "VolumeFailedDelete", f"{error.reason}: {error}")
                return REFUSED_SECONDS
            except VolumeError as error:
                self.recorder.event(volume, "Warning", "VolumeFailedDelete", f"{error.reason}: {error}")
                raise Unfinished(str(error)) from error
            faults.passed(faults.VOLUME_DELETED)
        if names.PROVISIONED_FINALIZER in volume.metadata.finalizers:
            freed = volume.model_copy(deep=True)
            freed.metadata.finalizers.remove(names.PROVISIONED_FINALIZER)
            volume = await self.client.update(freed, tenant=key.tenant)
        faults.passed(faults.VOLUME_LET_GO)
        if decided == DELETE and volume.metadata.deletion_timestamp is None:
            await carry_out_one(self.client, key.tenant, Delete(volume))
        return None

    async def _delete(self, key: Key, storage: Storage) -> bool:
        """False where the driver is not ours. Raises VolumeError."""
        provider = self._providers.get(storage.driver)
        if provider is None:
            return False
        await answer(provider.delete(Handle(owner_of(self._tenants, key.tenant), storage.handle)))
        return True
