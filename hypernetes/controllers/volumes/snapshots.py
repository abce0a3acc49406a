"""VolumeSnapshots: a content for each, which is there before the snapshot is taken, and what is known of it told.

    VolumeSnapshot ── content ─► snapshotcontents.py ── provider.snapshot ─► status.readyToUse of both

https://kubernetes.io/docs/concepts/storage/volume-snapshots/
"""

from datetime import UTC, datetime

from hypernetes.api import times
from hypernetes.api.models.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.models.snapshot_v1 import (
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    VolumeSnapshotContentSource,
    VolumeSnapshotContentSpec,
    VolumeSnapshotError,
    VolumeSnapshotStatus,
)
from hypernetes.api.volumes import names
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller, Unfinished
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import classes, faults
from hypernetes.controllers.volumes.sources import points_back
from hypernetes.controllers.writes import Delete, carry_out_one
from hypernetes.providers.volume.base import Refused, Unavailable, VolumeError

BOUND_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
IS_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
_WAITING_SECONDS = 300.0


def content_name(snapshot: VolumeSnapshot) -> str:
    return f"snapcontent-{snapshot.metadata.uid}"


def told(snapshot: VolumeSnapshot, content: VolumeSnapshotContent) -> VolumeSnapshotStatus:
    """What a snapshot's status says by its content's."""
    known = content.status
    created = known.creation_time
    moment = datetime.fromtimestamp(created / 1e9, UTC) if created else None
    return VolumeSnapshotStatus(
        bound_volume_snapshot_content_name=content.metadata.name,
        creation_time=times.format_time(moment) if moment is not None else None,
        error=known.error,
        ready_to_use=bool(known.ready_to_use),
        restore_size=names.of_bytes(known.restore_size) if known.restore_size else None,
    )


class VolumeSnapshots(Controller):
    name = "volumesnapshot"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._snapshots = informers.of(VolumeSnapshot)
        self._contents = informers.of(VolumeSnapshotContent)
        self._classes = informers.of(VolumeSnapshotClass)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._snapshots.on_key(self.queue.add)
        self._contents.on_change(self._content_changed)
        self._claims.on_change(self._claim_changed)
        self._classes.on_change(self._class_changed)

    def _content_changed(
        self, key: Key, old: VolumeSnapshotContent | None, new: VolumeSnapshotContent | None
    ) -> None:  # fmt: skip
        found = new or old
        if found is not None:
            reference = found.spec.volume_snapshot_ref
            self.queue.add(Key(key.tenant, reference.namespace or "", reference.name or ""))

    def _claim_changed(
        self, key: Key, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:  # fmt: skip
        if new is not None and new.status.phase == "Bound" and (old is None or old.status.phase != "Bound"):
            for snapshot_key, _ in self._snapshots.items():
                if snapshot_key[:2] == key[:2]:
                    self._add_waiting(snapshot_key)

    def _class_changed(self, key: Key, old: VolumeSnapshotClass | None, new: VolumeSnapshotClass | None) -> None:
        if new is not None:
            for snapshot_key, _ in self._snapshots.items():
                self._add_waiting(snapshot_key)

    def _add_waiting(self, key: Key) -> None:
        snapshot = self._snapshots.get(key)
        if snapshot is not None and snapshot.status.bound_volume_snapshot_content_name is None:
            self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        snapshot = self._snapshots.get(key)
        if snapshot is None:
            return None
        if snapshot.metadata.deletion_timestamp is not None:
            await self._end(key, snapshot)
            return None
        try:
            content = await self._content(key, snapshot)
        except VolumeError as error:
            reason = "SnapshotContentMissing" if snapshot.spec.source.volume_snapshot_content_name else "SnapshotFailed"
            self.recorder.event(snapshot, "Warning", reason, f"{error.reason}: {error}")
            await self._write(key, snapshot, _failed(snapshot, error))
            if isinstance(error, Unavailable):
                raise Unfinished(str(error)) from error
            return _WAITING_SECONDS
        if content is None:
            return None  # our own write brings us back
        status = told(snapshot, content)
        if status.ready_to_use and not snapshot.status.ready_to_use:
            message = f"Snapshot {key.namespace}/{key.name} is ready to use."
            self.recorder.event(snapshot, "Normal", "SnapshotReady", message)
        await self._write(key, snapshot, status)
        return None

    async def _write(self, key: Key, snapshot: VolumeSnapshot, status: VolumeSnapshotStatus) -> None:
        if status != snapshot.status:
            await self.client.update_status(snapshot.model_copy(update={"status": status}), tenant=key.tenant)

    async def _content(self, key: Key, snapshot: VolumeSnapshot) -> VolumeSnapshotContent | None:
        """The snapshot's content, made if it isn't there; None until the snapshot is held. Raises VolumeError."""
        if snapshot.spec.source.volume_snapshot_content_name:
            return await self._given(key, snapshot, snapshot.spec.source.volume_snapshot_content_name)
        there = self._contents.get(Key(key.tenant, "", content_name(snapshot)))
        if there is not None:
            if not points_back(there, snapshot):
                raise Refused("SnapshotContentMismatch", f"{content_name(snapshot)} is of another snapshot")
            return there
        if snapshot.status.bound_volume_snapshot_content_name and await self._lost(key.tenant, content_name(snapshot)):
            raise Refused("SnapshotContentMissing", f"VolumeSnapshotContent {content_name(snapshot)} is gone")
        content = self._new_content(key, snapshot)
        if BOUND_FINALIZER not in snapshot.metadata.finalizers:
            await self._hold(key, snapshot)
            return None
        message = f"Waiting for a snapshot {key.namespace}/{key.name} to be created by the CSI driver."
        self.recorder.event(snapshot, "Normal", "CreatingSnapshot", message)
        made = await self.client.create(content, tenant=key.tenant)
        faults.passed(faults.SNAPSHOT_RECORDED)
        return made

    async def _lost(self, tenant: str, name: str) -> bool:
        try:
            await self.client.get(VolumeSnapshotContent, name, tenant=tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            return True
        return False

    def _new_content(self, key: Key, snapshot: VolumeSnapshot) -> VolumeSnapshotContent:
        """Raises VolumeError."""
        name = snapshot.spec.source.persistent_volume_claim_name or ""
        claim = self._claims.get(Key(key.tenant, key.namespace, name))
        if claim is None or claim.status.phase != "Bound":
            raise Unavailable("SourceNotReady", f"the claim {name} is not there or not bound")
        volume = self._volumes.get(Key(key.tenant, "", claim.spec.volume_name or ""))
        storage = names.storage_of(key.tenant, volume.spec) if volume is not None else None
        if volume is None or storage is None:
            raise Refused("NoDriver", f"the volume of claim {name} has no driver that takes snapshots")
        found = self._class(key.tenant, snapshot.spec.volume_snapshot_class_name, storage.driver)
        return VolumeSnapshotContent(
            metadata=ObjectMeta(name=content_name(snapshot), finalizers=[CONTENT_FINALIZER]),
            spec=VolumeSnapshotContentSpec(
                deletion_policy=found.deletion_policy,
                driver=storage.driver,
                source=VolumeSnapshotContentSource(volume_handle=storage.handle),
                source_volume_mode=volume.spec.volume_mode or "Filesystem",
                volume_snapshot_class_name=found.metadata.name,
                volume_snapshot_ref=_reference(snapshot),
            ),
        )

    def _class(self, tenant: str, name: str | None, driver: str) -> VolumeSnapshotClass:
        """Raises VolumeError."""
        if name:
            found = classes.find(self._classes, tenant, name)
            if found is None:
                raise Unavailable("NoClass", f'volumesnapshotclass.snapshot.storage.k8s.io "{name}" not found')
            if found.driver != driver:
                raise Refused(
                    "OtherDriver", f"VolumeSnapshotClass {name} is of the driver {found.driver}, not {driver}"
                )
            return found
        defaults = [
            each for each in classes.visible(self._classes, tenant)
            if each.driver == driver and each.metadata.annotations.get(IS_DEFAULT) == "true"
        ]  # fmt: skip
        own = [each for each in defaults if not classes.is_providers(each)]
        defaults = own or defaults
        if not defaults:
            raise Unavailable("NoClass", f"the snapshot names no class, and no default class is there for {driver}")
        if len(defaults) > 1:
            raise Refused("SeveralDefaults", f"{len(defaults)} default VolumeSnapshotClasses are there for {driver}")
        return defaults[0]

    async def _hold(self, key: Key, snapshot: VolumeSnapshot) -> None:
        held = snapshot.model_copy(deep=True)
        held.metadata.finalizers.append(BOUND_FINALIZER)
        await self.client.update(held, tenant=key.tenant)

    async def _given(self, key: Key, snapshot: VolumeSnapshot, name: str) -> VolumeSnapshotContent | None:
        """A content that somebody wrote for this snapshot. Raises VolumeError."""
        content = self._contents.get(Key(key.tenant, "", name))
        if content is None:
            raise Unavailable("SnapshotContentMissing", f"VolumeSnapshotContent {name} is not there")
        reference = content.spec.volume_snapshot_ref
        same = (reference.namespace, reference.name) == (key.namespace, key.name)
        if not same or reference.uid not in (None, "", snapshot.metadata.uid):
            raise Refused("SnapshotContentMismatch", f"VolumeSnapshotContent {name} is for another snapshot")
        if BOUND_FINALIZER not in snapshot.metadata.finalizers:
            await self._hold(key, snapshot)
            return None
        if not reference.uid or CONTENT_FINALIZER not in content.metadata.finalizers:
            bound = content.model_copy(deep=True)
            bound.spec.volume_snapshot_ref = _reference(snapshot)
            if CONTENT_FINALIZER not in bound.metadata.finalizers:
                bound.metadata.finalizers.append(CONTENT_FINALIZER)
            content = await self.client.update(bound, tenant=key.tenant)
        return content

    async def _end(self, key: Key, snapshot: VolumeSnapshot) -> None:
        """The content goes first, if it is to; without it nothing holds the snapshot."""
        if BOUND_FINALIZER not in snapshot.metadata.finalizers:
            return
        name = snapshot.spec.source.volume_snapshot_content_name or content_name(snapshot)
        content = self._contents.get(Key(key.tenant, "", name))
        if content is None:
            try:
                content = await self.client.get(VolumeSnapshotContent, name, tenant=key.tenant)
            except Exception as error:
                if not is_reason(error, "NotFound"):
                    raise
        if content is not None and points_back(content, snapshot) and content.spec.deletion_policy == "Delete":
            if content.metadata.deletion_timestamp is None:
                await carry_out_one(self.client, key.tenant, Delete(content))
            return
        freed = snapshot.model_copy(deep=True)
        freed.metadata.finalizers.remove(BOUND_FINALIZER)
        await self.client.update(freed, tenant=key.tenant)


def _failed(snapshot: VolumeSnapshot, error: VolumeError) -> VolumeSnapshotStatus:
    former = snapshot.status.error
    message = f"{error.reason}: {error}"
    if former is None or former.message != message:
        former = VolumeSnapshotError(message=message, time=times.format_time(times.now()))
    return snapshot.status.model_copy(update={"ready_to_use": False, "error": former})


def _reference(snapshot: VolumeSnapshot) -> ObjectReference:
    return ObjectReference(
        api_version_=snapshot.API_VERSION, kind_=snapshot.KIND, namespace=snapshot.metadata.namespace,
        name=snapshot.metadata.name, uid=snapshot.metadata.uid, resource_version=snapshot.metadata.resource_version,
    )  # fmt: skip
