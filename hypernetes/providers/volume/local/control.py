"""The cluster-wide half: a volume is a NodeVolume of its tenant, which hn-agent of its node makes true.

That a tenant's handles are its own follows from where NodeVolumes live: there is no way to name another tenant's.
"""

from collections.abc import Callable
from datetime import datetime

from hypernetes.api import quantity
from hypernetes.api.models.hypernetes_v1 import NodeVolume, NodeVolumeSource, NodeVolumeSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.providers.volume.base import (
    IO_LIMITS,
    Exhausted,
    Handle,
    NodeVolumeObjects,
    Refused,
    Snapshot,
    SnapshotRequest,
    Topology,
    Unavailable,
    Volume,
    VolumeError,
    VolumeRequest,
)

DRIVER = "local.hypernetes.io"
# Sizes are whole multiples: what file systems and partitions align to.
GRAIN_BYTES = 1 << 20
# A node makes a file in milliseconds, and copies one at the speed of its disk.
SETTLE_SECONDS = 20.0
SHARED_MODES = frozenset({"ReadWriteMany"})
UID = "uid"  # of the NodeVolume, in attachment metadata: what the file is called
READY, FAILED = "Ready", "Failed"
NO_SPACE = "NoSpace"
# The limits that were asked for stay with the volume: attaching needs them.
LIMIT_PREFIX = "limits.volumes.hypernetes.io/"


class LocalVolumes:
    driver = DRIVER
    permitted_parameters = frozenset({"csi.storage.k8s.io/fstype"})

    def __init__(self, objects: NodeVolumeObjects) -> None:
        self._objects = objects

    async def create(self, request: VolumeRequest) -> Volume:
        if SHARED_MODES & set(request.access_modes):
            raise Refused("AccessMode", "one machine has a local volume at a time: use ReadWriteOnce, or an nfs volume")
        tenant, size = request.owner.tenant, _rounded(request.size_bytes)
        known = await self._objects.get(tenant, request.name)
        if known is None:
            spec = NodeVolumeSpec(
                node_name=await self._node(request), size=str(size), source=_source(request),
            )  # fmt: skip
            known = await self._objects.create(tenant, _object(request.name, spec, _limits(request)))
        if known.spec.snapshot or known.spec.source != _source(request) or _size(known) != size:
            raise Refused("AlreadyExists", f"there is a volume {request.name} already, and it is another")
        made = await self._ready(tenant, request.name)
        return Volume(request.name, _size(made), Topology(node=made.spec.node_name))

    async def delete(self, volume: Handle) -> None:
        known = await self._objects.get(volume.owner.tenant, volume.id)
        if known is None or known.spec.snapshot:
            return
        if known.spec.attached:
            raise Unavailable("InUse", f"the volume {volume.id} is attached to {known.spec.node_name}")
        await self._remove(volume)

    async def extend(self, volume: Handle, size_bytes: int) -> int:
        size = _rounded(size_bytes)

        def grown(known: NodeVolume) -> bool:
            if _size(known) >= size:
                return False
            known.spec.size = str(size)
            return True

        known = await self._change(volume, grown)
        if _size(known) > size or known.status.size == known.spec.size:
            return _size(known)
        return quantity.whole((await self._ready(volume.owner.tenant, volume.id)).status.size or "0")

    async def snapshot(self, request: SnapshotRequest) -> Snapshot:
        tenant = request.source.owner.tenant
        known = await self._objects.get(tenant, request.name)
        if known is None:
            source = await self._volume(request.source)
            spec = NodeVolumeSpec(
                node_name=source.spec.node_name, snapshot=True, source=NodeVolumeSource(volume=request.source.id)
            )
            known = await self._objects.create(tenant, _object(request.name, spec))
        if not known.spec.snapshot or known.spec.source is None or known.spec.source.volume != request.source.id:
            raise Refused("AlreadyExists", f"there is a snapshot {request.name} already, of another volume")
        made = await self._ready(tenant, request.name)
        created = datetime.fromisoformat(made.status.created_at or "").timestamp()
        return Snapshot(request.name, quantity.whole(made.status.size or "0"), created, Topology(made.spec.node_name))

    async def delete_snapshot(self, snapshot: Handle) -> None:
        known = await self._objects.get(snapshot.owner.tenant, snapshot.id)
        if known is not None and known.spec.snapshot:
            await self._remove(snapshot)

    async def attach(self, volume: Handle, node: str, *, read_only: bool) -> dict[str, str]:
        """The node decides which of its machines has it: the image is locked there (one writer, or readers)."""

        def attached(known: NodeVolume) -> bool:
            if known.spec.node_name != node:
                raise Refused("OtherNode", f"the volume {volume.id} is a file of {known.spec.node_name}")
            if known.spec.attached:
                return False
            known.spec.attached = True
            return True

        known = await self._change(volume, attached)
        limits = {
            name.removeprefix(LIMIT_PREFIX): value
            for name, value in known.metadata.annotations.items()
            if name.startswith(LIMIT_PREFIX)
        }
        return {UID: known.metadata.uid or "", **limits}

    async def detach(self, volume: Handle, node: str) -> None:
        def detached(known: NodeVolume) -> bool:
            changes = bool(known.spec.attached) and known.spec.node_name == node
            known.spec.attached = None if changes else known.spec.attached
            return changes

        known = await self._objects.get(volume.owner.tenant, volume.id)
        if known is not None and known.spec.attached:
            await self._change(volume, detached)

    async def fence(self, volume: Handle, node: str) -> None:
        """Nobody but that node can ever reach the file, and there it is locked: no other writer needs protection."""

    async def capacity(self, topology: Topology) -> int | None:
        return None if topology.node is None else await self._objects.free_bytes(topology.node)

    async def adopt(self, volume: Handle) -> Volume:
        known = await self._volume(volume)
        return Volume(volume.id, _size(known), Topology(node=known.spec.node_name))

    async def close(self) -> None:
        """Nothing is open."""

    async def _node(self, request: VolumeRequest) -> str:
        """Where it is to be: where its source is, or else where the scheduler says."""
        wanted, source = request.topology.node, _source(request)
        if request.source is not None and request.source.image is not None:
            raise Refused("NoImages", f"volumes of {DRIVER} are not made from images")
        if source is None:
            if wanted is None:
                text = "a local volume needs a node: give its StorageClass volumeBindingMode WaitForFirstConsumer"
                raise Refused("NoNode", text)
            return wanted
        name = source.volume or source.snapshot or ""
        origin = await self._objects.get(request.owner.tenant, name)
        if origin is None or bool(origin.spec.snapshot) != (source.snapshot is not None):
            raise Refused("NotFound", f"there is no {'snapshot' if source.snapshot else 'volume'} {name} to begin with")
        least = quantity.whole(origin.status.size or origin.spec.size or "0")
        if _rounded(request.size_bytes) < least:
            raise Refused("TooSmall", f"the source has {least} bytes; ask for as many at least")
        if wanted is not None and wanted != origin.spec.node_name:
            there = origin.spec.node_name
            raise Exhausted("OtherNode", f"{name} is a file of {there}: what begins with it can't be on {wanted}")
        return origin.spec.node_name

    async def _ready(self, tenant: str, name: str) -> NodeVolume:
        known = await self._objects.settled(tenant, name, SETTLE_SECONDS)
        if known is None:
            raise Unavailable("Deleted", f"{name} is being deleted")
        if known.status.phase == READY and known.status.observed_generation == known.metadata.generation:
            return known
        if known.status.phase != FAILED:
            raise Unavailable("NodeBusy", f"{known.spec.node_name} has not made {name} yet")
        error, text = _error(known)
        if error is Exhausted and known.status.size is None:
            await self._objects.delete(tenant, name)  # so that it may be tried on another node
        raise error(known.status.reason or "Failed", text)

    async def _remove(self, handle: Handle) -> None:
        tenant = handle.owner.tenant
        await self._objects.delete(tenant, handle.id)
        if await self._objects.settled(tenant, handle.id, SETTLE_SECONDS) is not None:
            raise Unavailable("NodeBusy", f"{handle.id} is not removed yet: its node is away, or has it open")

    async def _volume(self, volume: Handle) -> NodeVolume:
        known = await self._objects.get(volume.owner.tenant, volume.id)
        if known is None or known.spec.snapshot or known.metadata.deletion_timestamp:
            raise Refused("NotFound", f"there is no volume {volume.id}")
        return known

    async def _change(self, volume: Handle, change: Callable[[NodeVolume], bool]) -> NodeVolume:
        known = await self._volume(volume)
        return await self._objects.update(volume.owner.tenant, known) if change(known) else known


def _error(known: NodeVolume) -> tuple[type[VolumeError], str]:
    text = known.status.message or f"{known.spec.node_name} can't make it"
    return (Exhausted if known.status.reason == NO_SPACE else Refused), text


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // GRAIN_BYTES) * GRAIN_BYTES


def _size(known: NodeVolume) -> int:
    return quantity.whole(known.spec.size or known.status.size or "0")


def _source(request: VolumeRequest) -> NodeVolumeSource | None:
    source = request.source
    return None if source is None else NodeVolumeSource(volume=source.volume, snapshot=source.snapshot)


def _limits(request: VolumeRequest) -> dict[str, str]:
    given = {**request.parameters, **request.mutable_parameters}
    for name in IO_LIMITS & given.keys():
        if not given[name].isdecimal():
            raise Refused("BadParameter", f"{name} is {given[name]!r}, and must be a whole number")
    return {f"{LIMIT_PREFIX}{name}": given[name] for name in IO_LIMITS & given.keys()}


def _object(name: str, spec: NodeVolumeSpec, annotations: dict[str, str] | None = None) -> NodeVolume:
    return NodeVolume(metadata=ObjectMeta(name=name, annotations=annotations or {}), spec=spec)
