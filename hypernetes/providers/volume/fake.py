"""A volume provider in memory, for tests of whatever uses one. It keeps the promises of `base` (the interface suite).

`faults` makes the next calls fail: method name → errors, one a call.
"""

import time
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace

from hypernetes.providers.volume.base import (
    Exhausted,
    Handle,
    Owner,
    Refused,
    Snapshot,
    SnapshotRequest,
    Topology,
    Unavailable,
    Volume,
    VolumeError,
    VolumeRequest,
)


@dataclass(slots=True)
class _Kept:
    request: VolumeRequest
    volume: Volume
    attached: dict[str, bool] = field(default_factory=dict)  # node → read-only


@dataclass(slots=True)
class FakeVolumes:
    """`by_node` gives every volume a node, as local files have; without, one is reached from everywhere."""

    driver: str = "fake.hypernetes.io"
    capacity_bytes: int = 1 << 40
    by_node: bool = False
    permitted_parameters: frozenset[str] = frozenset({"type"})
    volumes: dict[tuple[Owner, str], _Kept] = field(default_factory=dict)
    snapshots: dict[tuple[Owner, str], tuple[str, Snapshot]] = field(default_factory=dict)
    fenced: set[tuple[str, str]] = field(default_factory=set)  # (volume, node)
    faults: defaultdict[str, deque[VolumeError]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[tuple[str, str]] = field(default_factory=list)

    async def create(self, request: VolumeRequest) -> Volume:
        self._called("create", request.name)
        key = request.owner, request.name
        if known := self.volumes.get(key):
            if known.request.size_bytes != request.size_bytes or known.request.source != request.source:
                raise Refused("AlreadyExists", f"{request.name} exists already, and is another")
            return known.volume
        if self.by_node and request.topology.node is None:
            raise Refused("NoNode", "a volume of this driver is of a node")
        if request.size_bytes > self._left():
            raise Exhausted("NoSpace", f"{request.size_bytes} bytes are more than is left")
        if source := request.source:
            least = self._source_size(request.owner, source.volume, source.snapshot)
            if request.size_bytes < least:
                raise Refused("TooSmall", f"the source has {least} bytes")
        topology = request.topology if self.by_node else Topology()
        volume = Volume(request.name, request.size_bytes, topology)
        self.volumes[key] = _Kept(request, volume)
        return volume

    async def delete(self, volume: Handle) -> None:
        self._called("delete", volume.id)
        known = self.volumes.get((volume.owner, volume.id))
        if known is not None and known.attached:
            raise Unavailable("InUse", f"{volume.id} is attached to {', '.join(sorted(known.attached))}")
        self.volumes.pop((volume.owner, volume.id), None)

    async def extend(self, volume: Handle, size_bytes: int) -> int:
        self._called("extend", volume.id)
        known = self._known(volume)
        more = size_bytes - known.volume.size_bytes
        if more > self._left():
            raise Exhausted("NoSpace", f"{more} more bytes are more than is left")
        known.volume = replace(known.volume, size_bytes=max(size_bytes, known.volume.size_bytes))
        return known.volume.size_bytes

    async def snapshot(self, request: SnapshotRequest) -> Snapshot:
        self._called("snapshot", request.name)
        key = request.source.owner, request.name
        if known := self.snapshots.get(key):
            if known[0] != request.source.id:
                raise Refused("AlreadyExists", f"{request.name} exists already, of another volume")
            return known[1]
        source = self._known(request.source).volume
        snapshot = Snapshot(request.name, source.size_bytes, time.time(), source.topology)
        self.snapshots[key] = source.id, snapshot
        return snapshot

    async def delete_snapshot(self, snapshot: Handle) -> None:
        self._called("delete_snapshot", snapshot.id)
        self.snapshots.pop((snapshot.owner, snapshot.id), None)

    async def attach(self, volume: Handle, node: str, *, read_only: bool) -> dict[str, str]:
        self._called("attach", volume.id)
        known = self._known(volume)
        if self.by_node and known.volume.topology.node != node:
            raise Refused("OtherNode", f"{volume.id} is on {known.volume.topology.node}")
        shared = "ReadWriteMany" in known.request.access_modes
        others = {name for name, only_reads in known.attached.items() if not (read_only and only_reads)} - {node}
        if others and not shared:
            raise Refused("InUse", f"{volume.id} is attached to {', '.join(sorted(others))}")
        known.attached[node] = read_only
        self.fenced.discard((volume.id, node))
        return {"volume": volume.id, "node": node}

    async def detach(self, volume: Handle, node: str) -> None:
        self._called("detach", volume.id)
        if known := self.volumes.get((volume.owner, volume.id)):
            known.attached.pop(node, None)

    async def fence(self, volume: Handle, node: str) -> None:
        self._called("fence", volume.id)
        self.fenced.add((volume.id, node))

    async def capacity(self, topology: Topology) -> int | None:
        self._called("capacity", topology.node or "")
        return self._left()

    async def adopt(self, volume: Handle) -> Volume:
        self._called("adopt", volume.id)
        return self._known(volume).volume

    async def close(self) -> None:
        """Nothing is open."""

    def _called(self, method: str, about: str) -> None:
        self.calls.append((method, about))
        if self.faults[method]:
            raise self.faults[method].popleft()

    def _known(self, volume: Handle) -> _Kept:
        known = self.volumes.get((volume.owner, volume.id))
        if known is None:
            raise Refused("NotFound", f"there is no volume {volume.id}")
        return known

    def _source_size(self, owner: Owner, volume: str | None, snapshot: str | None) -> int:
        if volume is not None:
            return self._known(Handle(owner, volume)).volume.size_bytes
        if snapshot is not None and (owner, snapshot) in self.snapshots:
            return self.snapshots[owner, snapshot][1].size_bytes
        raise Refused("NotFound", f"there is no snapshot {snapshot}")

    def _left(self) -> int:
        return self.capacity_bytes - sum(kept.volume.size_bytes for kept in self.volumes.values())
