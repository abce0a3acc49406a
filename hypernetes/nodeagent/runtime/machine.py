"""One pod's machine, as hn-agent sees it (base.Machine), on QEMU."""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from hypernetes.nodeagent.runtime import disks, messages, qemu
from hypernetes.nodeagent.runtime.base import (
    ContainerSpec,
    ContainerStatus,
    Event,
    Exited,
    GuestConfig,
    GuestServices,
    MachineError,
    MachineGone,
    MachineUsage,
    NfsVolume,
    VolumeDisk,
)
from hypernetes.nodeagent.runtime.boot import Connections
from hypernetes.nodeagent.runtime.clock import ClockKeeper, wall_clock_ns
from hypernetes.nodeagent.runtime.frames import Fields, Frame, MessageBuilder, ProtocolError
from hypernetes.nodeagent.runtime.guestservices import GuestServer
from hypernetes.nodeagent.runtime.link import EVENT_BYTES_MAX, GuestLink
from hypernetes.nodeagent.runtime.processes import WatchedProcess
from hypernetes.nodeagent.runtime.protocol import FrameType, Option, Tag
from hypernetes.nodeagent.runtime.qmp import Monitor, QmpError
from hypernetes.nodeagent.runtime.state import Disk, MachineRecord, MachineState
from hypernetes.nodeagent.runtime.streams import LinkProcess, LinkStream

log = structlog.get_logger(__name__)

# Under TCG on a loaded host the first run of anything in a guest takes seconds.
START_SECONDS = 120.0
SERVICES_SECONDS = 60.0
POWEROFF_SECONDS = 5.0
MEASURE_SECONDS = 120.0
KILL_SECONDS = 10.0
RECONNECT_SECONDS = 20.0
RESIZE_SECONDS = 30.0
# A file system of terabytes is checked or made in this time; what storage that is away takes is beyond any bound.
VOLUME_SECONDS = 600.0
RECONNECT_PAUSE_SECONDS = 0.2
TIME_MAX_NS = (1 << 63) - 1  # Linux's ktime_t
START_FAILURES = frozenset({"NoSuchCommand", "NotExecutable", "StartFailed"})


class EventLog:
    """What the guest reported and nobody took yet. Bounded by the bytes that may be unacknowledged."""

    def __init__(self) -> None:
        self._queue: deque[Event] = deque()
        self._unacknowledged: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._last_sequence = 0
        self._filled = asyncio.Event()
        self._over = False

    def take(self, frame: Frame) -> None:
        """An OUTPUT or EXITED frame. Raises ProtocolError."""
        event: Event
        if frame.type == FrameType.OUTPUT:
            event = output = messages.parse_output(frame.payload)
            sequence = output.sequence
        else:
            sequence, status = messages.parse_exited(frame.payload)
            event = Exited(status)
        if sequence <= self._last_sequence:
            return  # sent again after the link was lost
        self._last_sequence = sequence
        self._unacknowledged.append((sequence, len(frame.payload)))
        self._bytes += len(frame.payload)
        if self._bytes > EVENT_BYTES_MAX:
            raise ProtocolError("output beyond what was allowed")
        self._put(event)

    def end(self, event: MachineGone) -> None:
        if not self._over:
            self._over = True
            self._put(event)

    def acknowledge(self, sequence: int) -> None:
        while self._unacknowledged and self._unacknowledged[0][0] <= sequence:
            self._bytes -= self._unacknowledged.popleft()[1]

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            event = self._queue.popleft()
            yield event
            if isinstance(event, MachineGone):
                return

    def _put(self, event: Event) -> None:
        self._queue.append(event)
        self._filled.set()


class QemuMachine:
    """`release` gives back what the machine has on the host, once its process has ended."""

    def __init__(
        self,
        state: MachineState,
        record: MachineRecord,
        services: GuestServices,
        release: Callable[[MachineRecord], Awaitable[None]],
        throttle: Callable[[str, float | None], None],
        *,
        services_idle: bool = False,
    ) -> None:
        self.id = record.id
        self.pid = record.process.pid
        self.boot_id = record.boot_id
        self.uid = record.uid
        self.services_idle = services_idle
        self.plugged: dict[str, Disk] = {}  # images that the guest hasn't mounted
        self._state = state
        self._record = record
        self._release = release
        self._throttle = throttle  # the machine's CPUs, by its id; blocks for a moment
        self._events = EventLog()
        self._server = GuestServer(record, services)
        self._clock = ClockKeeper(self._read_clock, record.id)
        self._connections: Connections | None = None
        self._link_lost = asyncio.Event()
        self._lost_error: MachineError | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._disk_lock = asyncio.Lock()
        self._services_lock = asyncio.Lock()
        self._ending = False

    # Life

    def attach_connections(self, connections: Connections) -> None:
        """From now on the machine is supervised, until `close` or `shutdown`."""
        self._connections = connections
        self.boot_id = self._record.boot_id
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(connections.process), name=f"machine {self.id}")

    async def close(self) -> None:
        """Lets go; the machine goes on."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._connections is not None:
            self._connections.close()

    async def shutdown(self, timeout: float) -> None:
        self._ending = True
        connections = self._connections
        if connections is not None and not connections.process.ended:
            with contextlib.suppress(MachineError, TimeoutError):
                async with asyncio.timeout(timeout):
                    await connections.link.request(FrameType.POWEROFF, b"", seconds=POWEROFF_SECONDS)
                    await connections.process.wait()
            if not connections.process.ended:
                connections.process.kill()
            async with asyncio.timeout(KILL_SECONDS):
                await connections.process.wait()
        self._events.end(MachineGone("Shutdown", "the machine was shut down"))
        await self.close()
        await self._release(self._record)

    async def _supervise(self, process: WatchedProcess) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._server.run(group))
                group.create_task(self._clock.run())
                group.create_task(self._keep_link())
                await process.wait()
                raise _Over(MachineGone("HypervisorDied", "the machine's process ended unexpectedly"))
        except* _Over as over:
            first = over.exceptions[0]
            assert isinstance(first, _Over)
            if not self._ending:
                log.warning("machine gone", machine=self.id, reason=first.event.reason, error=first.event.message)
            self._events.end(first.event)
        except* Exception as errors:
            log.exception("a machine is given up: its supervision failed", machine=self.id)
            first_error = errors.exceptions[0]
            self._events.end(MachineGone("AgentError", f"the node's agent failed at this machine: {first_error}"))

    async def _keep_link(self) -> None:
        """Connects again when the link breaks while QEMU lives. What that doesn't cure is the machine's end."""
        while True:
            await self._link_lost.wait()
            self._link_lost.clear()
            error = self._lost_error
            if error is None or error.reason != "LinkLost" or not await self._reconnect():
                message = error.message if error is not None else "the link is lost"
                raise _Over(MachineGone("LinkLost", message))

    async def _reconnect(self) -> bool:
        deadline = time.monotonic() + RECONNECT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                link, _ = await GuestLink.connect(self._state.link_socket, self.id, self, left)
            except MachineError:
                await asyncio.sleep(RECONNECT_PAUSE_SECONDS)
                continue
            assert self._connections is not None
            self._connections.link = link
            return True
        return False

    # LinkHandler

    def on_event(self, frame: Frame) -> None:
        self._events.take(frame)

    def on_question(self, id_: int, question: bytes, *, udp: bool) -> None:
        if self._connections is not None:  # else it is being adopted: a resolver asks again
            self._server.ask(self._link, id_, question, udp=udp)

    def on_connection(self, stream: LinkStream) -> None:
        if self._connections is None:
            stream.refuse()
        else:
            self._server.connect(self._link, stream)

    def on_lost(self, error: MachineError) -> None:
        self._lost_error = error
        self._link_lost.set()

    # Machine

    async def configure(self, config: GuestConfig) -> None:
        if config.network is not None:
            self._record.kubernetes_address = config.network.kubernetes_address
            await asyncio.to_thread(self._state.save, self._record)
        await self._request(FrameType.CONFIGURE, messages.configure_message(config, self._record.mac_address))
        await self._clock.check()

    async def attach_volume(self, disk: VolumeDisk) -> None:
        name = _volume_disk(disk.name)
        async with self._disk_lock:
            present = self._record.disks.get(name)
            if present is None:
                present = Disk(self._free_lun(), None, disk.name, disk.block)
                await disks.plug_export(
                    self._monitor, disk.socket, disk.export, present.lun, read_only=disk.read_only
                )  # fmt: skip
                self._record.disks[name] = present
                await asyncio.to_thread(self._state.save, self._record)
            lun = present.lun
        await self._request(FrameType.ATTACH_VOLUME, messages.attach_message(disk, lun), seconds=VOLUME_SECONDS)

    async def detach_volume(self, name: str) -> None:
        async with self._disk_lock:
            disk = self._record.disks.get(_volume_disk(name))
            if disk is None:
                return
            message = messages.attached_message(name, disk.lun, block=disk.block)
            await self._request(FrameType.DETACH_VOLUME, message, seconds=VOLUME_SECONDS)
            await self._unplug(_volume_disk(name))

    async def grow_volume(self, name: str, size_bytes: int) -> None:
        async with self._disk_lock:
            disk = self._record.disks.get(_volume_disk(name))
            if disk is None:
                raise MachineError("DiskMissing", f"the machine has no volume {name}")
            await self._resize(disks.node_of(disk.lun), size_bytes)
            message = messages.attached_message(name, disk.lun, block=disk.block)
        await self._request(FrameType.GROW_VOLUME, message, seconds=VOLUME_SECONDS)

    async def mount_nfs(self, volume: NfsVolume) -> None:
        await self._request(FrameType.MOUNT_NFS, messages.nfs_message(volume), seconds=VOLUME_SECONDS)

    async def attach_disk(self, disk_id: str, path: Path, *, read_only: bool, volume: str | None = None) -> None:
        async with self._disk_lock:
            if disk_id in self._record.disks:
                raise MachineError("DiskExists", f"the machine has a disk {disk_id} already")
            disk = self.plugged.pop(disk_id, None) or await self._plug(path, read_only=read_only, volume=volume)
            self._record.disks[disk_id] = disk
            try:
                await asyncio.to_thread(self._state.save, self._record)
                await self._request(FrameType.MOUNT_DISK, _disk_message(disk_id, disk, read_only=read_only))
            except BaseException:
                await self._unplug(disk_id)
                raise

    async def detach_disk(self, disk_id: str) -> None:
        async with self._disk_lock:
            disk = self._record.disks.get(disk_id)
            if disk is None:
                return
            await self._request(FrameType.UNMOUNT_DISK, _disk_message(disk_id, disk, read_only=True))
            await self._unplug(disk_id)

    async def plug_scratch(self) -> None:
        """The disk of the writable layers; the first thing after boot."""
        await disks.plug(self._monitor, self._state.scratch, qemu.SCRATCH_LUN, read_only=False)
        await self._request(FrameType.MOUNT_DISK, messages.disk_message(qemu.SCRATCH_LUN))

    async def make_volume(
        self, name: str, *, memory: bool = False, size_bytes: int | None = None, fs_group: int | None = None,
        image_disk: str | None = None,
    ) -> None:  # fmt: skip
        message = MessageBuilder().text(Tag.NAME, name).number(Tag.OPTIONS, Option.MEMORY if memory else 0)
        if size_bytes is not None:
            message.number(Tag.SIZE, size_bytes)
        if fs_group is not None:
            message.number(Tag.FS_GROUP, fs_group)
        if image_disk is not None:
            message.text(Tag.IMAGE, image_disk)
        await self._request(FrameType.MAKE_VOLUME, message.build())

    async def write_volume(
        self, name: str, files: Mapping[str, tuple[bytes, int]], *, fs_group: int | None = None
    ) -> None:
        await self._request(FrameType.WRITE_VOLUME, messages.volume_message(name, files, fs_group))

    async def read_file(self, volume: str, path: str, limit: int) -> bytes:
        content = bytearray()
        while True:
            message = MessageBuilder().text(Tag.NAME, volume).text(Tag.PATH, path).number(Tag.SIZE, len(content))
            piece = (await self._request(FrameType.READ_FILE, message.build())).raw(Tag.CONTENT)
            if not piece:
                return bytes(content)
            content += piece
            if len(content) > limit:
                raise MachineError("FileTooLarge", f"the file {path} in volume {volume} has more than {limit} bytes")

    async def set_services(
        self,
        haproxy: bytes,
        maps: Mapping[str, bytes],
        nftables: bytes | None,
        commands: Sequence[str] | None = None,
    ) -> None:
        message = messages.services_message(haproxy, maps, nftables, commands)
        async with self._services_lock:
            self.services_idle = False
            await self._request(FrameType.SERVICES, message, seconds=SERVICES_SECONDS)

    async def start_container(self, spec: ContainerSpec) -> None:
        await self._request(FrameType.START, messages.container_message(spec), seconds=START_SECONDS)

    async def measure(self, *, volume: str | None = None, container_id: str | None = None) -> int:
        message = MessageBuilder()
        if volume is not None:
            message.text(Tag.NAME, volume)
        if container_id is not None:
            message.text(Tag.PATH, container_id)
        fields = await self._request(FrameType.MEASURE, message.build(), seconds=MEASURE_SECONDS)
        return fields.number(Tag.SIZE) or 0

    async def limit(self, container_id: str | None, memory_bytes: int | None, cpu_millis: int | None) -> None:
        await self._request(FrameType.LIMIT, messages.limit_message(container_id, memory_bytes, cpu_millis))

    async def throttle(self, cpu_millis: int | None) -> None:
        try:
            await asyncio.to_thread(self._throttle, self.id, None if cpu_millis is None else cpu_millis / 1000)
        except OSError as error:
            raise MachineError("ThrottleFailed", f"the machine's CPU limit can't be set: {error.strerror}") from error

    async def signal_container(self, container_id: str, number: int) -> None:
        message = MessageBuilder().text(Tag.NAME, container_id).number(Tag.SIGNAL, number).build()
        await self._request(FrameType.SIGNAL, message)

    async def remove_container(self, container_id: str) -> None:
        await self._request(FrameType.REMOVE, MessageBuilder().text(Tag.NAME, container_id).build())

    async def attach(self, container_id: str) -> LinkProcess:
        link = self._link
        stream = link.open_process()
        message = MessageBuilder().text(Tag.NAME, container_id).number(Tag.STREAM, stream.id).build()
        try:
            await link.request(FrameType.ATTACH, message)
        except MachineError as error:
            stream.fail(error)
            raise
        return LinkProcess(link, stream)

    async def exec(
        self, container_id: str, argv: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> LinkProcess:
        link = self._link
        stream = link.open_process()
        message = messages.exec_message(container_id, stream.id, argv, tty=tty, stdin=stdin)
        try:
            await link.request(FrameType.EXEC, message, seconds=START_SECONDS)
        except MachineError as error:
            stream.fail(error)
            if error.reason not in START_FAILURES:
                raise
            return LinkProcess(link, stream, error)
        return LinkProcess(link, stream)

    async def forward(self, port: int, address: str = "127.0.0.1") -> LinkStream:
        link = self._link
        stream = link.open_stream()
        message = MessageBuilder().text(Tag.ADDRESS, address).number(Tag.PORT, port).number(Tag.STREAM, stream.id)
        try:
            await link.request(FrameType.FORWARD, message.build())
        except MachineError as error:
            stream.fail(error)
            raise
        return stream

    async def containers(self) -> list[ContainerStatus]:
        fields = await self._request(FrameType.LIST, b"")
        return [messages.parse_status(Fields(one)) for one in fields.all(Tag.CONTAINER)]

    def events(self) -> AsyncIterator[Event]:
        return aiter(self._events)

    async def acknowledge(self, sequence: int) -> None:
        self._events.acknowledge(sequence)
        if self._connections is not None:
            self._connections.link.acknowledge(sequence)

    async def usage(self) -> MachineUsage:
        return messages.parse_usage(await self._request(FrameType.STAT, b""))

    # Within

    @property
    def _link(self) -> GuestLink:
        if self._connections is None:
            raise MachineError("LinkLost", "the machine is not connected")
        return self._connections.link

    @property
    def _monitor(self) -> Monitor:
        if self._connections is None:
            raise MachineError("MonitorLost", "the machine is not connected")
        return self._connections.monitor

    async def _request(self, type_: FrameType, payload: bytes, *, seconds: float = 30.0) -> Fields:
        return await self._link.request(type_, payload, seconds=seconds)

    async def _read_clock(self, delta_ns: int | None) -> int:
        message = MessageBuilder()
        if delta_ns is not None:
            message.number(Tag.DELTA, delta_ns)
        fields = await self._request(FrameType.CLOCK, message.build())
        now = fields.number(Tag.TIME) or 0
        if now > TIME_MAX_NS:
            raise ProtocolError("a time beyond what a clock can show")
        return now

    def _free_lun(self) -> int:
        used = {disk.lun for disk in self._record.disks.values()}
        candidates = range(qemu.FIRST_FREE_LUN, qemu.FIRST_FREE_LUN + len(used) + 1)
        return next(lun for lun in candidates if lun not in used)

    async def _resize(self, node: str, size_bytes: int) -> None:
        """QEMU learns the new size when it has connected again to the export, which it does at the next read or
        write; a guest that is idle does none."""
        deadline = time.monotonic() + RESIZE_SECONDS
        while True:
            try:
                await self._monitor.run("block_resize", {"node-name": node, "size": size_bytes})
                return
            except QmpError as error:
                if error.reason != "HypervisorRefused" or time.monotonic() > deadline:
                    raise
            await self._monitor.run("human-monitor-command", {"command-line": f'qemu-io {node} "read 0 512"'})
            await asyncio.sleep(RECONNECT_PAUSE_SECONDS)

    async def _plug(self, path: Path, *, read_only: bool, volume: str | None) -> Disk:
        lun = self._free_lun()
        return Disk(lun, await disks.plug(self._monitor, path, lun, read_only=read_only), volume)

    async def _unplug(self, disk_id: str) -> None:
        disk = self._record.disks[disk_id]
        await disks.unplug(self._monitor, disk.lun, disk.fd_set)
        del self._record.disks[disk_id]
        await asyncio.to_thread(self._state.save, self._record)


class _Over(Exception):
    def __init__(self, event: MachineGone) -> None:
        super().__init__(event.message)
        self.event = event


def _volume_disk(name: str) -> str:
    return f"volume-{name}"


def _disk_message(disk_id: str, disk: Disk, *, read_only: bool) -> bytes:
    message = MessageBuilder().number(Tag.LUN, disk.lun)
    if disk.volume is None:
        message.text(Tag.IMAGE, disk_id)
    else:
        message.text(Tag.NAME, disk.volume)
    return message.number(Tag.OPTIONS, Option.READ_ONLY if read_only else 0).build()


def identify_message() -> bytes:
    """Randomness and the time, which a clone of a template shares with all others until it gets its own."""
    return MessageBuilder().blob(Tag.ENTROPY, os.urandom(64)).number(Tag.TIME, wall_clock_ns()).build()
