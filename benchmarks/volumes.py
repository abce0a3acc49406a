"""What a persistent volume adds to a pod's start; its I/O in the guest against the same on the host. Local files.

python -m benchmarks.volumes [--json FILE] [--runs N] [--count N] [--guest build/guest]
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import click

from benchmarks.podstart import NoServices
from benchmarks.report import Figure, report
from hypernetes.nodeagent.runtime.base import ContainerSpec, Exited, GuestConfig, MachineSpec, Mount, Output, VolumeDisk
from hypernetes.nodeagent.runtime.cgroup import Cgroups, host_hierarchy
from hypernetes.nodeagent.runtime.machine import QemuMachine
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime, open_runtime
from hypernetes.nodeagent.storage import daemon
from hypernetes.nodeagent.storage.processes import Opened, StorageProcesses
from hypernetes.providers.volume.base import Owner
from hypernetes.providers.volume.local import DRIVER, LocalFiles

CLUSTER_ID = "bench0"
MIB = 1 << 20
VOLUME_BYTES = 1 << 30
IO_BYTES = 128 * MIB
FLUSHED_WRITES = 50
FORMATTED_GOAL, MKFS_GOAL = 80.0, 350.0  # milliseconds that a volume adds to a pod's start
# The same shell scripts run on both sides, but that the host reads past its page cache and the guest drops its own.
SCRIPTS = {
    "sequential write": f"dd if=/dev/zero of=DATA/seq bs=1M count={IO_BYTES // MIB} conv=fsync 2>/dev/null",
    "sequential read": "echo 3 > /proc/sys/vm/drop_caches; dd if=DATA/seq of=/dev/null bs=1M 2>/dev/null",
    "4 KiB writes, each flushed by a process of its own": (
        f"i=0; while [ $i -lt {FLUSHED_WRITES} ]; do i=$((i+1));"
        " dd if=/dev/zero of=DATA/rnd bs=4k count=1 seek=$i conv=notrunc,fsync 2>/dev/null; done"
    ),
}


def make_image(directory: Path) -> Path:
    tree, image = directory / "tree", directory / "image.squashfs"
    (tree / "bin").mkdir(parents=True)
    for name in ("sh", "dd", "sleep"):
        shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin" / name)
    command = ["mksquashfs", str(tree), str(image), "-comp", "lz4", "-all-root", "-noappend", "-quiet", "-no-progress"]
    subprocess.run(command, check=True, capture_output=True)
    return image


class Bench:
    def __init__(self, root: Path, runtime: QemuRuntime, processes: StorageProcesses, image: Path) -> None:
        self.files, self.runtime, self.processes, self.image = LocalFiles(root / "files"), runtime, processes, image

    async def machine(self, name: str) -> QemuMachine:
        machine = await self.runtime.create(MachineSpec(name, 192 << 20, 1, None, 1 << 30), NoServices())
        await machine.configure(GuestConfig("pod", None))
        await machine.attach_disk("image", self.image, read_only=True)
        return machine

    async def end(self, machine: QemuMachine) -> None:
        await machine.shutdown(30)
        for opened in self.processes.opened(machine.id):
            await self.processes.close(opened.key)

    async def open(self, machine_id: str, uid: str, name: str = "data") -> Opened:
        opened = Opened(machine_id, name, DRIVER, Owner("bench", "bench"), uid, {"uid": uid})
        await self.processes.open(opened)
        return opened

    async def attach(self, machine: QemuMachine, opened: Opened) -> None:
        await self.processes.grant(opened.key, machine.uid)
        await machine.attach_volume(VolumeDisk(opened.volume, self.processes.socket(opened.key), daemon.EXPORT))

    async def blank(self) -> str:
        uid = str(uuid.uuid4())
        await self.files.make(uid, VOLUME_BYTES, None)
        return uid

    async def added(self, machine_id: str, uid: str) -> tuple[float, float]:
        """Seconds: to open the volume, which goes on while the machine boots, and from there to mounted."""
        machine = await self.machine(machine_id)
        try:
            begun = time.monotonic()
            opened = await self.open(machine_id, uid)
            ready = time.monotonic()
            await self.attach(machine, opened)
            return ready - begun, time.monotonic() - ready
        finally:
            await self.end(machine)

    async def inside(self, machine: QemuMachine, script: str) -> float:
        """Seconds that a script takes in the guest."""
        number = uuid.uuid4().hex[:8]
        argv = ["/bin/sh", "-ec", f"{script.replace('DATA', '/data')}; echo done"]
        spec = ContainerSpec(
            f"{number}.0", "image", argv, {"PATH": "/bin"},
            mounts=[Mount("data", "/data")], privileged=True,
        )  # fmt: skip
        begun = time.monotonic()
        await machine.start_container(spec)
        async for event in machine.events():
            if isinstance(event, Output) and event.container_id == spec.id and b"done" in event.data:
                return time.monotonic() - begun
            if isinstance(event, Exited) and event.status.id == spec.id:
                raise RuntimeError(f"{script} failed in the guest: {event.status.exit_code}")
        raise RuntimeError("the machine ended")


def on_host(directory: Path, name: str) -> float:
    """Seconds that the same takes on the host, on the same file system."""
    if name == "sequential read":
        return _timed(["dd", f"if={directory}/seq", "of=/dev/null", "bs=1M", "iflag=direct"])
    return _timed(["busybox", "sh", "-ec", SCRIPTS[name].replace("DATA", str(directory))])


def _timed(argv: list[str]) -> float:
    begun = time.monotonic()
    subprocess.run(argv, check=True, capture_output=True)
    return time.monotonic() - begun


async def starts(bench: Bench, runs: int) -> list[Figure]:
    fresh, formatted, opening = [], [], []
    for number in range(runs):
        uid = await bench.blank()
        _, seconds = await bench.added(f"m{number}a", uid)
        fresh.append(seconds)
        opened, seconds = await bench.added(f"m{number}b", uid)
        formatted.append(seconds)
        opening.append(opened)
        await bench.files.remove(uid)
    took = {
        "open a volume, while the machine boots": (opening, None),
        "attach to mounted, formatted": (formatted, FORMATTED_GOAL),
        "attach to mounted, with mkfs": (fresh, MKFS_GOAL),
    }
    return [
        Figure(name, 1000 * statistics.median(seconds), "ms", goal, lower_is_better=True)
        for name, (seconds, goal) in took.items()
    ]


async def ratios(bench: Bench, directory: Path, runs: int) -> list[Figure]:
    uid = await bench.blank()
    machine = await bench.machine("io")
    guest_seconds: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    host_seconds: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    try:
        await bench.attach(machine, await bench.open("io", uid))
        await bench.inside(machine, "true")
        for _ in range(runs):  # they take turns, so that a busy host slows both alike
            for name, script in SCRIPTS.items():
                guest_seconds[name].append(await bench.inside(machine, script))
                host_seconds[name].append(await asyncio.to_thread(on_host, directory, name))
    finally:
        await bench.end(machine)
        await bench.files.remove(uid)
    return [
        Figure(
            f"{name}: speed in the guest against the host's",
            100 * statistics.median(host_seconds[name]) / statistics.median(guest_seconds[name]), "%",
        )
        for name in SCRIPTS
    ]  # fmt: skip


async def many(bench: Bench, count: int) -> list[Figure]:
    """Storage processes of as many volumes."""
    uids = [await bench.blank() for _ in range(count)]
    begun = time.monotonic()
    opened = [await bench.open(f"many{number}", uid) for number, uid in enumerate(uids)]
    seconds = time.monotonic() - begun
    memory = sum(_private_bytes(each.process.pid) for each in opened if each.process is not None)
    begun = time.monotonic()
    await asyncio.gather(*(bench.processes.close(each.key) for each in opened))
    closing = time.monotonic() - begun
    for uid in uids:
        await bench.files.remove(uid)
    return [
        Figure(f"open {count} volumes of a node, one after another", seconds, "s"),
        Figure(f"memory of {count} storage processes, each", memory / count / MIB, "MiB"),
        Figure(f"close {count} volumes", closing, "s"),
    ]


def _private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def measure(root: Path, runs: int, count: int, guest: Path) -> list[Figure]:
    image = await asyncio.to_thread(make_image, root)
    runtime = await open_runtime(root / "node", guest, CLUSTER_ID, "tcg", run_directory=root / "run")
    cgroups = Cgroups(host_hierarchy(), f"hn{CLUSTER_ID}")
    files = LocalFiles(root / "files")
    run = root / "run" / f"hn{CLUSTER_ID}"
    processes = StorageProcesses(root / "storage", run, CLUSTER_ID, cgroups, {DRIVER: files})
    await processes.adopt()
    supervising = asyncio.create_task(processes.run())
    bench = Bench(root, runtime, processes, image)
    try:
        warm = await bench.machine("warm")  # makes the template
        await bench.end(warm)
        await runtime.templates.settled()
        return [
            *await starts(bench, runs), *await ratios(bench, root, max(1, runs // 2)), *await many(bench, count),
        ]  # fmt: skip
    finally:
        for opened in processes.opened():
            await processes.close(opened.key)
        supervising.cancel()
        await asyncio.gather(supervising, return_exceptions=True)
        await runtime.close()


@click.command()
@click.option("--json", "output", type=click.Path(path_type=Path))
@click.option("--runs", default=9, show_default=True)
@click.option("--count", default=100, show_default=True, help="Volumes of a node.")
@click.option("--guest", type=click.Path(path_type=Path), default=Path("build/guest"), show_default=True)
def main(output: Path | None, runs: int, count: int, guest: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hn-bench-") as directory:
        os.chmod(directory, 0o711)
        figures = asyncio.run(measure(Path(directory), runs, count, guest.resolve()))
    report(figures, output)


if __name__ == "__main__":
    main()
