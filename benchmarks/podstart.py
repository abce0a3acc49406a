"""How long a pod's machine takes to start, cold and as a clone of a template, step by step, without a control plane.

python -m benchmarks.podstart [--json FILE] [--runs N] [--accel auto|kvm|tcg] [--guest build/guest]
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click

from benchmarks.report import Figure, report
from hypernetes.nodeagent import balancer, sizing
from hypernetes.nodeagent.runtime.base import (
    ByteStream,
    ContainerSpec,
    GuestConfig,
    GuestNetwork,
    MachineError,
    MachineSpec,
    Nic,
)
from hypernetes.nodeagent.runtime.machine import QemuMachine
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime, open_runtime
from hypernetes.nodeagent.runtime.taps import open_idle
from hypernetes.nodeagent.runtime.template import Snapshot, TemplateKey, Templates

GOAL_MILLISECONDS = 4000.0  # kubectl create to Running under TCG, services in force: this is the machine's share of it
STEPS = ("machine answers", "image attached", "services in force", "container runs")
CLUSTER_ID = "bench0"
NETWORK = GuestNetwork("10.0.0.5/24", "10.0.0.1", 1450, "10.254.0.0/16", "10.254.0.2", "10.254.0.1")
MAC = "02:00:00:00:00:05"
SERVICES = 5  # of the tenant, with two endpoints each


class NoServices:
    async def resolve(self, question: bytes, *, udp: bool) -> bytes:
        return question

    async def connect(self, address: str, port: int) -> ByteStream:
        raise OSError("there is no API here")


def make_image(directory: Path) -> Path:
    tree, image = directory / "tree", directory / "image.squashfs"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin" / "sleep")
    command = ["mksquashfs", str(tree), str(image), "-comp", "lz4", "-all-root", "-noappend", "-quiet", "-no-progress"]
    subprocess.run(command, check=True, capture_output=True)
    return image


async def start_one(runtime: QemuRuntime, image: Path, name: str) -> list[float]:
    """Seconds from create() to the end of each of STEPS, and the idle pod's own memory in bytes."""
    tap = open_idle(CLUSTER_ID, offloads=True)
    started, measured = time.monotonic(), []
    spec = MachineSpec(name, 192 << 20, 1, Nic(tap, MAC), sizing.DEFAULT_SCRATCH_BYTES, images={"image": image})
    try:
        machine = await runtime.create(spec, NoServices())
    finally:
        os.close(tap)
    try:
        await machine.configure(GuestConfig("pod", NETWORK))
        measured.append(time.monotonic() - started)
        await machine.attach_disk("image", image, read_only=True)
        measured.append(time.monotonic() - started)
        await set_services(machine)
        measured.append(time.monotonic() - started)
        await machine.start_container(ContainerSpec("c.0", "image", ["/bin/sleep", "1000"], {}))
        measured.append(time.monotonic() - started)
        measured.append(private_bytes(machine.pid))
        return measured
    finally:
        await machine.shutdown(5)


async def set_services(machine: QemuMachine) -> None:
    balanced = {f"10.254.1.{n}:80": (f"10.0.0.{n}:8080", f"10.0.1.{n}:8080") for n in range(SERVICES)}
    known = ", ".join(key.replace(":", " . ") for key in balanced)
    rules = f"""table ip hn {{ chain services {{ type nat hook prerouting priority -100;
        ip daddr . tcp dport {{ {known} }} redirect to :{balancer.PORT}; }}; }}\n"""
    made = balancer.IDLE.with_services(balanced)
    commands = made.commands_from(balancer.IDLE) if machine.services_idle else None
    await machine.set_services(made.configuration(), {balancer.MAP_NAME: made.table()}, rules.encode(), commands)


def private_bytes(pid: int) -> int:
    """Memory that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def no_template(key: TemplateKey) -> Snapshot:
    raise MachineError("BootFailed", "the cold ones of this benchmark boot cold")


async def measure(root: Path, image: Path, runs: int, accel: str, guest: Path) -> tuple[str, dict[str, list[float]]]:
    """Medians of each kind of start; the kinds take turns, so that a busy host slows them alike."""
    runtime = await open_runtime(root / "node", guest, CLUSTER_ID, accel, run_directory=root / "run")
    kinds = {"cold boot": Templates(no_template), "clone": runtime.templates}
    try:
        await start_one(runtime, image, "first")
        await kinds["clone"].settled()
        series: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
        for number in range(runs):
            for kind, runtime.templates in kinds.items():
                series[kind].append(await start_one(runtime, image, f"pod{number}"))
    finally:
        await kinds["clone"].close()
        await runtime.close()
    medians = {kind: [statistics.median(column) for column in zip(*rows, strict=True)] for kind, rows in series.items()}
    return runtime.accelerator, medians


@click.command()
@click.option("--json", "output", type=click.Path(path_type=Path))
@click.option("--runs", default=5, show_default=True)
@click.option("--accel", default="auto", show_default=True)
@click.option("--guest", default=Path("build/guest"), type=click.Path(path_type=Path), show_default=True)
def main(output: Path | None, runs: int, accel: str, guest: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hn-bench-") as directory:
        root = Path(directory)
        root.chmod(0o711)  # machines' uids reach their sockets below
        accelerator, medians = asyncio.run(measure(root, make_image(root), runs, accel, guest))
    figures = []
    for kind, values in medians.items():
        for step, seconds in zip(STEPS, values[:-1], strict=True):
            goal = GOAL_MILLISECONDS if step == STEPS[-1] else None
            name = f"{kind}, {accelerator}: create to {step}"
            figures.append(Figure(name, seconds * 1000, "ms", goal, lower_is_better=True))
        figures.append(Figure(f"{kind}, {accelerator}: an idle pod's own memory", values[-1] / 2**20, "MiB"))
    report(figures, output)


if __name__ == "__main__":
    main()
