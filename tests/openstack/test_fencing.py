"""A node that is cut off while it writes: after its volume has gone to another, nothing of it is written any more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from hypernetes.providers.volume.base import Handle, Unavailable, VolumeRequest
from hypernetes.providers.volume.cinder import CinderVolumeProvider
from tests.openstack import volumes
from tests.openstack.cephs import Ceph
from tests.openstack.cinders import Cinder
from tests.openstack.leftovers import Leftovers
from tests.openstack.storagedaemons import StorageDaemon
from tests.openstack.storagenetworks import StorageNetwork
from tests.openstack.writers import BLOCK, Writer


@pytest.fixture
async def provider(cinder: Cinder, tmp_path: Path, leftovers: Leftovers) -> AsyncIterator[CinderVolumeProvider]:
    provider = volumes.control(cinder, tmp_path)
    yield provider
    await provider.close()


@pytest.fixture
async def volume(cinder: Cinder, provider: CinderVolumeProvider) -> Handle:
    owner = volumes.owner(cinder, "fencing")
    return Handle(owner, (await provider.create(VolumeRequest(f"pvc-{uuid4()}", owner, 1 << 30))).id)


async def test_a_node_that_is_cut_off_writes_nothing_after_the_failover(
    cinder: Cinder, ceph: Ceph, storage_network: StorageNetwork, provider: CinderVolumeProvider, volume: Handle,
    tmp_path: Path,
) -> None:  # fmt: skip
    lost, new = storage_network.node(), storage_network.node()
    old_process, new_process = StorageDaemon(tmp_path, "old", lost), StorageDaemon(tmp_path, "new", new)
    try:
        await old_process.start()
        metadata = await provider.attach(volume, lost.name, read_only=False)
        await old_process.open(volumes.node(cinder, tmp_path, lost.name), volume, metadata)
        old = Writer(old_process.client(600), b"old ")
        old.start()
        await asyncio.to_thread(old.written, 100)
        lost.cut()

        await provider.fence(volume, lost.name)
        await provider.detach(volume, lost.name)
        metadata = await provider.attach(volume, new.name, read_only=False)
        await new_process.start()
        await new_process.open(volumes.node(cinder, tmp_path, new.name), volume, metadata)
        own = Writer(new_process.client(), b"new ")
        own.start()
        await asyncio.to_thread(own.written, own.blocks)

        acknowledged = old.acknowledged
        lost.heal()  # with a write under way, which comes now
        await asyncio.to_thread(old.wait)
        assert old.error is not None
        # One that was done before the cut, and whose answer comes now, was there before the new owner's.
        assert old.acknowledged <= acknowledged + 1
        await asyncio.to_thread(own.written, own.blocks)
        await asyncio.to_thread(own.stop)
        assert own.error is None
    finally:
        old_process.kill()
        new_process.kill()
    content = tmp_path / "content"
    ceph.rbd("export", f"{metadata['pool']}/{metadata['image']}", str(content))
    logged = b"".join(own.log[block] for block in range(own.blocks))
    with content.open("rb") as read:
        assert read.read(own.blocks * BLOCK) == logged
        assert not any(read.read(1 << 20))


async def test_who_opens_after_the_fence_gets_nothing(
    cinder: Cinder, storage_network: StorageNetwork, provider: CinderVolumeProvider, volume: Handle, tmp_path: Path
) -> None:
    """A node that was away between its attachment and its opening: nobody knew its client when it was fenced."""
    late = storage_network.node()
    process = StorageDaemon(tmp_path, "late", late)
    metadata = await provider.attach(volume, late.name, read_only=False)
    await provider.fence(volume, late.name)
    try:
        await process.start()
        with pytest.raises(Unavailable) as refusal:
            await process.open(volumes.node(cinder, tmp_path, late.name), volume, metadata)
        assert refusal.value.reason == "AttachmentEnded"
        assert not await process.exports()
    finally:
        process.kill()


async def test_an_attachment_that_somebody_took_away_is_fenced_by_the_next(
    cinder: Cinder, ceph: Ceph, storage_network: StorageNetwork, provider: CinderVolumeProvider, volume: Handle,
    tmp_path: Path,
) -> None:  # fmt: skip
    """An administrator's `openstack volume attachment delete` asks no node."""
    process = StorageDaemon(tmp_path, "kept", storage_network.node())
    try:
        await process.start()
        metadata = await provider.attach(volume, "kept", read_only=False)
        await process.open(volumes.node(cinder, tmp_path, "kept"), volume, metadata)
        writer = Writer(process.client(), b"kept ")
        writer.start()
        await asyncio.to_thread(writer.written, 10)
        cinder.end_attachment(metadata["attachment"])
        assert metadata["attachment"] != (await provider.attach(volume, "next", read_only=False))["attachment"]
        await asyncio.to_thread(writer.wait, 60)
        assert writer.error is not None
    finally:
        process.kill()
