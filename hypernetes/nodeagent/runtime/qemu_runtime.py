"""The runtime on QEMU (base.Runtime): makes machines, finds those of an earlier agent, removes what they had."""

import asyncio
import os
import re
import select
import shutil
import signal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from hypernetes.nodeagent.runtime import accel, boot, hypervisor, qemu, tsc, uids
from hypernetes.nodeagent.runtime.base import GuestServices, MachineError, MachineSpec
from hypernetes.nodeagent.runtime.cgroup import Cgroups, Limits, host_hierarchy
from hypernetes.nodeagent.runtime.machine import QemuMachine, identify_message
from hypernetes.nodeagent.runtime.protocol import FrameType, Tag
from hypernetes.nodeagent.runtime.silent import SilentHandler
from hypernetes.nodeagent.runtime.state import MachineRecord, MachineState, StateError

log = structlog.get_logger(__name__)

RUN_DIRECTORY = Path("/run/hypernetes")
# A cold boot takes 2 s under TCG on a quiet machine.
BOOT_SECONDS = 60.0
ADOPT_SECONDS = 20.0
# What QEMU needs beside the guest's memory: under TCG its translation buffer, and translated code's book-keeping.
OVERHEAD_BYTES = {qemu.Accel.TCG: 192 << 20, qemu.Accel.KVM: 96 << 20}
MIB = 1 << 20
PROBE_MEMORY_MIB = 128
TOOL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Host:
    """What stays the same for all machines of a runtime."""

    cluster_id: str
    directory: Path
    run_directory: Path
    guest: hypervisor.GuestFiles
    qemu_version: str

    def state_of(self, machine_id: str) -> MachineState:
        return MachineState(self.directory / machine_id, self.run_directory / machine_id)

    def name_of(self, machine_id: str) -> str:
        """QEMU's -name, by which a process that was never noted is found."""
        return f"hn{self.cluster_id}-{machine_id}"


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
    host = Host(cluster_id, machines, run_directory / f"hn{cluster_id}", files, version)
    khz = await asyncio.to_thread(tsc.frequency_khz)
    cgroups = Cgroups(await asyncio.to_thread(host_hierarchy), f"hn{cluster_id}")
    prober = QemuRuntime(host, qemu.Accel.KVM, khz, cgroups)
    cache = run_directory / "accel.json"
    chosen = await accel.choose(accelerator, version, files.manifest, cache, prober.probe)
    return QemuRuntime(host, chosen, khz, cgroups)


class QemuRuntime:
    def __init__(self, host: Host, accelerator: qemu.Accel, tsc_khz: int, cgroups: Cgroups) -> None:
        self._host = host
        self.accelerator = accelerator
        self._tsc_khz = tsc_khz
        self._cgroups = cgroups
        self._machines: dict[str, QemuMachine] = {}

    async def create(self, spec: MachineSpec, services: GuestServices) -> QemuMachine:
        if spec.id in self._machines or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", spec.id):
            raise MachineError("BadMachine", f"the machine id {spec.id!r} is in use or malformed")
        state = self._host.state_of(spec.id)
        await asyncio.to_thread(state.create)
        try:
            uid = await asyncio.to_thread(self._claim_uid, spec.id)
            scratch = asyncio.create_task(_make_scratch(state.scratch, spec.scratch_bytes))
            try:
                record = await self._spawn(spec, state, uid)
                machine = await self._bring_up(record, state, services, scratch)
            finally:
                scratch.cancel()
                await asyncio.gather(scratch, return_exceptions=True)
        except BaseException:
            await self._clean_unfinished(spec.id, state)
            raise
        self._machines[spec.id] = machine
        return machine

    async def adopt(self, services: Mapping[str, GuestServices]) -> dict[str, QemuMachine]:
        names = await asyncio.to_thread(lambda: [entry.name for entry in self._host.directory.iterdir()])
        adopted = await asyncio.gather(*(self._adopt_one(name, services.get(name)) for name in names))
        found = {machine.id: machine for machine in adopted if machine is not None}
        self._machines |= found
        return found

    async def version(self) -> str:
        return f"qemu://{self._host.qemu_version}"

    async def close(self) -> None:
        await asyncio.gather(*(machine.close() for machine in self._machines.values()))
        self._machines.clear()

    async def probe(self, accelerator: qemu.Accel) -> None:
        """Boots a bare machine. Raises MachineError if it doesn't come up within accel.PROBE_SECONDS."""
        id_ = f"probe-{uuid.uuid4().hex[:12]}"
        state = self._host.state_of(id_)
        await asyncio.to_thread(state.create)
        try:
            uid = await asyncio.to_thread(self._claim_uid, id_)
            shape = qemu.Shape(PROBE_MEMORY_MIB, 1, nic=False, accel=accelerator, tsc_khz=self._tsc_khz)
            name = self._host.name_of(id_)
            identity = await asyncio.to_thread(hypervisor.spawn, name, shape, self._host.guest, state, uid)
            process = boot.watch(identity, state)
            try:
                connections = await boot.connect(process, state, SilentHandler(), accel.PROBE_SECONDS)
                connections.link.close()
                connections.monitor.close()
            finally:
                process.close()
        finally:
            await self._clean_unfinished(id_, state)

    # Making one

    def _claim_uid(self, machine_id: str) -> int:
        return uids.claim(self._host.run_directory / "uids", self._host.cluster_id, machine_id)

    async def _spawn(self, spec: MachineSpec, state: MachineState, uid: int) -> MachineRecord:
        nic = spec.nic
        shape = qemu.Shape(
            memory_mib=-(-spec.memory_bytes // MIB),
            cpus=spec.cpus,
            nic=nic is not None,
            accel=self.accelerator,
            tsc_khz=self._tsc_khz,
        )

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
            )
            record = MachineRecord(spec.id, spec.label, uid, nic.mac_address if nic else None, identity, boot_id="")
            state.save(record)
            limits = Limits(shape.memory_mib * MIB + OVERHEAD_BYTES[self.accelerator], shape.cpus)
            self._cgroups.add(spec.id, limits, identity.pid)
            return record

        try:
            return await asyncio.to_thread(start)
        except OSError as error:
            raise MachineError("BootFailed", f"the machine can't be set up on this node: {error}") from error

    async def _bring_up(
        self, record: MachineRecord, state: MachineState, services: GuestServices, scratch: "asyncio.Task[None]"
    ) -> QemuMachine:
        process = boot.watch(record.process, state)
        machine = QemuMachine(state, record, services, self._release)
        try:
            connections = await boot.connect(process, state, machine, BOOT_SECONDS)
        except BaseException:
            process.close()
            raise
        try:
            identity = await boot.while_alive(
                process, state, connections.link.request(FrameType.IDENTIFY, identify_message())
            )
            record.boot_id = identity.text(Tag.BOOT_ID)
            machine.attach_connections(connections)
            await scratch
            await boot.while_alive(process, state, machine.plug_scratch())
            await asyncio.to_thread(state.save, record)
        except BaseException:
            await machine.close()
            connections.close()
            raise
        return machine

    async def _adopt_one(self, machine_id: str, services: GuestServices | None) -> QemuMachine | None:
        state = self._host.state_of(machine_id)
        try:
            record = await asyncio.to_thread(state.load)
        except StateError as error:
            log.warning("an unfinished machine is removed", machine=machine_id, error=str(error))
            await self._clean_unfinished(machine_id, state)
            return None
        if services is None or not record.boot_id or not record.process.alive():
            await self._clean_unfinished(machine_id, state)
            return None
        machine = QemuMachine(state, record, services, self._release)
        try:
            process = boot.watch(record.process, state)
            try:
                machine.attach_connections(await boot.connect(process, state, machine, ADOPT_SECONDS))
            except BaseException:
                process.close()
                raise
        except MachineError as error:
            log.warning("a machine can't be adopted and is removed", machine=machine_id, error=error.message)
            await self._clean_unfinished(machine_id, state)
            return None
        return machine

    # Removing one

    async def _release(self, record: MachineRecord) -> None:
        self._machines.pop(record.id, None)
        await self._clean_unfinished(record.id, self._host.state_of(record.id))

    async def _clean_unfinished(self, machine_id: str, state: MachineState) -> None:
        """Ends whatever process the machine has and removes all of its files, groups and ids. Idempotent."""
        await asyncio.shield(asyncio.to_thread(self._clean, machine_id, state))

    def _clean(self, machine_id: str, state: MachineState) -> None:
        for pid in hypervisor.running_under(self._host.name_of(machine_id)):
            _kill(pid)
        self._cgroups.remove(machine_id)
        uids.release(self._host.run_directory / "uids", machine_id)
        state.remove()


def _kill(pid: int) -> None:
    """Kills a process and waits for its end, child or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        select.select([fd], [], [], TOOL_SECONDS)
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return
    finally:
        os.close(fd)


async def _make_scratch(path: Path, size: int) -> None:
    """An empty ext4 without journal (a pod's writable layers end with it); sparse. Raises MachineError."""
    with path.open("wb") as file:
        file.truncate(size)
    tool = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin") or "mke2fs"
    options = ("-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")
    await _run(tool, *options, str(path), package="e2fsprogs")


async def _qemu_version() -> str:
    words = (await _run(qemu.BINARY, "--version", package="qemu-system-x86")).split()
    return words[3] if len(words) > 3 else "unknown"


async def _run(*argv: str, package: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise MachineError("ToolMissing", f"{argv[0]} is missing: apt-get install {package}") from error
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            output, complaint = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        message = complaint.decode(errors="replace").strip()[-500:]
        raise MachineError("DiskFull" if "space" in message else "ToolFailed", f"{argv[0]} failed: {message}")
    return output.decode(errors="replace")
