"""What every volume provider must do. A test module derives from `VolumeSuite` and says how to make a provider."""

import uuid

import pytest

from hypernetes.providers.volume.base import (
    Handle,
    Owner,
    Refused,
    SnapshotRequest,
    Source,
    Topology,
    Unavailable,
    VolumeProvider,
    VolumeRequest,
)

MIB = 1 << 20
SIZE = 64 * MIB


class VolumeSuite:
    """`provider` is a fixture of the derived class. `NODE` and `OTHER_NODE` are nodes that exist."""

    NODE = "n1"
    OTHER_NODE = "n2"
    SIZE = SIZE
    BOUND_TO_NODE = False

    @pytest.fixture
    async def provider(self) -> VolumeProvider:
        raise NotImplementedError

    @pytest.fixture
    def owner(self) -> Owner:
        return Owner("acme", str(uuid.uuid4()))

    @pytest.fixture
    def other_owner(self) -> Owner:
        return Owner("globex", str(uuid.uuid4()))

    def request(self, owner: Owner, **changes: object) -> VolumeRequest:
        name = f"pvc-{uuid.uuid4()}"
        topology = Topology(node=self.NODE) if self.BOUND_TO_NODE else Topology()
        given = {"name": name, "owner": owner, "size_bytes": self.SIZE, "topology": topology, **changes}
        return VolumeRequest(**given)  # type: ignore[arg-type]

    async def test_the_same_request_gives_the_same_volume(self, provider: VolumeProvider, owner: Owner) -> None:
        request = self.request(owner)
        first = await provider.create(request)
        assert first.size_bytes >= self.SIZE
        assert await provider.create(request) == first

    async def test_one_name_for_another_size_is_refused(self, provider: VolumeProvider, owner: Owner) -> None:
        request = self.request(owner)
        await provider.create(request)
        with pytest.raises(Refused):
            await provider.create(self.request(owner, name=request.name, size_bytes=request.size_bytes * 64))

    async def test_deleting_what_is_gone_is_success(self, provider: VolumeProvider, owner: Owner) -> None:
        volume = Handle(owner, (await provider.create(self.request(owner))).id)
        await provider.delete(volume)
        await provider.delete(volume)
        with pytest.raises(Refused):
            await provider.attach(volume, self.NODE, read_only=False)

    async def test_a_volume_grows_and_never_shrinks(self, provider: VolumeProvider, owner: Owner) -> None:
        volume = Handle(owner, (await provider.create(self.request(owner))).id)
        grown = await provider.extend(volume, 2 * self.SIZE)
        assert grown >= 2 * self.SIZE
        assert await provider.extend(volume, 2 * self.SIZE) == grown
        assert await provider.extend(volume, self.SIZE) == grown

    async def test_attaching_twice_is_attaching_once(self, provider: VolumeProvider, owner: Owner) -> None:
        volume = Handle(owner, (await provider.create(self.request(owner))).id)
        told = await provider.attach(volume, self.NODE, read_only=False)
        assert all(isinstance(text, str) for pair in told.items() for text in pair)
        assert await provider.attach(volume, self.NODE, read_only=False) == told
        await provider.detach(volume, self.NODE)
        await provider.detach(volume, self.NODE)

    async def test_one_node_at_a_time(self, provider: VolumeProvider, owner: Owner) -> None:
        volume = Handle(owner, (await provider.create(self.request(owner))).id)
        await provider.attach(volume, self.NODE, read_only=False)
        with pytest.raises(Refused):
            await provider.attach(volume, self.OTHER_NODE, read_only=False)

    async def test_anothers_handle_is_no_handle(
        self, provider: VolumeProvider, owner: Owner, other_owner: Owner
    ) -> None:
        volume = await provider.create(self.request(owner))
        stolen, absent = Handle(other_owner, volume.id), Handle(other_owner, volume.id[:-1] + "_")
        answers = []
        for handle in (stolen, absent):
            with pytest.raises(Refused) as refusal:
                await provider.attach(handle, self.NODE, read_only=True)
            answers.append((refusal.value.reason, refusal.value.message.replace(handle.id, "X")))
            with pytest.raises(Refused):
                await provider.extend(handle, 2 * self.SIZE)
            with pytest.raises(Refused):
                await provider.adopt(handle)
            with pytest.raises(Refused):
                await provider.snapshot(SnapshotRequest(f"snapshot-{uuid.uuid4()}", handle))
            with pytest.raises(Refused):
                await provider.create(self.request(other_owner, source=Source(volume=handle.id)))
            await provider.delete(handle)
        assert answers[0] == answers[1]
        assert (await provider.adopt(Handle(owner, volume.id))).id == volume.id

    async def test_a_snapshot_is_restored_after_its_volume_is_gone(
        self, provider: VolumeProvider, owner: Owner
    ) -> None:
        volume = Handle(owner, (await provider.create(self.request(owner))).id)
        wanted = SnapshotRequest(f"snapshot-{uuid.uuid4()}", volume)
        snapshot = await provider.snapshot(wanted)
        assert await provider.snapshot(wanted) == snapshot
        await self.delete_with_snapshots(provider, volume)
        restored = await provider.create(self.request(owner, source=Source(snapshot=snapshot.id)))
        assert restored.size_bytes >= snapshot.size_bytes
        await provider.delete(Handle(owner, restored.id))
        await provider.delete_snapshot(Handle(owner, snapshot.id))
        await provider.delete_snapshot(Handle(owner, snapshot.id))

    async def delete_with_snapshots(self, provider: VolumeProvider, volume: Handle) -> None:
        """Where a volume can't go before its snapshots, override this with nothing."""
        await provider.delete(volume)

    async def test_a_source_that_is_larger_is_refused(self, provider: VolumeProvider, owner: Owner) -> None:
        source = await provider.create(self.request(owner, size_bytes=2 * self.SIZE))
        with pytest.raises(Refused):
            await provider.create(self.request(owner, source=Source(volume=source.id)))

    async def test_what_is_attached_is_not_deleted(self, provider: VolumeProvider, owner: Owner) -> None:
        volume = Handle(owner, (await provider.create(self.request(owner))).id)
        await provider.attach(volume, self.NODE, read_only=False)
        with pytest.raises(Unavailable):
            await provider.delete(volume)
        await provider.detach(volume, self.NODE)
        await provider.delete(volume)
