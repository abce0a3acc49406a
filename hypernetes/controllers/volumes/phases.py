"""The phase of a volume: Available, Bound, and Released when its claim is gone; what then becomes of it is
reclaimer.py's."""

from hypernetes.api.models.core_v1 import PersistentVolume, PersistentVolumeClaim
from hypernetes.api.volumes import names
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes.binder import in_phase

_NO_RECYCLING = "volumes are not recycled here; use the reclaim policy Delete or Retain"


def unclaimed(volume: PersistentVolume) -> PersistentVolume:
    """The volume, free again. What an administrator had reserved for a claim stays so for the next of that name."""
    new = volume.model_copy(deep=True)
    if new.metadata.annotations.pop(names.BOUND_BY_CONTROLLER, None):
        new.spec.claim_ref = None
    elif new.spec.claim_ref is not None:
        new.spec.claim_ref.uid = new.spec.claim_ref.resource_version = None
    return new


class VolumePhases(Controller):
    name = "persistentvolume-phases"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._volumes.on_key(self.queue.add)
        self._claims.on_change(self._claim_changed)

    def _claim_changed(
        self, key: Key, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:  # fmt: skip
        if new is None or old is None or new.metadata.uid != old.metadata.uid:
            for volume in self._volumes.index_keys("claim", names.claim_index(*key)):
                self.queue.add(volume)

    async def reconcile(self, key: Key) -> float | None:
        volume = self._volumes.get(key)
        if volume is None:
            return None
        reference = volume.spec.claim_ref
        if reference is None or not reference.uid:
            await self._tell(key, in_phase(volume, "Available"), volume)
            return None
        claim = await self._claim(key.tenant, volume)
        if claim is None:
            await self._release(key, volume)
        elif claim.spec.volume_name == key.name:
            await self._tell(key, in_phase(volume, "Bound"), volume)
        elif claim.spec.volume_name:  # it has found another one
            if names.PROVISIONED_BY in volume.metadata.annotations:
                await self._release(key, volume)
            else:
                await self.client.update(unclaimed(volume), tenant=key.tenant)
        return None

    async def _claim(self, tenant: str, volume: PersistentVolume) -> PersistentVolumeClaim | None:
        """The claim that the volume is for. That it is gone is the server's to say: what follows can't be undone."""
        reference = volume.spec.claim_ref
        assert reference is not None
        found = self._claims.get(Key(tenant, reference.namespace or "", reference.name or ""))
        if found is None or found.metadata.uid != reference.uid:
            try:
                found = await self.client.get(
                    PersistentVolumeClaim, reference.name or "", namespace=reference.namespace, tenant=tenant
                )
            except Exception as error:
                if not is_reason(error, "NotFound"):
                    raise
                return None
        return found if found.metadata.uid == reference.uid else None

    async def _release(self, key: Key, volume: PersistentVolume) -> None:
        if volume.spec.persistent_volume_reclaim_policy == "Recycle":
            failed = in_phase(volume, "Failed", message=_NO_RECYCLING, reason="RecycleNotSupported")
            if failed is not volume:
                self.recorder.event(volume, "Warning", "VolumeFailedRecycle", _NO_RECYCLING)
            await self._tell(key, failed, volume)
        else:
            await self._tell(key, in_phase(volume, "Released"), volume)

    async def _tell(self, key: Key, new: PersistentVolume, old: PersistentVolume) -> None:
        if new is not old:
            await self.client.update_status(new, tenant=key.tenant)
