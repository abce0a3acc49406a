"""The process dies after each of the named steps: what comes next leaves no orphan on either side."""

from collections.abc import Awaitable, Callable

import pytest

from hypernetes.controllers.volumes import faults
from tests.unit.controllers.fake_cluster import settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.volumes.test_growing_and_copies import grow, snapshot, snapshot_class
from tests.unit.controllers.volumes.world import World

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]

_PROVISIONING = (
    faults.CLAIM_HELD, faults.VOLUME_CREATED, faults.VOLUME_RECORDED, faults.VOLUME_CLAIMED, faults.CLAIM_BOUND,
)  # fmt: skip

Act = Callable[[World], Awaitable[None]]


async def begin(world: World) -> None:
    await world.start()
    await world.storage_class(allowVolumeExpansion=True)
    await snapshot_class(world)
    await world.claim()


def healthy(world: World, node: str) -> None:
    """The claim has one volume, which one object stands for, and which is attached to one node."""
    assert world.phase("PersistentVolumeClaim", "data") == "Bound"
    claim = world.cluster.find("PersistentVolumeClaim", "data")
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    (volume,) = world.cluster.all("PersistentVolume")
    (made,) = world.driver.volumes.values()
    assert volume["spec"]["csi"]["volumeHandle"] == made.volume.id
    assert list(made.attached) == [node]
    (attachment,) = world.cluster.all("VolumeAttachment")
    assert (attachment["spec"]["nodeName"], attachment["status"]["attached"]) == (node, True)


def nothing_left(world: World) -> None:
    assert world.left() == (0, 0, 0, 0, 0, 0)
    assert world.cluster.all("PersistentVolumeClaim") == []


async def end(world: World) -> None:
    for pod in list(world.cluster.all("Pod")):
        await world.delete("Pod", pod["metadata"]["name"])
    for made in list(world.cluster.all("VolumeSnapshot")):
        await world.delete("VolumeSnapshot", made["metadata"]["name"])
    await world.delete("PersistentVolumeClaim", "data")


@pytest.mark.parametrize("step", _PROVISIONING)
async def test_provisioning_goes_on_after_a_crash(step: str) -> None:
    world = World()
    await begin(world)
    assert await world.until_crash(step)
    async with world.running():
        await world.pod("p")
        await settle()
        healthy(world, "n1")
        await end(world)
        await settle()
        nothing_left(world)


@pytest.mark.parametrize("step", _PROVISIONING)
async def test_a_claim_that_is_deleted_meanwhile_leaves_nothing(step: str) -> None:
    world = World()
    await begin(world)
    assert await world.until_crash(step)
    await world.delete("PersistentVolumeClaim", "data")
    async with world.running():
        await settle()
        nothing_left(world)


@pytest.mark.parametrize("step", [faults.CLAIM_HELD, faults.VOLUME_CREATED])
async def test_a_claim_that_is_deleted_meanwhile_with_its_class_and_source_leaves_nothing(step: str) -> None:
    world = World()
    await begin(world)
    async with world.running():
        await settle()
        await snapshot(world)
        await settle()
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    await world.claim("copy", dataSourceRef=source)
    assert await world.until_crash(step)
    await world.delete("PersistentVolumeClaim", "copy")
    await world.delete("StorageClass", "fast", "system")
    async with world.running():
        await settle()
        assert len(world.driver.volumes) == 1
        await end(world)
        await settle()
        nothing_left(world)


async def moved(world: World) -> None:
    await world.pod("q", "n2")
    await world.delete("Pod", "p")


async def lost(world: World) -> None:
    name = world.cluster.find("PersistentVolumeClaim", "data")["spec"]["volumeName"]
    await world.uses("n1", name)
    status = {**world.cluster.find("Node", "n1", "system")["status"], "conditions": []}
    taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
    await world.cluster.change("Node", "n1", "system", status=status, spec={"taints": [taint]})
    await moved(world)


@pytest.mark.parametrize("step", [faults.ATTACHMENT_RECORDED, faults.ATTACHED])
async def test_an_attachment_is_completed_after_a_crash(step: str) -> None:
    world = World()
    await begin(world)
    await world.pod("p", "n1")
    assert await world.until_crash(step)
    async with world.running():
        await settle()
        healthy(world, "n1")


@pytest.mark.parametrize("step", [faults.ATTACHMENT_RECORDED, faults.ATTACHED])
async def test_an_attachment_nobody_needs_any_more_is_undone(step: str) -> None:
    world = World()
    await begin(world)
    await world.pod("p", "n1")
    assert await world.until_crash(step)
    await end(world)
    async with world.running():
        await settle()
        nothing_left(world)


@pytest.mark.parametrize(
    ("act", "step"),
    [(moved, faults.ATTACHMENT_ENDING), (moved, faults.DETACHED), (moved, faults.ATTACHMENT_RECORDED),
     (moved, faults.ATTACHED), (lost, faults.ATTACHMENT_ENDING), (lost, faults.FENCED), (lost, faults.DETACHED)],
)  # fmt: skip
async def test_a_volume_moves_though_the_process_dies_on_the_way(act: Act, step: str) -> None:
    world = World()
    await begin(world)
    async with world.running():
        await world.pod("p", "n1")
        await settle()
        healthy(world, "n1")
    await act(world)
    assert await world.until_crash(step)
    async with world.running():
        await settle()
        healthy(world, "n2")
        await end(world)
        await settle()
        nothing_left(world)


@pytest.mark.parametrize("step", [faults.VOLUME_DELETED, faults.VOLUME_LET_GO, faults.DETACHED])
async def test_a_deletion_is_completed_after_a_crash(step: str) -> None:
    world = World()
    await begin(world)
    async with world.running():
        await world.pod("p", "n1")
        await settle()
    await end(world)
    assert await world.until_crash(step)
    async with world.running():
        await settle()
        nothing_left(world)


async def test_growth_is_completed_after_a_crash() -> None:
    world = World()
    await begin(world)
    async with world.running():
        await settle()
    await grow(world, "4Gi")
    assert await world.until_crash(faults.EXTENDED)
    async with world.running() as cluster:
        await settle()
        (volume,) = cluster.all("PersistentVolume")
        assert volume["spec"]["capacity"] == {"storage": "4Gi"}


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("step", [faults.SNAPSHOT_RECORDED, faults.SNAPSHOT_TAKEN])
async def test_a_snapshot_is_completed_or_undone_after_a_crash(step: str, deleted: bool) -> None:
    world = World()
    await begin(world)
    async with world.running():
        await settle()
    await snapshot(world)
    assert await world.until_crash(step)
    if deleted:
        await world.delete("VolumeSnapshot", "s")
    async with world.running() as cluster:
        await settle()
        if not deleted:
            assert cluster.find("VolumeSnapshot", "s")["status"]["readyToUse"]
            assert len(world.driver.snapshots) == 1
        await end(world) if not deleted else await world.delete("PersistentVolumeClaim", "data")
        await settle()
        nothing_left(world)


async def test_a_snapshots_deletion_is_completed_after_a_crash() -> None:
    world = World()
    await begin(world)
    async with world.running():
        await settle()
        await snapshot(world)
        await settle()
    await end(world)
    assert await world.until_crash(faults.SNAPSHOT_DELETED)
    async with world.running():
        await settle()
        nothing_left(world)
