"""A node whose disk is full: pods that run go on, nothing is torn, and what isn't needed goes."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hypernetes.nodeagent.images import garbage
from hypernetes.nodeagent.images.manifests import ImageConfig
from hypernetes.nodeagent.images.store import Image, ImageStore
from hypernetes.nodeagent.logs import LogOptions, PodLogs, read
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.podworker import PodWorker
from hypernetes.nodeagent.runtime.base import Output
from tests.unit.nodeagent.fakes import TENANT, World

DISK_BYTES = 512 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> Path:
    """Takes all the space there is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_pods_run_and_end_on_a_full_disk_and_their_records_are_kept_again_once_there_is_space(disk: Path) -> None:
    world = World(disk)
    ballast = fill(disk)
    pod = world.pod(restartPolicy="Never")
    worker = PodWorker(world.parts, pod, PodRecord.of(pod, TENANT))
    task = asyncio.create_task(worker.run())
    try:
        await until(lambda: world.stored().status.phase == "Running")
        assert list(world.records.load()) == []
        world.machine().say("main.0", b"into the void\n", 1)
        await until(lambda: world.machine().acknowledged == 1)
        ballast.unlink()
        world.machine().say("main.0", b"on record\n", 2)
        world.machine().exit("main.0", 0)
        await until(lambda: world.stored().status.phase == "Succeeded")
        assert [record.uid for record in world.records.load()] == ["uid-app"]
        said = list(read(worker.logs.path("main.0"), LogOptions()))
        assert [entry.text for entry in said] == [b"on record"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_log_entry_that_does_not_fit_spoils_no_other(disk: Path) -> None:
    logs = PodLogs(disk / "logs")
    logs.write(Output("c.0", "stdout", 1.0, b"first\n", 1))
    ballast = fill(disk)
    with pytest.raises(OSError, match="No space left"):
        logs.write(Output("c.0", "stdout", 2.0, b"x" * 10_000 + b"\n", 2))
    ballast.unlink()
    logs.write(Output("c.0", "stdout", 3.0, b"third\n", 3))
    logs.close()
    assert [entry.text for entry in read(logs.path("c.0"), LogOptions())] == [b"first", b"third"]


async def test_unused_images_go_when_not_a_byte_is_left(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)
    store = ImageStore(disk / "images")
    store.open()
    for letter in "ab":
        squashfs = disk / "made"
        squashfs.write_bytes(bytes(100_000))
        digest = f"sha256:{letter * 64}"
        store.add(squashfs, Image(digest, squashfs, ImageConfig(), 0, frozenset({"r/x"})))
        store.name(TENANT, f"r/{letter}", digest, digest)
    fill(disk)
    errors: list[Any] = []
    try:
        await garbage.remove_unused(store, {f"sha256:{'b' * 64}"})
    except OSError as error:
        errors.append(error)
    assert [image.digest[7] for image in store.images()] == ["b"]
    assert not list((disk / "images").glob(f"sha256-{'a' * 64}"))
    assert errors == [], "what was freed is enough for the names"
    again = ImageStore(disk / "images")
    again.open()
    assert again.named(TENANT, "r/a") is None
    assert again.named(TENANT, "r/b") is not None
