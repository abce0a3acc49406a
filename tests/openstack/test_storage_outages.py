"""Ceph fails while a volume is written: I/O waits and goes on, and what was acknowledged is there."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from hypernetes.providers.volume.base import Handle, Refused, Unavailable, VolumeRequest
from hypernetes.providers.volume.cinder import CinderNodeVolumes, CinderVolumeProvider
from hypernetes.providers.volume.cinder import ceph as commands
from hypernetes.providers.volume.cinder.volumes import GIB
from tests.openstack import volumes
from tests.openstack.cephs import POOL, Ceph
from tests.openstack.cinders import Cinder
from tests.openstack.daemons import until
from tests.openstack.leftovers import Leftovers
from tests.openstack.storagedaemons import StorageDaemon
from tests.openstack.writers import BLOCK, Writer

_STILL_SECONDS = 3.0  # without an acknowledgement, of a writer that has hundreds a second: it waits


@dataclass
class Attached:
    provider: CinderVolumeProvider
    volume: Handle
    metadata: dict[str, str]
    node: CinderNodeVolumes
    process: StorageDaemon

    @property
    def image(self) -> str:
        return f"{self.metadata['pool']}/{self.metadata['image']}"

    def writer(self) -> Writer:
        writer = Writer(self.process.client(600), b"own ")
        writer.start()
        writer.written(100)
        return writer

    def intact(self, ceph: Ceph, writer: Writer, content: Path) -> None:
        writer.written(2 * writer.blocks, 120)
        writer.stop()
        assert writer.error is None
        ceph.rbd("export", self.image, str(content))
        with content.open("rb") as read:
            assert read.read(writer.blocks * BLOCK) == b"".join(writer.log[block] for block in range(writer.blocks))


@pytest.fixture
async def attached(cinder: Cinder, tmp_path: Path, leftovers: Leftovers) -> AsyncIterator[Attached]:
    provider, owner = volumes.control(cinder, tmp_path), volumes.owner(cinder, "outages")
    volume = Handle(owner, (await provider.create(VolumeRequest(f"pvc-{uuid4()}", owner, GIB))).id)
    metadata = await provider.attach(volume, "n1", read_only=False)
    process = StorageDaemon(tmp_path, "n1")
    try:
        await process.start()
        node = volumes.node(cinder, tmp_path, "n1")
        await process.open(node, volume, metadata)
        yield Attached(provider, volume, metadata, node, process)
    finally:
        process.kill()
        await provider.close()


def waits(writer: Writer) -> None:
    """Returns when it has waited for a while."""
    since, seen = time.monotonic(), writer.acknowledged
    deadline = since + 120
    while time.monotonic() - since < _STILL_SECONDS:
        assert time.monotonic() < deadline, "it goes on writing"
        assert writer.error is None
        if writer.acknowledged != seen:
            since, seen = time.monotonic(), writer.acknowledged
        time.sleep(0.05)


async def test_without_quorum_and_osds_writes_wait_and_nothing_is_lost(
    ceph: Ceph, attached: Attached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await asyncio.to_thread(attached.writer)
    ceph.halt("mon")
    ceph.halt("osd")
    try:
        await asyncio.to_thread(waits, writer)
        monkeypatch.setattr(commands, "CALL_SECONDS", 2.0)
        with pytest.raises(Unavailable) as refusal:
            await attached.provider.fence(attached.volume, "n1")
        assert refusal.value.reason == "CephUnavailable"
    finally:
        ceph.run("mon")
        ceph.run("osd")
    await asyncio.to_thread(attached.intact, ceph, writer, tmp_path / "content")
    until(ceph.healthy, "Ceph is well again")


async def test_a_storage_process_that_crashes_goes_on_where_it_was(
    ceph: Ceph, attached: Attached, tmp_path: Path
) -> None:
    """And at once: Ceph holds the lock of a client that is gone for half a minute, unless it is blocked."""
    writer = await asyncio.to_thread(attached.writer)
    attached.process.kill(signal.SIGKILL)
    writer.wait()
    begun = time.monotonic()
    await attached.process.start()
    await attached.process.open(attached.node, attached.volume, attached.metadata)
    with attached.process.client() as client:
        for block, data in writer.log.items():
            assert client.read(block * BLOCK, BLOCK) == data or block == writer.acknowledged % writer.blocks
        await asyncio.to_thread(client.write, 0, b"after the crash".ljust(BLOCK, b"."))
    assert time.monotonic() - begun < 20


async def test_in_a_full_pool_writes_wait_until_there_is_room(ceph: Ceph, attached: Attached, tmp_path: Path) -> None:
    writer = await asyncio.to_thread(attached.writer)
    ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", "1")
    try:
        await asyncio.to_thread(waits, writer)
    finally:
        ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", "0")
    await asyncio.to_thread(attached.intact, ceph, writer, tmp_path / "content")


async def test_a_volume_that_was_deleted_behind_our_back_is_let_go(
    cinder: Cinder, ceph: Ceph, attached: Attached
) -> None:
    provider, volume = attached.provider, attached.volume
    attached.process.kill()
    cinder.end_attachments(volume.id)
    cinder.rest().delete(f"/volumes/{volume.id}")
    until(lambda: volume.id not in {each["id"] for each in cinder.all("volumes")}, "a volume's end")
    await provider.fence(volume, "n1")
    await provider.detach(volume, "n1")
    await provider.delete(volume)
    with pytest.raises(Refused) as refusal:
        await provider.attach(volume, "n1", read_only=False)
    assert refusal.value.reason == "NotFound"


async def test_an_image_that_was_deleted_in_ceph_says_so_and_its_volume_can_go(ceph: Ceph, attached: Attached) -> None:
    provider, volume = attached.provider, attached.volume
    attached.process.kill()
    until(lambda: "watcher=" not in ceph.rbd("status", attached.image), "the end of a watch", seconds=90)
    ceph.rbd("rm", attached.image)
    with pytest.raises(Unavailable) as refusal:
        await provider.attach(volume, "n1", read_only=False)
    assert refusal.value.reason == "VolumeGone"
    await provider.detach(volume, "n1")
    await provider.delete(volume)
