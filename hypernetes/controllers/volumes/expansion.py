"""Claims that grow: first the volume, then the file system in it, which is the node's work.

    requested > status.capacity ─► provider.extend ─► PersistentVolume.capacity ─► FileSystemResizePending ─► (node)

The node's agent says how large the file system is on the VolumeAttachment; where there is none, it grows when it is
mounted next. A volume without a file system is done when the driver is.
https://github.com/kubernetes/enhancements/tree/master/keps/sig-storage/1790-recover-resize-failure
"""

import asyncio
from collections.abc import Iterable

from hypernetes.api import quantity, times
from hypernetes.api.models.core_v1 import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
    PersistentVolumeClaimStatus,
)
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.api.volumes import names
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller, Unfinished
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import faults
from hypernetes.controllers.volumes.providers import Providers, answer, owner_of
from hypernetes.controllers.volumes.provisioner import REFUSED_SECONDS
from hypernetes.providers.volume.base import Handle, Refused, VolumeError

RESIZING, FILE_SYSTEM_PENDING = "Resizing", "FileSystemResizePending"  # conditions
IN_PROGRESS, INFEASIBLE = "ControllerResizeInProgress", "ControllerResizeInfeasible"  # allocatedResourceStatuses
NODE_PENDING = "NodeResizePending"
FILE_SYSTEM_BYTES = "hypernetes.io/file-system-bytes"  # of a VolumeAttachment: as large as the agent has made it
_OURS = (RESIZING, FILE_SYSTEM_PENDING)


def condition(claim: PersistentVolumeClaim, type: str, message: str) -> PersistentVolumeClaimCondition:
    """With the time at which it became true."""
    for there in claim.status.conditions:
        if there.type == type and there.status == "True":
            return there.model_copy(update={"message": message})
    now = times.format_time(times.now())
    return PersistentVolumeClaimCondition(type=type, status="True", message=message, last_transition_time=now)


def resizing(claim: PersistentVolumeClaim, state: str, told: PersistentVolumeClaimCondition) -> PersistentVolumeClaim:
    """The claim while it grows to what it requests."""
    others = [each for each in claim.status.conditions if each.type not in _OURS]
    size = names.of_bytes(names.requested_bytes(claim))
    return _with(
        claim,
        conditions=[*others, told],
        allocated_resources={**claim.status.allocated_resources, "storage": size},
        allocated_resource_statuses={"storage": state},
    )


def grown(claim: PersistentVolumeClaim, size_bytes: int) -> PersistentVolumeClaim:
    """The claim that has what it asked for."""
    others = [each for each in claim.status.conditions if each.type not in _OURS]
    size = names.of_bytes(size_bytes)
    return _with(
        claim,
        capacity={**claim.status.capacity, "storage": size},
        conditions=others,
        allocated_resources={**claim.status.allocated_resources, "storage": size},
        allocated_resource_statuses={},
    )


def _with(claim: PersistentVolumeClaim, **parts: object) -> PersistentVolumeClaim:
    status: PersistentVolumeClaimStatus = claim.status.model_copy(update=parts)
    return claim if status == claim.status else claim.model_copy(update={"status": status})


def file_system_bytes(attachments: Iterable[VolumeAttachment]) -> int:
    """The size of the file system as far as a node has told; 0 where none has."""
    found = [each.metadata.annotations.get(FILE_SYSTEM_BYTES, "0") for each in attachments]
    return max((int(text) for text in found if text.isascii() and text.isdigit()), default=0)


class VolumeExpansion(Controller):
    name = "volumeexpand"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, providers: Providers) -> None:
        super().__init__(client, informers, recorder)
        self._providers = providers
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._attachments = informers.of(VolumeAttachment)
        self._tenants = informers.of(Tenant)
        self._refused: dict[
            Key, tuple[int, float]
        ] = {}  # the size, and when (by the loop's clock) it may be asked again
        self._claims.on_key(self.queue.add)
        self._attachments.on_change(self._attachment_changed)

    def _attachment_changed(self, key: Key, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        if new is None or new.spec.source.persistent_volume_name is None:
            return
        index = names.volume_index(key.tenant, new.spec.source.persistent_volume_name)
        for claim in self._claims.index_keys("volume", index):
            self.queue.add(claim)

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None:
            self._refused.pop(key, None)
        if claim is None or claim.status.phase != "Bound" or claim.metadata.deletion_timestamp is not None:
            return None
        requested = names.requested_bytes(claim)
        if requested <= quantity.whole(claim.status.capacity.get("storage", "0")):
            return None
        volume = self._volumes.get(Key(key.tenant, "", claim.spec.volume_name or ""))
        storage = names.storage_of(key.tenant, volume.spec) if volume is not None else None
        if volume is None or storage is None or self._providers.get(storage.driver) is None:
            return None
        if names.capacity_bytes(volume) < requested:
            size, until = self._refused.get(key, (0, 0.0))
            now = asyncio.get_running_loop().time()
            if size == requested and now < until:
                return until - now
            try:
                volume = await self._extend(key, claim, volume, storage, requested)
            except VolumeError as error:
                return await self._failed(key, claim, error)
            claim = await self._latest(key, claim)
        await self._finish(key, claim, volume, storage)
        return None

    async def _extend(
        self, key: Key, claim: PersistentVolumeClaim, volume: PersistentVolume, storage: names.Storage, size_bytes: int
    ) -> PersistentVolume:
        provider = self._providers.get(storage.driver)
        assert provider is not None
        await self._write(key, claim, resizing(claim, IN_PROGRESS, condition(claim, RESIZING, "")))
        handle = Handle(owner_of(self._tenants, key.tenant), storage.handle)
        size = await answer(provider.extend(handle, size_bytes))
        faults.passed(faults.EXTENDED)
        larger = volume.model_copy(deep=True)
        larger.spec.capacity["storage"] = names.of_bytes(size)
        return await self.client.update(larger, tenant=key.tenant)

    async def _finish(
        self, key: Key, claim: PersistentVolumeClaim, volume: PersistentVolume, storage: names.Storage
    ) -> None:  # fmt: skip
        size = names.capacity_bytes(volume)
        attachments = self._attachments.by_index("storage", names.storage_index(storage))
        if volume.spec.volume_mode == "Block" or file_system_bytes(attachments) >= size:
            done = grown(claim, size)
            if await self._write(key, claim, done):
                self.recorder.event(
                    claim, "Normal", "FileSystemResizeSuccessful", f"the volume has {size} bytes", tenant=key.tenant
                )
            return
        message = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
        if attachments:
            message = "Waiting for the node to grow the file system."
        pending = resizing(claim, NODE_PENDING, condition(claim, FILE_SYSTEM_PENDING, message))
        if await self._write(key, claim, pending):
            message = "Require file system resize of volume on node"
            self.recorder.event(claim, "Normal", "FileSystemResizeRequired", message, tenant=key.tenant)

    async def _failed(self, key: Key, claim: PersistentVolumeClaim, error: VolumeError) -> float:
        claim = await self._latest(key, claim)
        message = f'resize volume "{claim.spec.volume_name}" failed: {error.reason}: {error}'
        self.recorder.event(claim, "Warning", "VolumeResizeFailed", message, tenant=key.tenant)
        if not isinstance(error, Refused):
            raise Unfinished(str(error)) from error
        until = asyncio.get_running_loop().time() + REFUSED_SECONDS
        self._refused[key] = names.requested_bytes(claim), until
        await self._write(key, claim, resizing(claim, INFEASIBLE, condition(claim, RESIZING, str(error))))
        return REFUSED_SECONDS

    async def _latest(self, key: Key, claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
        """After our own write, which the cache may not know yet."""
        return await self.client.get(
            PersistentVolumeClaim, claim.metadata.name or "", namespace=key.namespace, tenant=key.tenant
        )

    async def _write(self, key: Key, old: PersistentVolumeClaim, new: PersistentVolumeClaim) -> bool:
        if new is not old:
            await self.client.update_status(new, tenant=key.tenant)
        return new is not old
