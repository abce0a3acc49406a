"""Claims that grow, and snapshots, as stories."""

from typing import Any

import pytest

from hypernetes.providers.volume.base import Exhausted, Refused
from tests.unit.controllers.fake_cluster import settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.volumes.world import World

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]

GROUP = "snapshot.storage.k8s.io/v1"


async def grow(world: World, size: str) -> None:
    spec = world.cluster.find("PersistentVolumeClaim", "data")["spec"]
    await world.cluster.change(
        "PersistentVolumeClaim", "data", spec={**spec, "resources": {"requests": {"storage": size}}}
    )


def status(world: World) -> Any:
    return world.cluster.find("PersistentVolumeClaim", "data")["status"]


async def test_a_claim_grows_with_its_volume_and_then_with_its_file_system() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class(allowVolumeExpansion=True)
        await world.claim()
        await settle()
        await world.pod("p")
        await settle()
        await grow(world, "3Gi")
        await settle()
        told = status(world)
        assert told["capacity"] == {"storage": "1Gi"}, "the file system hasn't grown"
        assert told["allocatedResources"] == {"storage": "3Gi"}
        assert told["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
        assert [(each["type"], each["status"]) for each in told["conditions"]] == [("FileSystemResizePending", "True")]
        (volume,) = cluster.all("PersistentVolume")
        assert volume["spec"]["capacity"] == {"storage": "3Gi"}
        assert next(iter(world.driver.volumes.values())).volume.size_bytes == 3 << 30
        (attachment,) = cluster.all("VolumeAttachment")
        annotations = {**attachment["metadata"]["annotations"], "hypernetes.io/file-system-bytes": str(3 << 30)}
        metadata = {**attachment["metadata"], "annotations": annotations}
        await cluster.change("VolumeAttachment", metadata["name"], metadata=metadata)
        await settle()
        told = status(world)
        assert told["capacity"] == {"storage": "3Gi"}
        assert "conditions" not in told
        assert "allocatedResourceStatuses" not in told


async def test_a_block_volume_is_done_with_the_driver() -> None:
    world = World()
    await world.start()
    async with world.running():
        await world.storage_class(allowVolumeExpansion=True)
        await world.claim(volumeMode="Block")
        await settle()
        await grow(world, "2Gi")
        await settle()
        assert status(world)["capacity"] == {"storage": "2Gi"}


async def test_what_cannot_grow_says_so() -> None:
    world = World()
    await world.start()
    async with world.running():
        await world.storage_class(allowVolumeExpansion=True)
        await world.claim()
        await settle()
        world.driver.faults["extend"].append(Exhausted("Full", "no room"))
        world.driver.faults["extend"].append(Refused("Never", "not this one"))
        await grow(world, "3Gi")
        await settle()
        assert status(world)["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
        said = world.events("VolumeResizeFailed")
        assert any("Full: no room" in each for each in said)
        assert any("Never: not this one" in each for each in said)
        assert sum(call == "extend" for call, _ in world.driver.calls) == 2, "it isn't asked again at once"
        await grow(world, "2Gi")
        await settle()
        assert status(world)["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}, "another size is"


async def snapshot_class(world: World, name: str = "snaps", tenant: str = "system", **parts: Any) -> None:
    mark = {"snapshot.storage.kubernetes.io/is-default-class": "true"}
    body = {
        "apiVersion": GROUP, "kind": "VolumeSnapshotClass", "metadata": {"name": name, "annotations": mark},
        "driver": world.driver.driver, "deletionPolicy": "Delete", **parts,
    }  # fmt: skip
    await world.cluster.put(body, tenant)


async def snapshot(world: World, name: str = "s", **spec: Any) -> Any:
    source = {"source": {"persistentVolumeClaimName": "data"}}
    metadata = {"name": name, "namespace": "prod"}
    body = {"apiVersion": GROUP, "kind": "VolumeSnapshot", "metadata": metadata, "spec": {**source, **spec}}
    return await world.cluster.put(body)


async def test_a_snapshot_is_taken_restored_and_deleted() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        await snapshot_class(world)
        await world.claim()
        await settle()
        made = await snapshot(world)
        await settle()
        name = f"snapcontent-{made['metadata']['uid']}"
        told = cluster.find("VolumeSnapshot", "s")["status"]
        assert (told["readyToUse"], told["restoreSize"], told["boundVolumeSnapshotContentName"]) == (True, "1Gi", name)
        content = cluster.find("VolumeSnapshotContent", name)
        assert content["status"]["snapshotHandle"] == f"snapshot-{made['metadata']['uid']}"
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
        await world.claim("restored", size="2Gi", dataSourceRef=source)
        await settle()
        volume = cluster.find("PersistentVolumeClaim", "restored")["spec"]["volumeName"]
        request = world.driver.volumes[world.owner(), volume].request
        assert request.source is not None
        assert request.source.snapshot == content["status"]["snapshotHandle"]
        await world.delete("VolumeSnapshot", "s")
        await settle()
        assert cluster.all("VolumeSnapshot") == cluster.all("VolumeSnapshotContent") == []
        assert world.driver.snapshots == {}


async def test_a_retained_snapshot_can_be_given_to_another_object() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        await snapshot_class(world, deletionPolicy="Retain")
        await world.claim()
        await settle()
        made = await snapshot(world)
        await settle()
        await world.delete("VolumeSnapshot", "s")
        await settle()
        assert cluster.all("VolumeSnapshot") == []
        assert cluster.names("VolumeSnapshotContent") == [f"snapcontent-{made['metadata']['uid']}"]
        ((_, handle),) = world.driver.snapshots
        spec = {
            "driver": world.driver.driver, "deletionPolicy": "Delete", "source": {"snapshotHandle": handle},
            "volumeSnapshotRef": {"namespace": "prod", "name": "again"},
        }  # fmt: skip
        await cluster.put(
            {"apiVersion": GROUP, "kind": "VolumeSnapshotContent", "metadata": {"name": "c"}, "spec": spec}
        )
        await snapshot(world, "again", source={"volumeSnapshotContentName": "c"})
        await snapshot(world, "thief", source={"volumeSnapshotContentName": "c"})
        await settle()
        assert cluster.find("VolumeSnapshot", "again")["status"]["readyToUse"]
        assert not cluster.find("VolumeSnapshot", "thief")["status"].get("readyToUse")
        assert "SnapshotContentMismatch" in world.events("SnapshotContentMissing")[0]
        await world.delete("VolumeSnapshot", "again")
        await settle()
        assert world.driver.snapshots == {}


async def test_a_snapshot_waits_for_its_claim_and_its_class() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        await snapshot(world)
        await settle()
        assert "the claim data is not there or not bound" in world.events("SnapshotFailed")[0]
        await world.claim()
        await settle(90)
        assert "no default class" in world.events("SnapshotFailed")[-1]
        await snapshot_class(world)
        await settle(90)
        told = cluster.find("VolumeSnapshot", "s")["status"]
        assert told["readyToUse"]
        assert "error" not in told


async def test_a_tenants_own_snapshot_class_says_what_the_provider_permits() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        await snapshot_class(world, "own", "acme", parameters={"pool": "theirs"})
        await world.claim()
        await settle()
        await snapshot(world)
        await settle()
        assert world.driver.snapshots == {}
        assert "pool" in cluster.find("VolumeSnapshot", "s")["status"]["error"]["message"]


async def attributes_class(world: World, name: str, tenant: str = "system", **parameters: str) -> None:
    metadata = {"name": name, "finalizers": ["kubernetes.io/vac-protection"]}
    body = {
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": metadata,
        "driverName": world.driver.driver, "parameters": parameters,
    }  # fmt: skip
    await world.cluster.put(body, tenant)


async def test_a_class_of_attributes_counts_when_the_volume_is_made_and_stays_while_it_is_used() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        await attributes_class(world, "gold", type="ssd", readIOPS="500")
        await attributes_class(world, "idle", type="hdd")
        await world.claim(volumeAttributesClassName="gold")
        await settle()
        told = status(world)
        assert told["currentVolumeAttributesClassName"] == "gold"
        (made,) = world.driver.volumes.values()
        assert made.request.mutable_parameters == {"type": "ssd", "readIOPS": "500"}
        (volume,) = cluster.all("PersistentVolume")
        assert volume["spec"]["csi"]["volumeAttributes"] == {"readIOPS": "500"}
        for name in ("gold", "idle"):
            await world.delete("VolumeAttributesClass", name, "system")
        await settle()
        assert cluster.names("VolumeAttributesClass", "system") == ["gold"]
        await world.delete("PersistentVolumeClaim", "data")
        await settle()
        assert cluster.names("VolumeAttributesClass", "system") == []


async def test_other_attributes_for_a_volume_that_is_there_are_refused_in_its_status() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        await attributes_class(world, "gold", type="ssd")
        await world.claim()
        await settle()
        spec = cluster.find("PersistentVolumeClaim", "data")["spec"]
        await cluster.change("PersistentVolumeClaim", "data", spec={**spec, "volumeAttributesClassName": "gold"})
        await settle()
        assert status(world)["modifyVolumeStatus"] == {
            "status": "Infeasible",
            "targetVolumeAttributesClassName": "gold",
        }
        assert [each["type"] for each in status(world)["conditions"]] == ["ModifyVolumeError"]
        assert len(world.events("VolumeModifyFailed")) == 1
        await cluster.change("PersistentVolumeClaim", "data", spec=spec)
        await settle()
        assert "modifyVolumeStatus" not in status(world)
        assert "conditions" not in status(world)
