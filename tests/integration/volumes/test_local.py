"""Local volumes: the interface suite, and the files themselves."""

import os
from pathlib import Path

import pytest

from hypernetes.providers.volume.base import (
    Exhausted,
    Handle,
    Owner,
    Refused,
    Source,
    Topology,
    Unavailable,
    VolumeProvider,
)
from hypernetes.providers.volume.local import LocalFiles, LocalVolumes
from hypernetes.providers.volume.local.files import extents

from .localnodes import LocalNodes
from .volumesuite import MIB, VolumeSuite

UID = "3b0c0f6e-0000-4000-8000-000000000001"
OTHER = "3b0c0f6e-0000-4000-8000-000000000002"


class TestLocal(VolumeSuite):
    BOUND_TO_NODE = True

    @pytest.fixture
    def nodes(self, tmp_path: Path) -> LocalNodes:
        return LocalNodes(tmp_path, self.NODE, self.OTHER_NODE)

    @pytest.fixture
    async def provider(self, nodes: LocalNodes) -> VolumeProvider:
        return LocalVolumes(nodes)

    async def test_without_a_node_there_is_no_file(self, provider: VolumeProvider, owner: Owner) -> None:
        with pytest.raises(Refused, match="WaitForFirstConsumer"):
            await provider.create(self.request(owner, topology=Topology()))

    async def test_what_has_no_room_is_tried_elsewhere(
        self, provider: VolumeProvider, nodes: LocalNodes, owner: Owner
    ) -> None:
        request = self.request(owner, size_bytes=1 << 50)
        with pytest.raises(Exhausted):
            await provider.create(request)
        assert not nodes.objects

    async def test_limits_of_the_class_come_with_the_attachment(self, provider: VolumeProvider, owner: Owner) -> None:
        request = self.request(owner, parameters={"readIOPS": "100"}, mutable_parameters={"writeIOPS": "50"})
        volume = Handle(owner, (await provider.create(request)).id)
        told = await provider.attach(volume, self.NODE, read_only=False)
        assert (told["readIOPS"], told["writeIOPS"]) == ("100", "50")
        with pytest.raises(Refused, match="readIOPS"):
            await provider.create(self.request(owner, parameters={"readIOPS": "many"}))

    async def test_a_clone_is_what_its_source_was(
        self, provider: VolumeProvider, nodes: LocalNodes, owner: Owner, tmp_path: Path
    ) -> None:
        first = await provider.create(self.request(owner))
        uid = nodes.objects[owner.tenant, first.id].metadata.uid
        image = tmp_path / self.NODE / f"{uid}.img"
        with image.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"kept")
        copy = await provider.create(self.request(owner, size_bytes=2 * self.SIZE, source=Source(volume=first.id)))
        copied = tmp_path / self.NODE / f"{nodes.objects[owner.tenant, copy.id].metadata.uid}.img"
        assert copied.stat().st_size == 2 * self.SIZE
        with copied.open("rb") as file:
            file.seek(5 * MIB)
            assert file.read(5) == b"kept\0"


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "volumes")


async def test_a_file_is_sparse_and_root_s_alone(files: LocalFiles, tmp_path: Path) -> None:
    assert await files.make(UID, 64 * MIB, None) == 64 * MIB
    assert await files.make(UID, 128 * MIB, None) == 64 * MIB  # it is there already
    found = (tmp_path / "volumes" / f"{UID}.img").stat()
    assert (found.st_mode & 0o777, found.st_blocks) == (0o600, 0)
    assert (tmp_path / "volumes").stat().st_mode & 0o777 == 0o700


async def test_a_copy_has_the_data_and_the_holes(files: LocalFiles, tmp_path: Path) -> None:
    await files.make(UID, 64 * MIB, None)
    image = tmp_path / "volumes" / f"{UID}.img"
    with image.open("r+b") as file:
        for at in (0, 17 * MIB, 63 * MIB):
            file.seek(at)
            file.write(os.urandom(100_000))
    assert await files.make(OTHER, None, UID) == 64 * MIB
    copied = tmp_path / "volumes" / f"{OTHER}.img"
    assert copied.read_bytes() == image.read_bytes()
    assert copied.stat().st_blocks * 512 < 2 * MIB


async def test_space_that_is_promised_is_not_given_twice(files: LocalFiles) -> None:
    before = await files.free_bytes()
    await files.make(UID, before // 2 // MIB * MIB, None)
    assert await files.free_bytes() < before * 0.6
    with pytest.raises(Exhausted):
        await files.make(OTHER, before * 3 // 4, None)
    with pytest.raises(Exhausted):
        await files.grow(UID, before * 2)
    assert await files.kept() == {UID}


async def test_what_was_left_half_made_is_made_again(files: LocalFiles, tmp_path: Path) -> None:
    await files.make(UID, MIB, None)
    (tmp_path / "volumes" / f"{OTHER}.new").write_bytes(b"half")
    assert await files.kept() == {UID}
    assert await files.make(OTHER, None, UID) == MIB
    await files.remove(OTHER)
    await files.remove(OTHER)
    assert await files.size(OTHER) is None


@pytest.mark.parametrize("uid", ["", "..", "a/b", ".hidden", "x" * 65, "a\0b"])
async def test_no_name_leads_out_of_the_directory(files: LocalFiles, uid: str) -> None:
    with pytest.raises(Refused):
        await files.make(uid, MIB, None)
    with pytest.raises(Refused):
        await files.open(Handle(Owner("acme", "u"), "v"), {"uid": uid}, read_only=False)


async def test_what_this_node_has_not_is_not_opened(files: LocalFiles) -> None:
    with pytest.raises(Unavailable):
        await files.open(Handle(Owner("acme", "u"), "v"), {"uid": UID}, read_only=False)


def test_an_empty_file_has_no_extents(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        file.truncate(MIB)
        assert list(extents(file.fileno(), MIB)) == []
