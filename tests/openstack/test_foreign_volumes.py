"""A volume that others made and wrote is used and given back: nothing of it changes but what was written."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from hypernetes.providers.volume.base import Handle, Refused, SnapshotRequest, Source, VolumeRequest
from hypernetes.providers.volume.cinder import CinderVolumeProvider
from hypernetes.providers.volume.cinder.volumes import GIB
from tests.openstack import volumes
from tests.openstack.cephs import Ceph
from tests.openstack.cinders import Cinder
from tests.openstack.daemons import run, until
from tests.openstack.leftovers import Leftovers
from tests.openstack.storagedaemons import StorageDaemon
from tests.openstack.storagenetworks import StorageNetwork


@pytest.fixture
async def provider(cinder: Cinder, tmp_path: Path, leftovers: Leftovers) -> AsyncIterator[CinderVolumeProvider]:
    provider = volumes.control(cinder, tmp_path)
    yield provider
    await provider.close()


def foreign(cinder: Cinder, ceph: Ceph, project: str, user: str) -> str:
    """Made with its project's own hands, and written by a QEMU that is none of ours."""
    asked = {"volume": {"name": "theirs", "size": 1, "metadata": {"theirs": "yes"}}}
    rest = cinder.rest(project, user, user)
    id: str = rest.post("/volumes", json=asked).json()["volume"]["id"]
    until(lambda: rest.get(f"/volumes/{id}").json()["volume"]["status"] == "available", "a foreign volume")
    run(
        [
            "qemu-io",
            "-f",
            "raw",
            "-c",
            "write -P 0x54 0 1M",
            f"rbd:volumes/volume-{id}:id=cinder:conf={ceph.configuration}",
        ]
    )
    return id


async def test_what_others_wrote_is_read_and_given_back(
    cinder: Cinder, ceph: Ceph, storage_network: StorageNetwork, provider: CinderVolumeProvider, tmp_path: Path,
    leftovers: Leftovers,
) -> None:  # fmt: skip
    cinder.keystone.project("theirs", theo="member")
    owner = volumes.owner(cinder, "theirs")
    id = await asyncio.to_thread(foreign, cinder, ceph, "theirs", "theo")
    volume, before, blocked = Handle(owner, id), cinder.volume(id), ceph.blocklisted()
    assert (await provider.adopt(volume)).size_bytes == GIB

    process = StorageDaemon(tmp_path, "user", storage_network.node())
    node = volumes.node(cinder, tmp_path, "user")
    try:
        await process.start()
        metadata = await provider.attach(volume, "user", read_only=False)
        await process.open(node, volume, metadata)
        with process.client() as client:
            assert await asyncio.to_thread(client.read, 0, 1 << 20) == b"T" * (1 << 20)
            await asyncio.to_thread(client.write, 4096, b"H" * 4096)
            await asyncio.to_thread(client.flush)
        assert cinder.volume(id)["status"] == "in-use"
    finally:
        process.kill()
    await node.close(volume, metadata)
    await provider.detach(volume, "user")

    until(lambda: cinder.volume(id)["status"] == "available", "a volume that was given back")
    unlike = {"updated_at", "attachments"}
    assert {**cinder.volume(id), **dict.fromkeys(unlike)} == {**before, **dict.fromkeys(unlike)}
    assert json.loads(ceph.rbd("image-meta", "list", f"volumes/volume-{id}", "--format", "json") or "{}") == {}
    content = tmp_path / "content"
    ceph.rbd("export", f"volumes/volume-{id}", str(content))
    with content.open("rb") as read:
        assert read.read(12288) == b"T" * 4096 + b"H" * 4096 + b"T" * 4096
    with pytest.raises(Refused) as refusal:
        await provider.delete(volume)
    assert refusal.value.reason == "NotOurs"
    assert leftovers.new("volumes") == {id}
    assert not leftovers.new("attachments")
    assert ceph.blocklisted() == blocked


async def test_after_all_that_is_done_only_what_others_made_is_there(
    cinder: Cinder, ceph: Ceph, provider: CinderVolumeProvider
) -> None:
    cinder.keystone.project("ours-and-theirs", theo3="member")
    owner = volumes.owner(cinder, "ours-and-theirs")
    await asyncio.to_thread(foreign, cinder, ceph, "ours-and-theirs", "theo3")

    def there() -> list[object]:
        listed = [{each["id"] for each in cinder.all(kind)} for kind in ("volumes", "snapshots", "attachments")]
        return [*listed, ceph.images(), ceph.rbd("trash", "ls", "--all", "volumes"), ceph.blocklisted()]

    before = there()
    request = VolumeRequest(f"pvc-{uuid4()}", owner, GIB)
    volume = Handle(owner, (await provider.create(request)).id)
    await provider.attach(volume, "n1", read_only=False)
    snapshot = await provider.snapshot(SnapshotRequest(f"snapshot-{uuid4()}", volume))
    made = [volume]
    for source in (Source(snapshot=snapshot.id), Source(volume=volume.id)):
        copy = await provider.create(replace(request, name=f"pvc-{uuid4()}", source=source))
        made.append(Handle(owner, copy.id))
    await provider.detach(volume, "n1")
    await provider.delete_snapshot(Handle(owner, snapshot.id))
    for each in reversed(made):
        await provider.delete(each)
    assert there() == before


async def test_a_volume_that_a_foreign_machine_has_is_not_taken(
    cinder: Cinder, ceph: Ceph, provider: CinderVolumeProvider
) -> None:
    cinder.keystone.project("theirs-too", theo2="member")
    rest = cinder.rest("theirs-too", "theo2", "theo2")
    id = rest.post("/volumes", json={"volume": {"name": "theirs", "size": 1}}).json()["volume"]["id"]
    until(lambda: rest.get(f"/volumes/{id}").json()["volume"]["status"] == "available", "a foreign volume")
    server = {"volume_uuid": id, "instance_uuid": "6b0e7a9e-0000-4000-8000-000000000001"}
    attachment = rest.post("/attachments", json={"attachment": {**server, "connector": {"host": "nova-1"}}}).json()
    volume = Handle(volumes.owner(cinder, "theirs-too"), id)
    with pytest.raises(Refused) as refusal:
        await provider.attach(volume, "n1", read_only=False)
    assert refusal.value.reason == "InUse"
    await provider.detach(volume, "n1")
    assert [each["id"] for each in cinder.all("attachments")] == [attachment["attachment"]["id"]]
