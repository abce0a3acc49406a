"""What a container's output costs on its way to whoever reads it, stage by stage, without a control plane.

python -m benchmarks.linkstages [--json FILE] [--megabytes N] [--accel auto|kvm|tcg] [--guest build/guest]

writers     programs in the guest that write to /dev/null, and through one pipe
bare link   a guest without hn-init that writes zeros to the same port: nothing that goes over the link is faster
exec        a command's output as a stream, thrown away here
spool       a container's output as its log gets it, acknowledged and thrown away here
log         the same, written to files
host alone  the same frames read, checked and written to files without a guest; such a log read as a follower does

MB/s by the clock, and beside it what it took of processors for each MB: QEMU's (guest included), this process's.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from benchmarks.load.servers import cpu_seconds
from benchmarks.podstart import NoServices
from benchmarks.report import Figure, report
from hypernetes.guest import initramfs
from hypernetes.nodeagent import logs, session, sizing
from hypernetes.nodeagent.runtime import hypervisor, qemu, tsc
from hypernetes.nodeagent.runtime.base import ContainerSpec, ContainerStatus, Exited, MachineError, MachineSpec, Output
from hypernetes.nodeagent.runtime.frames import EPOCH_SIZE, MAGIC, Frame, FrameParser, seed_of
from hypernetes.nodeagent.runtime.machine import QemuMachine
from hypernetes.nodeagent.runtime.messages import parse_output
from hypernetes.nodeagent.runtime.protocol import FrameType
from hypernetes.nodeagent.runtime.qemu_runtime import open_runtime
from hypernetes.nodeagent.runtime.state import MachineState
from tests.unit.nodeagent.runtime.guestframes import encode

CLUSTER_ID = "linkst"
SOURCE = Path(__file__).parent / "guest" / "writer.c"
BARE_CHUNKS = (4096, 32768, 131072)
BARE_SECONDS = 60.0
NOBODY = 65534
MEGABYTE = 1_000_000
_PIECE = 32_000  # of the frames that are read without a guest
_MILLI = 1000.0


class Stages:
    """Figures in the order in which they were measured."""

    def __init__(self, megabytes: int) -> None:
        self.megabytes = megabytes
        self.figures: list[Figure] = []

    async def measure(self, name: str, pid: int | None, work: Callable[[], Awaitable[int]]) -> None:
        """`work` returns how many bytes it moved; `pid` is of the QEMU that takes part."""
        began, own, guest = time.monotonic(), time.process_time(), cpu_seconds(pid) if pid else 0.0
        moved = await work() / MEGABYTE
        took = time.monotonic() - began
        self._add(name, moved / took, "MB/s")
        if pid:
            self._add("  QEMU's processor", (cpu_seconds(pid) - guest) / moved * _MILLI, "ms/MB")
        self._add("  the host's reader", (time.process_time() - own) / moved * _MILLI, "ms/MB")

    def _add(self, name: str, value: float, unit: str) -> None:
        self.figures.append(Figure(name, value, unit))
        print(f"  {name}: {value:,.2f} {unit}", flush=True)


# Without hn-init


def compile_writer(directory: Path, *options: str) -> Path:
    program = directory / "writer"
    command = ["musl-gcc", "-O2", "-static", "-idirafter", "/usr/include", "-idirafter"]
    command += ["/usr/include/x86_64-linux-gnu", *options, "-o", str(program), str(SOURCE)]
    subprocess.run(command, check=True)
    return program


async def bare_links(stages: Stages, root: Path, guest: Path, accel: qemu.Accel) -> None:
    khz = await asyncio.to_thread(tsc.frequency_khz)
    modules = [guest / "modules" / name for name in (guest / "modules" / "list").read_text().split()]
    for chunk in BARE_CHUNKS:
        place = root / f"bare-{chunk}"
        state = MachineState(place / "state", place / "run")
        place.mkdir()
        state.create()
        os.chown(state.run_directory, NOBODY, NOBODY)
        init = compile_writer(place, f"-DBARE_CHUNK={chunk}").read_bytes()
        (place / "initramfs").write_bytes(initramfs.build(init, modules))
        files = hypervisor.GuestFiles(guest / "vmlinux", place / "initramfs", guest / "toolbox.squashfs", place)
        shape = qemu.Shape(128, 1, nic=False, accel=accel, tsc_khz=khz)
        process = hypervisor.spawn(f"hn{CLUSTER_ID}-bare", shape, files, state, NOBODY)
        try:
            reader, writer = await asyncio.open_unix_connection(str(state.link_socket), limit=1 << 20)

            async def take(reader: asyncio.StreamReader = reader) -> int:
                size, wanted = 0, stages.megabytes * MEGABYTE
                while size < wanted:
                    size += len(await reader.read(1 << 18))
                return size

            async with asyncio.timeout(BARE_SECONDS):
                await reader.readexactly(1 << 20)  # it has booted, and its code is translated
            await stages.measure(f"bare link, writes of {chunk} bytes", process.pid, take)
            writer.close()
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, process.pid, 0)


# With hn-init


def make_image(directory: Path) -> Path:
    tree, image = directory / "tree", directory / "image.squashfs"
    (tree / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox") or "/bin/busybox"
    for name in ("sh", "sleep", "yes", "head", "dd", "cat"):
        shutil.copy(busybox, tree / "bin" / name)
    shutil.copy(compile_writer(directory), tree / "bin" / "writer")
    command = ["mksquashfs", str(tree), str(image), "-comp", "lz4", "-all-root", "-noappend", "-quiet", "-no-progress"]
    subprocess.run(command, check=True, capture_output=True)
    return image


async def run_command(machine: QemuMachine, script: str) -> int:
    """The bytes of its output."""
    process = await machine.exec("idle.0", ["/bin/sh", "-c", script])
    size = 0
    async for _, data in process.output():
        size += len(data)
    if code := await process.wait():
        raise MachineError("CommandFailed", f"{script!r} ended with {code}")
    return size


async def in_guest(stages: Stages, machine: QemuMachine) -> None:
    size = stages.megabytes * MEGABYTE
    line = "0" * 62
    for name, script in {
        "yes and head of busybox": f"yes {line} | head -c {size} > /dev/null",
        "a program's writes of 64 KiB, one pipe": f"writer write {size} 65536 | writer read 65536",
        "a program's writes of 4 KiB, one pipe": f"writer write {size} 4096 | writer read 65536",
    }.items():

        async def work(script: str = script) -> int:
            await run_command(machine, script)
            return size

        await stages.measure(f"in the guest: {name}", machine.pid, work)
    await stages.measure(
        "exec, writes of 64 KiB", machine.pid, lambda: run_command(machine, f"writer write {size} 65536")
    )


async def container(machine: QemuMachine, name: str, *argv: str) -> None:
    environment = {"PATH": "/bin"}
    await machine.start_container(ContainerSpec(name, "image", argv, environment))


async def spooled(machine: QemuMachine) -> int:
    """Takes a container's output until its exit, as hn-agent does, and keeps none."""
    size = waiting = 0
    async for event in machine.events():
        if isinstance(event, Output):
            size += len(event.data)
            waiting += len(event.data)
            if waiting >= session.ACKNOWLEDGE_BYTES:
                waiting = 0
                await machine.acknowledge(event.sequence)
        elif isinstance(event, Exited):
            return size
    raise MachineError("MachineGone", "the machine ended")


async def logged(machine: QemuMachine, directory: Path) -> int:
    exited = asyncio.Event()

    def on_exit(_: ContainerStatus) -> None:
        exited.set()

    running = asyncio.create_task(session.Session(machine, Counting(directory), on_exit).run())
    await exited.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return Counting.size


class Counting(logs.PodLogs):
    size = 0

    def write(self, output: Output) -> None:
        Counting.size += len(output.data)
        super().write(output)


async def outputs(stages: Stages, machine: QemuMachine, root: Path) -> None:
    size = stages.megabytes * MEGABYTE
    for chunk in (4096, 65536):
        await container(machine, f"spool{chunk}.0", "writer", "write", str(size), str(chunk))
        await stages.measure(f"spool, writes of {chunk >> 10} KiB", machine.pid, lambda: spooled(machine))
    await container(machine, "log.0", "writer", "write", str(size), "65536")
    await stages.measure("log, writes of 64 KiB", machine.pid, lambda: logged(machine, root / "logs"))


# The host's share


async def host_alone(stages: Stages, root: Path) -> None:
    size = stages.megabytes * MEGABYTE
    data = (b"0" * 63 + b"\n") * (_PIECE // 64)
    seed = seed_of(bytes(EPOCH_SIZE))
    parser, pod_logs = FrameParser(bytes(EPOCH_SIZE)), logs.PodLogs(root / "alone")
    for _ in parser.feed(MAGIC + bytes(EPOCH_SIZE)):
        pass
    head = (0).to_bytes(8, "little") + time.time_ns().to_bytes(8, "little") + bytes([1, 6]) + b"main.0"
    frame = encode(seed, Frame(FrameType.OUTPUT, 0, 0, head + data))

    async def write() -> int:
        written = 0
        while written < size:
            for received in parser.feed(frame):
                pod_logs.write(parse_output(received.payload))
            written += len(data)
        return written

    async def read() -> int:
        options = logs.LogOptions(follow=True)
        return sum([len(each) async for each in logs.stream(pod_logs, "main.0", options, lambda _: False)])

    await stages.measure("host alone: frames to files", None, write)
    await stages.measure("host alone: files to a follower", None, read)


async def measure(stages: Stages, root: Path, accel: str, guest: Path) -> None:
    await host_alone(stages, root)
    runtime = await open_runtime(root / "node", guest, CLUSTER_ID, accel, run_directory=root / "run")
    try:
        await bare_links(stages, root, guest, runtime.accelerator)
        spec = MachineSpec("link", 192 << 20, 1, None, sizing.DEFAULT_SCRATCH_BYTES)
        machine = await runtime.create(spec, NoServices())
        try:
            await machine.attach_disk("image", make_image(root), read_only=True)
            await container(machine, "idle.0", "sleep", "100000")
            await in_guest(stages, machine)
            await outputs(stages, machine, root)
        finally:
            await machine.shutdown(5)
    finally:
        await runtime.close()


@click.command()
@click.option("--json", "output", type=click.Path(path_type=Path))
@click.option("--megabytes", default=50, show_default=True, help="moved in each stage")
@click.option("--accel", default="auto", show_default=True)
@click.option("--guest", default=Path("build/guest"), type=click.Path(path_type=Path), show_default=True)
def main(output: Path | None, megabytes: int, accel: str, guest: Path) -> None:
    stages = Stages(megabytes)
    with tempfile.TemporaryDirectory(prefix="hn-bench-") as directory:
        root = Path(directory)
        root.chmod(0o711)  # machines' uids reach their sockets below
        asyncio.run(measure(stages, root, accel, guest.absolute()))
    report(stages.figures, output)


if __name__ == "__main__":
    main()
