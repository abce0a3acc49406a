"""Disks of a real QEMU that runs no guest: plugging and unplugging may be cut off anywhere, and be done again."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hypernetes.nodeagent.runtime import disks, qemu
from hypernetes.nodeagent.runtime.qmp import Monitor

LUN = 5


@pytest.fixture
async def monitor(tmp_path: Path) -> AsyncIterator[Monitor]:
    socket = tmp_path / "m"
    argv = [
        "qemu-system-x86_64", "-M", "microvm", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16",
        "-device", "virtio-scsi-device,id=scsi0", "-qmp", f"unix:{socket},server=on,wait=off",
    ]  # fmt: skip
    with subprocess.Popen(argv) as process:
        try:
            yield await connected(socket)
        finally:
            process.kill()


async def connected(socket: Path) -> Monitor:
    async with asyncio.timeout(20):
        while not socket.exists():
            await asyncio.sleep(0.01)
    return await Monitor.connect(socket)


@pytest.fixture
def export(tmp_path: Path) -> Iterator[Path]:
    socket, image = tmp_path / "n", tmp_path / "image"
    image.write_bytes(b"")
    image.open("r+b").truncate(1 << 20)
    argv = ["qemu-nbd", "--format=raw", "--persistent", f"--socket={socket}", "--export-name=volume", str(image)]
    with subprocess.Popen(argv) as process:
        try:
            yield socket
        finally:
            process.kill()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(4096))
    return path


class Cut:
    """Ends the task, or loses the answer, after the nth command has been carried out."""

    def __init__(self, monitor: Monitor, after: int) -> None:
        self._monitor, self._left = monitor, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._monitor, name)

    async def run(self, *args: Any, **more: Any) -> Any:
        answer = await self._monitor.run(*args, **more)
        self._count()
        return answer

    async def wait_event(self, *args: Any, **more: Any) -> None:
        await self._monitor.wait_event(*args, **more)
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise asyncio.CancelledError


async def cut(monitor: Monitor, after: int, call: Any) -> bool:
    """Whether it was cut off."""
    with contextlib.suppress(asyncio.CancelledError):
        await call(Cut(monitor, after))
        return False
    return True


async def plugged(monitor: Monitor) -> tuple[list[str], list[str]]:
    nodes = await monitor.run("query-named-block-nodes", {"flat": True})
    devices = await monitor.run("qom-list", {"path": "/machine/peripheral"})
    return (
        [each["node-name"] for each in nodes if each["node-name"].startswith("lun")],
        [each["name"] for each in devices if each["name"].startswith("disk-")],
    )


async def test_an_unplugging_that_was_cut_off_is_finished_by_the_next(monitor: Monitor, file: Path) -> None:
    step, was_cut = 0, True
    while was_cut:
        step += 1
        fd_set = await disks.plug(monitor, file, LUN, read_only=False)
        assert await plugged(monitor) == (["lun5"], ["disk-lun5"])
        was_cut = await cut(monitor, step, lambda part, fd_set=fd_set: disks.unplug(part, LUN, fd_set))
        await disks.unplug(monitor, LUN, fd_set)
        assert await plugged(monitor) == ([], [])
        async with asyncio.timeout(5):
            while await monitor.run("query-fdsets"):  # a file is closed a moment after its node is gone
                await asyncio.sleep(0.01)
    assert step > 4


async def test_a_plugging_that_was_cut_off_is_begun_anew(monitor: Monitor, export: Path) -> None:
    async with asyncio.timeout(20):
        while not export.exists():
            await asyncio.sleep(0.01)
    step, was_cut = 0, True
    while was_cut:
        step += 1
        was_cut = await cut(
            monitor, step, lambda part: disks.plug_export(part, export, "volume", LUN, read_only=False)
        )  # fmt: skip
        if was_cut:
            await disks.plug_export(monitor, export, "volume", LUN, read_only=False)
        assert await plugged(monitor) == (["lun5"], ["disk-lun5"])
        await disks.unplug(monitor, LUN, None)
    assert step > 2


async def test_what_an_agent_that_died_had_plugged_is_no_obstacle(monitor: Monitor, export: Path) -> None:
    """Before it noted the disk: the next one takes the same LUN."""
    async with asyncio.timeout(20):
        while not export.exists():
            await asyncio.sleep(0.01)
    block, _ = qemu.export_arguments(disks.node_of(LUN), str(export), "volume", LUN, read_only=False)
    await monitor.run("blockdev-add", block)
    await disks.plug_export(monitor, export, "volume", LUN, read_only=False)
    await disks.plug_export(monitor, export, "volume", LUN, read_only=False)
    assert await plugged(monitor) == (["lun5"], ["disk-lun5"])
