"""The runtime on QEMU (base.Runtime): makes machines, finds those of an earlier agent, removes what they had."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import structlog

from hypernetes.nodeagent import sizing
from hypernetes.nodeagent.runtime import accel, boot, hypervisor, qemu, scratch, taps, template, tools, tsc
from hypernetes.nodeagent.runtime.bare import bare_machine
from hypernetes.nodeagent.runtime.base import Footprint, GuestServices, MachineError, MachineSpec
from hypernetes.nodeagent.runtime.cgroup import Cgroups, Limits, host_hierarchy
from hypernetes.nodeagent.runtime.host import Host, to_the_end
from hypernetes.nodeagent.runtime.machine import QemuMachine, identify_message
from hypernetes.nodeagent.runtime.processes import WatchedProcess
from hypernetes.nodeagent.runtime.protocol import FrameType, Tag
from hypernetes.nodeagent.runtime.qmp import Monitor
from hypernetes.nodeagent.runtime.state import MachineRecord, MachineState, StateError

log = structlog.get_logger(__name__)

RUN_DIRECTORY = Path("/run/hypernetes")
# A cold boot takes 2 s under TCG on a quiet machine.
BOOT_SECONDS = 60.0
# A clone answers in 0.1 s; one that takes this long on a loaded machine would boot cold in no less.
CLONE_SECONDS = 20.0
ADOPT_SECONDS = 20.0
# What QEMU needs beside the guest's memory: under TCG its translation buffer, and translated code's book-keeping.
OVERHEAD_BYTES = {qemu.Accel.TCG: 192 << 20, qemu.Accel.KVM: 96 << 20}
MIB = 1 << 20
BLOCK_BYTES = 512  # of stat(2)
PROBE_MEMORY_MIB = 128


async def open_runtime(
    directory: Path,
    guest: Path,
    cluster_id: str,
    accelerator: str = "auto",
    *,
    run_directory: Path = RUN_DIRECTORY,
) -> "QemuRuntime":
    """The runtime of one node. `directory` is the node's own (machines' state goes to `machines/` there), `guest` what
    `hypernetes.guest.build` made, `accelerator` auto, kvm or tcg. Raises MachineError."""
    files = hypervisor.GuestFiles.below(guest)
    version = await _qemu_version()
    machines = directory / "machines"
    await asyncio.to_thread(machines.mkdir, mode=0o700, parents=True, exist_ok=True)
    khz = await asyncio.to_thread(tsc.frequency_khz)
    cgroups = Cgroups(await asyncio.to_thread(host_hierarchy), f"hn{cluster_id}")
    host = Host(cluster_id, machines, run_directory / f"hn{cluster_id}", files, version, khz, cgroups)
    prober = QemuRuntime(host, qemu.Accel.KVM)
    cache = run_directory / "accel.json"
    chosen = await accel.choose(accelerator, version, files.manifest, cache, prober.probe)
    return QemuRuntime(host, chosen)


class QemuRuntime:
    def __init__(self, host: Host, accelerator: qemu.Accel) -> None:
        self._host = host
        self.accelerator = accelerator
        self.templates = template.Templates(partial(template.make, host))
        self._machines: dict[str, QemuMachine] = {}

    async def prepare(self, memory_bytes: int, cpus: int) -> None:
        """The template of machines with a NIC whose tap has offloads, as the local network provider's have."""
        try:
            shape, scratch_bytes = self._shape(memory_bytes, cpus), sizing.DEFAULT_SCRATCH_BYTES
            key = await asyncio.to_thread(self._template_key, shape, scratch_bytes, offloads=True)
            snapshot = await self.templates.take_when_made(key)
        except OSError as error:
            log.warning("no template is made before it is needed", error=str(error))
            return
        if snapshot is not None:
            snapshot.close()

    async def create(self, spec: MachineSpec, services: GuestServices) -> QemuMachine:
        if spec.id in self._machines or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", spec.id):
            raise MachineError("BadMachine", f"the machine id {spec.id!r} is in use or malformed")
        state = self._host.state_of(spec.id)
        await asyncio.to_thread(state.create)
        try:
            machine = await self._make(spec, state, services)
        except BaseException:
            await self._host.clean(spec.id)
            raise
        self._machines[spec.id] = machine
        return machine

    async def adopt(self, services: Mapping[str, GuestServices]) -> dict[str, QemuMachine]:
        names = await asyncio.to_thread(lambda: [entry.name for entry in self._host.directory.iterdir()])
        adopted = await asyncio.gather(*(self._adopt_or_remove(name, services.get(name)) for name in names))
        found = {machine.id: machine for machine in adopted if machine is not None}
        self._machines |= found
        return found

    async def version(self) -> str:
        return f"qemu://{self._host.qemu_version}"

    def footprint(self, machine_id: str) -> Footprint:
        """Memory that it shares with no other, and what its scratch disk takes; nothing of a machine that is gone.
        Raises OSError."""
        machine = self._machines.get(machine_id)
        try:
            status = Path(f"/proc/{machine.pid}/status").read_text() if machine is not None else ""
            blocks = self._host.state_of(machine_id).scratch.stat().st_blocks
        except (FileNotFoundError, ProcessLookupError):
            return Footprint(0, 0)
        anonymous = re.search(r"^RssAnon:\s*(\d+) kB", status, re.MULTILINE)
        return Footprint(int(anonymous[1]) * 1024 if anonymous else 0, blocks * BLOCK_BYTES)

    async def close(self) -> None:
        await self.templates.close()
        await asyncio.gather(*(machine.close() for machine in self._machines.values()))
        self._machines.clear()

    async def probe(self, accelerator: qemu.Accel) -> None:
        """Boots a bare machine. Raises MachineError if it doesn't come up within accel.PROBE_SECONDS."""
        shape = qemu.Shape(PROBE_MEMORY_MIB, 1, nic=False, accel=accelerator, tsc_khz=self._host.tsc_khz)
        async with bare_machine(self._host, "probe", shape, accel.PROBE_SECONDS):
            return

    # Making one

    async def _make(self, spec: MachineSpec, state: MachineState, services: GuestServices) -> QemuMachine:
        """A clone where there is a template; cold where there is none, or the clone doesn't come up."""
        shape = self._shape(spec.memory_bytes, spec.cpus, nic=spec.nic is not None)
        uid = await asyncio.to_thread(self._host.claim_uid, spec.id)
        clone = await self._clone(spec, shape, state, uid, services)
        if clone is not None:
            return clone
        async with _scratch_disk(spec, state, None) as disk:
            return await self._bring_up(await self._spawn(spec, shape, state, uid), state, services, disk)

    async def _clone(
        self, spec: MachineSpec, shape: qemu.Shape, state: MachineState, uid: int, services: GuestServices
    ) -> QemuMachine | None:
        """None where there is no template, or no use in it. Raises MachineError where a cold boot would fail too."""
        try:
            offloads = spec.nic is not None and taps.has_offloads(spec.nic.tap_fd)
            key = await asyncio.to_thread(self._template_key, shape, spec.scratch_bytes, offloads=offloads)
            snapshot = await self.templates.take_when_made(key)
        except OSError as error:
            log.warning("a machine boots cold: its template can't be had", machine=spec.id, error=str(error))
            return None
        if snapshot is None:
            return None
        try:
            async with _scratch_disk(spec, state, snapshot) as disk:
                try:
                    record = await self._spawn(spec, shape, state, uid, snapshot)
                    return await self._bring_up(record, state, services, disk, snapshot, spec.images)
                except MachineError as error:
                    if disk.done() and disk.exception() is not None:
                        raise
                    if error.reason != boot.HYPERVISOR_KILLED:
                        self.templates.drop(key, error.message)
                    await self._host.end(spec.id)
                    return None
        finally:
            snapshot.close()

    def _shape(self, memory_bytes: int, cpus: int, *, nic: bool = True) -> qemu.Shape:
        return qemu.Shape(
            memory_mib=-(-memory_bytes // MIB), cpus=cpus, nic=nic, accel=self.accelerator, tsc_khz=self._host.tsc_khz
        )

    def _template_key(self, shape: qemu.Shape, scratch_bytes: int, *, offloads: bool) -> template.TemplateKey:
        """A scratch disk of a size of its own isn't in the template: there would be one for each size."""
        guest = self._host.guest.manifest.read_bytes()
        usual = scratch_bytes if scratch_bytes == sizing.DEFAULT_SCRATCH_BYTES else 0
        return template.TemplateKey(shape, offloads, self._host.qemu_version, guest, usual)

    async def _spawn(
        self,
        spec: MachineSpec,
        shape: qemu.Shape,
        state: MachineState,
        uid: int,
        snapshot: template.Snapshot | None = None,
    ) -> MachineRecord:
        nic = spec.nic
        # A clone may be charged for the pages of the template that it is the first to touch.
        memory = shape.memory_mib * MIB * (1 if snapshot is None else 2)
        limits = Limits(memory + OVERHEAD_BYTES[self.accelerator], shape.cpus)

        def start() -> MachineRecord:
            os.chown(state.run_directory, uid, uid)
            identity = hypervisor.spawn(
                self._host.name_of(spec.id),
                shape,
                self._host.guest,
                state,
                uid,
                tap_fd=None if nic is None else nic.tap_fd,
                mac_address=None if nic is None else nic.mac_address,
                memory=None if snapshot is None else hypervisor.Memory(snapshot.memory, shared=False),
                incoming=snapshot is not None,
            )
            record = MachineRecord(spec.id, spec.label, uid, nic.mac_address if nic else None, identity, boot_id="")
            state.save(record)
            self._host.cgroups.add(spec.id, limits, identity.pid)
            return record

        try:
            return await to_the_end(start)
        except OSError as error:
            raise MachineError("BootFailed", f"the machine can't be set up on this node: {error}") from error

    async def _bring_up(
        self,
        record: MachineRecord,
        state: MachineState,
        services: GuestServices,
        disk: "asyncio.Future[None]",
        snapshot: template.Snapshot | None = None,
        images: Mapping[str, Path] = MappingProxyType({}),
    ) -> QemuMachine:
        """`disk` ends when the scratch disk's file is there."""
        process = boot.watch(record.process, state)
        machine = QemuMachine(
            state, record, services, self._release, self._host.cgroups.set_cpus, services_idle=snapshot is not None
        )
        async with _closed_if_it_fails(process, _closing(process)):
            if snapshot is None:
                connections = await boot.connect(process, state, machine, BOOT_SECONDS)
            else:
                mounted = state.scratch if snapshot.scratch is not None else None

                async def begin(monitor: Monitor) -> None:
                    if mounted is not None:
                        await disk
                    machine.plugged = await template.resume(monitor, snapshot, mounted, images)

                connections = await boot.connect(process, state, machine, CLONE_SECONDS, begin=begin)

        async def close() -> None:
            await machine.close()
            connections.close()

        async with _closed_if_it_fails(process, close):
            identity = await boot.while_alive(
                process, state, connections.link.request(FrameType.IDENTIFY, identify_message())
            )
            record.boot_id = identity.text(Tag.BOOT_ID)
            machine.attach_connections(connections)
            if snapshot is None or snapshot.scratch is None:
                await disk
                await boot.while_alive(process, state, machine.plug_scratch())
            await asyncio.to_thread(state.save, record)
        return machine

    async def _adopt_or_remove(self, machine_id: str, services: GuestServices | None) -> QemuMachine | None:
        """None for a machine that can't be had, which is removed: it must not keep the others from being adopted."""
        try:
            try:
                return await self._adopt_one(machine_id, services)
            except MachineError as error:
                log.warning("a machine can't be adopted and is removed", machine=machine_id, error=error.message)
            except Exception:
                log.exception("a machine can't be adopted and is removed", machine=machine_id)
            await self._host.clean(machine_id)
        except Exception:
            log.exception("a machine can't be removed", machine=machine_id)
        return None

    async def _adopt_one(self, machine_id: str, services: GuestServices | None) -> QemuMachine | None:
        state = self._host.state_of(machine_id)
        try:
            record = await asyncio.to_thread(state.load)
        except StateError as error:
            log.warning("an unfinished machine is removed", machine=machine_id, error=str(error))
            await self._host.clean(machine_id)
            return None
        if services is None or not record.boot_id or not record.process.alive():
            await self._host.clean(machine_id)
            return None
        machine = QemuMachine(state, record, services, self._release, self._host.cgroups.set_cpus)
        process = boot.watch(record.process, state)
        try:
            machine.attach_connections(await boot.connect(process, state, machine, ADOPT_SECONDS))
        except BaseException:
            process.close()
            raise
        return machine

    # Removing one

    async def _release(self, record: MachineRecord) -> None:
        self._machines.pop(record.id, None)
        await self._host.clean(record.id)


@asynccontextmanager
async def _closed_if_it_fails(process: WatchedProcess, close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    try:
        async with boot.telling_of_kills(process):
            yield
    except BaseException:
        await close()
        raise


def _closing(process: WatchedProcess) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        process.close()

    return close


@asynccontextmanager
async def _scratch_disk(
    spec: MachineSpec, state: MachineState, snapshot: template.Snapshot | None
) -> "AsyncIterator[asyncio.Future[None]]":
    """The making of the machine's scratch disk, beside its start: it ends, or is ended, with the block."""
    if snapshot is not None and snapshot.scratch is not None:
        work: asyncio.Future[None] = asyncio.ensure_future(
            to_the_end(partial(scratch.copy, snapshot.scratch, state.scratch))
        )
    else:
        work = asyncio.ensure_future(scratch.make(state.scratch, spec.scratch_bytes))
    try:
        yield work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _qemu_version() -> str:
    words = (await tools.run(qemu.BINARY, "--version", package="qemu-system-x86")).split()
    return words[3] if len(words) > 3 else "unknown"
