"""VolumeAttributesClasses: they count when a volume is made. No driver changes a volume that there is, which its claim
is told; and a class that somebody uses stays.

https://kubernetes.io/docs/concepts/storage/volume-attributes-classes/
"""

from hypernetes.api import times
from hypernetes.api.models.core_v1 import (
    ModifyVolumeStatus,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
)
from hypernetes.api.models.storage_v1 import VolumeAttributesClass
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers

FINALIZER = "kubernetes.io/vac-protection"
FAILED = "ModifyVolumeError"  # a condition
_WHY = "the attributes of a volume that is there can't be changed; make a claim of that class, from this one"


def refused(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """The claim with what became of its wish, or without a wish that it has no more; itself if it says so."""
    wanted, current = claim.spec.volume_attributes_class_name, claim.status.current_volume_attributes_class_name
    others = [each for each in claim.status.conditions if each.type != FAILED]
    if (wanted or None) == (current or None):
        parts: dict[str, object] = {"modify_volume_status": None, "conditions": others}
    else:
        told = next((each for each in claim.status.conditions if each.type == FAILED), None)
        if told is None:
            now = times.format_time(times.now())
            told = PersistentVolumeClaimCondition(type=FAILED, status="True", message=_WHY, last_transition_time=now)
        state = ModifyVolumeStatus(status="Infeasible", target_volume_attributes_class_name=wanted)
        parts = {"modify_volume_status": state, "conditions": [*others, told]}
    status = claim.status.model_copy(update=parts)
    return claim if status == claim.status else claim.model_copy(update={"status": status})


class VolumeAttributes(Controller):
    """Keys are claims."""

    name = "volume-attributes"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._claims = informers.of(PersistentVolumeClaim)
        self._claims.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None or claim.status.phase != "Bound":
            return None
        told = refused(claim)
        if told is not claim:
            if told.status.modify_volume_status is not None:
                self.recorder.event(claim, "Warning", "VolumeModifyFailed", _WHY)
            await self.client.update_status(told, tenant=key.tenant)
        return None


class AttributesClassProtection(Controller):
    """Keys are classes. One of `system` is used by whoever's claims name it, in all tenants."""

    name = "volumeattributesclass-protection"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._classes = informers.of(VolumeAttributesClass)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._classes.on_key(self.queue.add)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)

    def _claim_changed(
        self, key: Key, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:  # fmt: skip
        if old is not None and (new is None or _of_claim(old) != _of_claim(new)):
            self._look_at(key.tenant, _of_claim(old))

    def _volume_changed(self, key: Key, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if old is not None and new is None:
            self._look_at(key.tenant, _of_volume(old))

    def _look_at(self, tenant: str, found: set[str]) -> None:
        for name in found:
            self.queue.add(Key(tenant, "", name))
            self.queue.add(Key(SYSTEM_TENANT, "", name))

    async def reconcile(self, key: Key) -> float | None:
        found = self._classes.get(key)
        if found is None or found.metadata.deletion_timestamp is None or FINALIZER not in found.metadata.finalizers:
            return None
        if self._is_used(key):
            return None
        freed = found.model_copy(deep=True)
        freed.metadata.finalizers.remove(FINALIZER)
        await self.client.update(freed, tenant=key.tenant)
        return None

    def _is_used(self, key: Key) -> bool:
        """By nobody who has a class of that name of his own: that one is meant then."""
        named = [
            *((each.tenant, _of_claim(claim)) for each, claim in self._claims.items()),
            *((each.tenant, _of_volume(volume)) for each, volume in self._volumes.items()),
        ]
        return any(
            key.name in names
            and (
                tenant == key.tenant or (key.tenant == SYSTEM_TENANT and Key(tenant, "", key.name) not in self._classes)
            )
            for tenant, names in named
        )


def _of_claim(claim: PersistentVolumeClaim) -> set[str]:
    found = {claim.spec.volume_attributes_class_name, claim.status.current_volume_attributes_class_name}
    return {name for name in found if name}


def _of_volume(volume: PersistentVolume) -> set[str]:
    name = volume.spec.volume_attributes_class_name
    return {name} if name else set()
