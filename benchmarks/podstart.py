"""How long a pod's machine takes to start, step by step, without a control plane.

python -m benchmarks.podstart [--json FILE] [--runs N] [--accel auto|kvm|tcg] [--guest build/guest]
"""

import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click

from benchmarks.report import Figure, report
from hypernetes.nodeagent.runtime.base import ByteStream, ContainerSpec, GuestConfig, MachineSpec
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime, open_runtime

GOAL_MILLISECONDS = 4000.0  # kubectl create to Running under TCG, services in force: this is the machine's share of it
STEPS = ("machine answers", "image attached", "services in force", "container runs")
HAPROXY = b"""defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend services
  bind 0.0.0.0:15001
"""


class NoServices:
    async def resolve(self, question: bytes) -> bytes:
        return question

    async def connect(self, address: str, port: int) -> ByteStream:
        raise OSError("there is no API here")


def make_image(directory: Path) -> Path:
    tree, image = directory / "tree", directory / "image.squashfs"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin" / "sleep")
    command = ["mksquashfs", tree, image, "-comp", "lz4", "-all-root", "-noappend", "-quiet", "-no-progress"]
    subprocess.run(command, check=True, capture_output=True)
    return image


async def start_one(runtime: QemuRuntime, image: Path, name: str) -> list[float]:
    """Seconds from create() to the end of each of STEPS."""
    started, times = time.monotonic(), []
    machine = await runtime.create(MachineSpec(name, 128 << 20, 1, None, 1 << 30), NoServices())
    try:
        await machine.configure(GuestConfig("pod", None))
        times.append(time.monotonic() - started)
        await machine.attach_disk("image", image, read_only=True)
        times.append(time.monotonic() - started)
        await machine.set_services(HAPROXY, {}, b"")
        times.append(time.monotonic() - started)
        await machine.start_container(ContainerSpec("c.0", "image", ["/bin/sleep", "1000"], {}))
        times.append(time.monotonic() - started)
        return times
    finally:
        await machine.shutdown(5)


async def measure(root: Path, image: Path, runs: int, accel: str, guest: Path) -> tuple[str, list[float]]:
    runtime = await open_runtime(root / "node", guest, "bench0", accel, run_directory=root / "run")
    series = [await start_one(runtime, image, f"pod{number}") for number in range(runs)]
    await runtime.close()
    return runtime.accelerator, [statistics.median(column) for column in zip(*series, strict=True)]


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
    for step, seconds in zip(STEPS, medians, strict=True):
        goal = GOAL_MILLISECONDS if step == STEPS[-1] else None
        name = f"cold boot, {accelerator}: create to {step}"
        figures.append(Figure(name, seconds * 1000, "ms", goal, lower_is_better=True))
    report(figures, output)


if __name__ == "__main__":
    main()
