"""The NodeVolumes of this node: makes the files that they ask for, grows them, and removes them before they go.

A file whose NodeVolume is gone without the node having been asked is not removed: data outlives mistakes made to the
API's store. It is logged, and the operator's to remove.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from hypernetes.api import quantity, tenancy, times
from hypernetes.api.models.core_v1 import Node
from hypernetes.api.models.hypernetes_v1 import NodeVolume, NodeVolumeStatus
from hypernetes.client import REQUEST_ERRORS, Client, Informer, Key, is_reason
from hypernetes.providers.volume.base import FileKeeper, Refused, Unavailable, VolumeError

log = structlog.get_logger()

FINALIZER = "hypernetes.io/node-volume"
READY, FAILED, PENDING = "Ready", "Failed", "Pending"
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 60.0
WORKERS = 4
FREE_BYTES = "hypernetes.io/volume-bytes-free"  # annotation of the Node
SPACE_SECONDS = 60.0
SPACE_GRAIN = 64 << 20  # bytes; what changes by less isn't worth a write


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done about a NodeVolume: exactly one of these, or nothing."""

    make: bool = False
    grow_to: int | None = None
    remove: bool = False


def decide(volume: NodeVolume, size_bytes: int | None) -> Wanted:
    """Given the size of its file, None where there is none."""
    if volume.metadata.deletion_timestamp:
        return Wanted(remove=FINALIZER in volume.metadata.finalizers)
    if size_bytes is None:
        return Wanted(make=True)
    asked = quantity.whole(volume.spec.size) if volume.spec.size and not volume.spec.snapshot else 0
    return Wanted(grow_to=asked if asked > size_bytes else None)


class NodeVolumeKeeper:
    """`frozen(uid)` stops the writes of whoever has the volume open, `in_use(uid)` says whether somebody has."""

    def __init__(
        self,
        client: Client,
        volumes: Informer[NodeVolume],
        keeper: FileKeeper,
        frozen: Callable[[str], AbstractAsyncContextManager[None]],
        in_use: Callable[[str], bool],
        grown: Callable[[], None],
        node: str,
    ) -> None:
        self._client, self._volumes, self._keeper = client, volumes, keeper
        self._frozen, self._in_use, self._grown, self._node = frozen, in_use, grown, node
        self._changed = asyncio.Event()
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._busy: set[Key] = set()
        self._delays: dict[Key, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        self._volumes.on_key(self._add)
        await self._volumes.wait_synced()
        await self._tell_orphans()
        for key, _ in self._volumes.items():
            self._add(key)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_space())
            for _ in range(WORKERS):
                tasks.create_task(self._work())

    def _add(self, key: Key) -> None:
        if key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            if key in self._busy:
                loop.call_later(FIRST_RETRY_SECONDS, self._add, key)
                continue
            self._busy.add(key)
            try:
                await self.reconcile(key)
                self._delays.pop(key, None)
            except (Unavailable, OSError, *REQUEST_ERRORS) as error:
                delay = self._delays[key] = min(2 * self._delays.get(key, FIRST_RETRY_SECONDS / 2), MAX_RETRY_SECONDS)
                log.info("node_volume.waits", volume=key.name, tenant=key.tenant, error=str(error))
                loop.call_later(delay, self._add, key)
            finally:
                self._busy.discard(key)

    async def reconcile(self, key: Key) -> None:
        """One look at one volume. Raises Unavailable, OSError, StatusError, TransportError: it is tried again."""
        volume = self._volumes.get(key)
        if volume is None:
            return
        uid = volume.metadata.uid or ""
        wanted = decide(volume, await self._keeper.size(uid))
        if wanted.remove:
            await self._remove(key, volume)
        elif not volume.metadata.deletion_timestamp:
            await self._tell(key, volume, await self._attempt(key, volume, wanted))

    async def _attempt(self, key: Key, volume: NodeVolume, wanted: Wanted) -> NodeVolumeStatus:
        """Makes it so; what can't be is in the status."""
        uid = volume.metadata.uid or ""
        created = volume.status.created_at
        try:
            if wanted.make:
                await self._make(key, volume)
                created = times.format_time(times.now())
            elif wanted.grow_to is not None:
                await self._keeper.grow(uid, wanted.grow_to)
                self._grown()
        except Unavailable:
            raise
        except VolumeError as error:
            size = await self._keeper.size(uid)
            return NodeVolumeStatus(
                phase=FAILED, reason=error.reason, message=error.message, created_at=created,
                size=None if size is None else str(size), observed_generation=volume.metadata.generation,
            )  # fmt: skip
        return NodeVolumeStatus(
            phase=READY, size=str(await self._keeper.size(uid)), created_at=created or times.format_time(times.now()),
            observed_generation=volume.metadata.generation,
        )  # fmt: skip

    async def _make(self, key: Key, volume: NodeVolume) -> None:
        uid, source = volume.metadata.uid or "", volume.spec.source
        size = quantity.whole(volume.spec.size) if volume.spec.size else None
        if source is None:
            await self._keeper.make(uid, size, None)
            return
        name = source.volume or source.snapshot or ""
        origin = self._volumes.get(Key(key.tenant, "", name))
        if origin is None or bool(origin.spec.snapshot) != (source.snapshot is not None):
            raise Refused("NotFound", f"this node has no {name} to begin with")
        if origin.status.size is None:
            raise Unavailable("NotReady", f"{name} is not ready itself")
        async with self._frozen(origin.metadata.uid or ""):
            await self._keeper.make(uid, size, origin.metadata.uid)

    async def _remove(self, key: Key, volume: NodeVolume) -> None:
        uid = volume.metadata.uid or ""
        if self._in_use(uid):
            raise Unavailable("InUse", "a pod of this node has it open")
        await self._keeper.remove(uid)
        self._changed.set()
        left = [each for each in volume.metadata.finalizers if each != FINALIZER]
        body = {"metadata": {"finalizers": left, "resourceVersion": volume.metadata.resource_version}}
        await self._ignoring_gone(self._client.patch(NodeVolume, key.name, body, tenant=key.tenant))

    async def _tell(self, key: Key, volume: NodeVolume, status: NodeVolumeStatus) -> None:
        if status == volume.status:
            return
        self._changed.set()
        changed = volume.model_copy(update={"status": status})
        body = {"status": {**_cleared(volume.status), **status.to_dict()}}
        await self._ignoring_gone(
            self._client.patch(NodeVolume, key.name, body, tenant=key.tenant, subresource="status")
        )
        log.info("node_volume.told", volume=key.name, tenant=key.tenant, phase=changed.status.phase)

    async def _ignoring_gone(self, call: Awaitable[object]) -> None:
        try:
            await call
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise

    async def _tell_space(self) -> None:
        """What is left for volumes, in an annotation of the Node; the scheduler counts with it."""
        told = None
        while True:
            try:
                free = await self._keeper.free_bytes() // SPACE_GRAIN * SPACE_GRAIN
                if free != told:
                    body = {"metadata": {"annotations": {FREE_BYTES: str(free)}}}
                    await self._client.patch(Node, self._node, body, tenant=tenancy.SYSTEM_TENANT)
                    told = free
            except (OSError, *REQUEST_ERRORS) as error:
                log.info("node_volume.space.failed", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SPACE_SECONDS):
                    await self._changed.wait()
            self._changed.clear()

    async def _tell_orphans(self) -> None:
        known = {volume.metadata.uid for _, volume in self._volumes.items()}
        for uid in sorted(await self._keeper.kept() - known):
            log.warning("node_volume.orphan", uid=uid, hint="no NodeVolume; remove it if unwanted")


def _cleared(status: NodeVolumeStatus) -> dict[str, None]:
    """A merge patch that takes away what the new status doesn't say."""
    return dict.fromkeys(status.to_dict())
