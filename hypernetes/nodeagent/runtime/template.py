"""Templates: machines booted once and kept as memory and device state, of which pods' machines are clones.

    boot ─► PREPARE ─► stop ─► device state ─► kill ─► seal          clone: map the memory privately, load the state,
    (hn-init, HAProxy and the loader of tables idle, scratch disk mounted)                 continue, IDENTIFY

A template is made when a shape is first needed (hn-agent's start needs that of a plain pod, so that the first pod
finds it), and the machines that need it wait for it: cold boots beside it would
make both slower, so that eight machines started at once took twice as long. The memory is
a memfd sealed against writing, so that a QEMU which its guest took over can't alter what others start from. Nothing
of a tenant's, no secret and nothing random is ever in it. Both descriptors live in the agent alone: clones that run
keep the memory by themselves, and the next agent makes its own.

Cost: what a booted guest uses, once per template, and at most its full memory in time: the kernel keeps a page for
each that any clone touched. So templates are few, the least recently used one goes first.
"""

import asyncio
import errno
import fcntl
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import structlog

from hypernetes.nodeagent import balancer, services
from hypernetes.nodeagent.runtime import boot, disks, hypervisor, messages, qemu, scratch, taps
from hypernetes.nodeagent.runtime.bare import bare_machine
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.boot import Connections
from hypernetes.nodeagent.runtime.host import Host
from hypernetes.nodeagent.runtime.protocol import FrameType
from hypernetes.nodeagent.runtime.qmp import Monitor
from hypernetes.nodeagent.runtime.state import Disk

log = structlog.get_logger(__name__)

TEMPLATES_MAX = 4
BOOT_SECONDS = 60.0
PREPARE_SECONDS = 60.0  # the first run of both
# A shape whose template failed boots cold for this long: what broke it may have been a passing want of memory.
BROKEN_SECONDS = 300.0
SEAL_SECONDS = 5.0
# How long a machine waits for its template before it boots cold. One takes 3 s on two quiet cores.
PATIENCE_SECONDS = 20.0
MIB = 1 << 20
# linux/fcntl.h
_F_ADD_SEALS = 1033
_SEALS = 0x0001 | 0x0002 | 0x0004 | 0x0008  # SEAL, SHRINK, GROW, WRITE
_STATE_NAME = "template"  # of the descriptor inside QEMU


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """What must be equal for a machine to be a clone. The rest of QEMU's command line follows from it."""

    shape: qemu.Shape
    offloads: bool  # of the NIC's tap
    qemu_version: str
    guest: bytes  # guest.json, which has the hashes of kernel, initramfs and toolbox
    scratch_bytes: int = 0  # of the scratch disk that is plugged and mounted; 0: none is


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A template's memory, device state and scratch disk, as open descriptors. Whoever has one closes it."""

    memory: int
    state: int
    scratch: int | None = None

    def copy(self) -> "Snapshot":
        """With a place of its own in the device state, from the start."""
        with ExitStack() as opened:

            def again(fd: int) -> int:
                own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, own)
                return own

            memory = os.dup(self.memory)
            opened.callback(os.close, memory)
            made = Snapshot(memory, again(self.state), None if self.scratch is None else again(self.scratch))
            opened.pop_all()
            return made

    def close(self) -> None:
        for fd in (self.memory, self.state, self.scratch):
            if fd is not None:
                os.close(fd)


class Templates:
    """The templates of a runtime, one being made at a time."""

    def __init__(self, make: Callable[[TemplateKey], Awaitable[Snapshot]]) -> None:
        self._make = make
        self._ready: OrderedDict[TemplateKey, Snapshot] = OrderedDict()  # the most recently used one last
        self._broken: dict[TemplateKey, float] = {}  # until when, by time.monotonic()
        self._making: asyncio.Task[None] | None = None

    def take(self, key: TemplateKey) -> Snapshot | None:
        """A copy of the template, for one clone. Where there is none it is made, for those that come later."""
        snapshot = self._ready.get(key)
        if snapshot is not None:
            self._ready.move_to_end(key)
            return snapshot.copy()
        now = time.monotonic()
        self._broken = {known: until for known, until in self._broken.items() if until > now}
        if key not in self._broken and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._add(key), name="template")
        return None

    async def take_when_made(self, key: TemplateKey) -> Snapshot | None:
        """As `take`, but it waits while the template is made. None where it is broken, or not there in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while (snapshot := self.take(key)) is None and key not in self._broken and self._making is not None:
            if loop.time() >= deadline:
                return None
            await asyncio.wait([self._making], timeout=deadline - loop.time())
        return snapshot

    def drop(self, key: TemplateKey, why: str) -> None:
        """A clone of it did not come up: for a while, machines of this shape boot cold."""
        log.warning("machines boot cold for a while: the template can't be used", error=why, shape=str(key.shape))
        self._broken[key] = time.monotonic() + BROKEN_SECONDS
        snapshot = self._ready.pop(key, None)
        if snapshot is not None:
            snapshot.close()

    async def settled(self) -> None:
        """Waits for the template that is being made."""
        if self._making is not None:
            await asyncio.wait([self._making])

    async def close(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        while self._ready:
            self._ready.popitem()[1].close()

    async def _add(self, key: TemplateKey) -> None:
        started = time.monotonic()
        try:
            snapshot = await self._make(key)
        except (MachineError, OSError) as error:
            if isinstance(error, MachineError) and error.reason == boot.HYPERVISOR_KILLED:
                log.warning("a template in the making was killed; whoever needs it makes another", error=str(error))
            else:
                self.drop(key, str(error))
            return
        except Exception as error:
            log.exception("a template can't be made", shape=str(key.shape))
            self.drop(key, str(error))
            return
        self._ready[key] = snapshot
        if len(self._ready) > TEMPLATES_MAX:
            self._ready.popitem(last=False)[1].close()
        log.info("a template is ready", shape=str(key.shape), seconds=round(time.monotonic() - started, 1))


async def make(host: Host, key: TemplateKey) -> Snapshot:
    """Boots a machine and keeps what it has become. Raises MachineError or OSError; leaves nothing behind then."""
    tap = taps.open_idle(host.cluster_id, offloads=key.offloads) if key.shape.nic else None
    disk = host.directory / f"template-scratch-{uuid.uuid4().hex[:12]}" if key.scratch_bytes else None
    try:
        scratch_fd = None if disk is None else await _open_scratch(disk, key.scratch_bytes)
        snapshot = Snapshot(
            os.memfd_create("template-memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING),
            os.memfd_create("template-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING),
            scratch_fd,
        )
        try:
            os.ftruncate(snapshot.memory, key.shape.memory_mib * MIB)
            memory = hypervisor.Memory(snapshot.memory, shared=True)
            async with bare_machine(host, "template", key.shape, BOOT_SECONDS, tap_fd=tap, memory=memory) as machine:
                await _save(machine, snapshot.state, disk)
            await asyncio.to_thread(_seal, snapshot)
        except BaseException:
            snapshot.close()
            raise
        return snapshot
    finally:
        if tap is not None:
            os.close(tap)
        if disk is not None:
            disk.unlink(missing_ok=True)


async def _open_scratch(path: Path, size: int) -> int:
    await scratch.make(path, size)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


async def _save(machine: Connections, state_fd: int, disk: Path | None) -> None:
    await machine.link.request(FrameType.PREPARE, _idle_services(), seconds=PREPARE_SECONDS)
    if disk is not None:
        await disks.plug(machine.monitor, disk, qemu.SCRATCH_LUN, read_only=False)
        await machine.link.request(FrameType.MOUNT_DISK, messages.disk_message(qemu.SCRATCH_LUN))
    for lun in qemu.IMAGE_LUNS:
        await disks.plug_empty(machine.monitor, lun)
        await machine.link.request(FrameType.WAIT_DISK, messages.disk_message(lun))
    machine.link.close()
    await machine.monitor.run("stop")
    await _share_memory(machine.monitor)
    await machine.monitor.run("getfd", {"fdname": _STATE_NAME}, fd=state_fd)
    await machine.monitor.run("migrate", {"uri": f"fd:{_STATE_NAME}"})
    await machine.monitor.wait_event("MIGRATION", status="completed")


def _idle_services() -> bytes:
    idle = services.IDLE.balancer
    table = {balancer.MAP_NAME: idle.table()}
    return messages.services_message(idle.configuration(), table, services.IDLE.nftables, balancer.PRACTICE)


async def resume(
    monitor: Monitor, snapshot: Snapshot, disk: Path | None, images: Mapping[str, Path]
) -> dict[str, Disk]:
    """Makes a QEMU that waits for it the clone of a template, and lets it run. `disk` is the copy of the template's
    scratch disk, where it has one. Those of `images` that are plugged are returned; none is mounted.
    Raises MachineError."""
    if disk is not None:
        await disks.plug(monitor, disk, qemu.SCRATCH_LUN, read_only=False)
    plugged: dict[str, Disk] = {}
    there = {id_: path for id_, path in images.items() if path.exists()}
    for lun, image in zip_longest(qemu.IMAGE_LUNS, list(there.items())[: len(qemu.IMAGE_LUNS)]):
        if image is None:
            await disks.plug_empty(monitor, lun)
        else:
            plugged[image[0]] = Disk(lun, await disks.plug(monitor, image[1], lun, read_only=True), None)
    await _share_memory(monitor)
    await monitor.run("getfd", {"fdname": _STATE_NAME}, fd=snapshot.state)
    await monitor.run("migrate-incoming", {"uri": f"fd:{_STATE_NAME}"})
    await monitor.wait_event("MIGRATION", status="completed")
    await monitor.run("cont")
    return plugged


async def _share_memory(monitor: Monitor) -> None:
    """The memory is not part of the state: it is in the descriptor that both sides map."""
    wanted = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    await monitor.run("migrate-set-capabilities", {"capabilities": wanted})


def _seal(snapshot: Snapshot) -> None:
    """QEMU is dead; that its mapping is gone too can take a moment. Raises OSError."""
    deadline = time.monotonic() + SEAL_SECONDS
    while True:
        try:
            for fd in (snapshot.memory, snapshot.state):
                fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
