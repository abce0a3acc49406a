"""From claims to volumes and back, as stories."""

from typing import Any

import pytest

from hypernetes.providers.volume.base import Exhausted, Refused, Unavailable
from tests.unit.controllers.fake_cluster import settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.volumes.test_growing_and_copies import snapshot, snapshot_class
from tests.unit.controllers.volumes.world import World

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]

WAIT = {"volumeBindingMode": "WaitForFirstConsumer"}
SELECTED = "volume.kubernetes.io/selected-node"


async def test_a_claim_of_a_class_gets_a_volume_and_gives_it_back() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class(
            parameters={"type": "ssd", "csi.storage.k8s.io/fstype": "xfs"}, mountOptions=["noatime"]
        )
        claim = await world.claim()
        await settle()
        name = f"pvc-{claim['metadata']['uid']}"
        bound, volume = cluster.find("PersistentVolumeClaim", "data"), cluster.find("PersistentVolume", name)
        assert bound["spec"]["volumeName"] == name
        assert bound["status"] == {
            "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        }  # fmt: skip
        assert bound["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"], "it isn't held any longer"
        assert volume["spec"]["csi"] == {"driver": "fake.hypernetes.io", "volumeHandle": name, "fsType": "xfs"}
        assert volume["spec"]["mountOptions"] == ["noatime"]
        assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
        assert (volume["status"]["phase"], volume["spec"]["persistentVolumeReclaimPolicy"]) == ("Bound", "Delete")
        assert world.driver.volumes[world.owner(), name].request.parameters == {"type": "ssd"}
        await world.delete("PersistentVolumeClaim", "data")
        await settle()
        assert world.left() == (0, 0, 0, 0, 0, 0)
        assert cluster.all("PersistentVolumeClaim") == []


async def test_a_retained_volume_stays_with_its_data() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class(reclaimPolicy="Retain")
        claim = await world.claim()
        await settle()
        await world.delete("PersistentVolumeClaim", "data")
        await settle()
        name = f"pvc-{claim['metadata']['uid']}"
        assert world.phase("PersistentVolume", name) == "Released"
        await world.claim()
        await settle()
        assert cluster.find("PersistentVolumeClaim", "data")["spec"]["volumeName"] != name, "it isn't given to another"
        await world.delete("PersistentVolume", name)
        await settle()
        assert name not in cluster.names("PersistentVolume")
        assert (world.owner(), name) in world.driver.volumes


async def test_the_smallest_volume_that_does_is_taken() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.volume("large", "9Gi")
        await world.volume("right", "2Gi")
        await world.volume("small", "1Gi")
        await world.volume("block", "2Gi", volumeMode="Block")
        await world.volume("shared", "2Gi", accessModes=["ReadOnlyMany"])
        await world.volume("classy", "2Gi", cls="fast")
        await world.claim(size="1500Mi", cls="")
        await settle()
        assert cluster.find("PersistentVolumeClaim", "data")["spec"]["volumeName"] == "right"
        assert cluster.find("PersistentVolumeClaim", "data")["status"]["capacity"] == {"storage": "2Gi"}
        assert world.phase("PersistentVolume", "large") == "Available"
        await world.claim("second", size="1500Mi", cls="")
        await settle()
        assert cluster.find("PersistentVolumeClaim", "second")["spec"]["volumeName"] == "large"
        await world.claim("third", size="1500Mi", cls="")
        await settle()
        assert world.phase("PersistentVolumeClaim", "third") == ""
        assert world.events("FailedBinding") == [
            "no persistent volumes available for this claim and no storage class is set"
        ]
        await world.delete("PersistentVolumeClaim", "second")
        await settle()
        assert world.phase("PersistentVolume", "large") == "Released", "an adopted volume is given back as it is"
        assert "delete" not in {name for name, _ in world.driver.calls}


async def test_a_selector_chooses_by_labels() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.volume("a", labels={"tier": "cold"})
        await world.volume("b", "2Gi", labels={"tier": "hot"})
        await world.claim(cls="", selector={"matchLabels": {"tier": "hot"}})
        await settle()
        assert cluster.find("PersistentVolumeClaim", "data")["spec"]["volumeName"] == "b"


async def test_a_volume_that_is_named_must_do() -> None:
    world = World()
    await world.start()
    async with world.running():
        await world.volume("tiny", "1Mi")
        await world.claim(cls="", volumeName="tiny")
        await settle()
        (said,) = world.events("VolumeMismatch")
        assert said == 'Cannot bind to requested volume "tiny": requested PV is too small'
        await world.claim("later", cls="", volumeName="later")
        await settle()
        assert world.phase("PersistentVolumeClaim", "later") == ""
        await world.volume("later")
        await settle()
        assert world.phase("PersistentVolumeClaim", "later") == "Bound"


async def test_a_volume_that_is_reserved_is_its_claims_alone() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.volume("kept", "5Gi", claimRef={"namespace": "prod", "name": "mine"})
        await world.claim("other", cls="")
        await world.claim("greedy", cls="", volumeName="kept")
        await settle()
        assert world.phase("PersistentVolumeClaim", "other") == world.phase("PersistentVolumeClaim", "greedy") == ""
        assert world.events("FailedBinding")[-1:] == ['volume "kept" already bound to a different claim.']
        await world.claim("mine", cls="")
        await settle()
        assert cluster.find("PersistentVolumeClaim", "mine")["spec"]["volumeName"] == "kept"


async def test_a_claim_whose_volume_vanishes_is_lost() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.volume("v")
        await world.claim(cls="")
        await settle()
        (place,) = (place for place in cluster.stored if place[0].kind == "PersistentVolume")
        cluster.stored[place]["metadata"]["finalizers"] = []
        await cluster._delete(place, {})
        await settle()
        assert world.phase("PersistentVolumeClaim", "data") == "Lost"
        assert world.events("ClaimLost")


async def test_a_claim_waits_for_its_first_pod_and_goes_where_the_scheduler_says() -> None:
    world = World(by_node=True)
    await world.start()
    async with world.running() as cluster:
        await world.storage_class(**WAIT)
        claim = await world.claim()
        await settle()
        assert world.events("WaitForFirstConsumer") == ["waiting for first consumer to be created before binding"]
        assert not world.driver.volumes
        found = cluster.find("PersistentVolumeClaim", "data")
        await cluster.change(
            "PersistentVolumeClaim", "data",
            metadata={**found["metadata"], "annotations": {**found["metadata"].get("annotations", {}), SELECTED: "n2"}},
        )  # fmt: skip
        await settle()
        assert world.phase("PersistentVolumeClaim", "data") == "Bound"
        volume = cluster.find("PersistentVolume", f"pvc-{claim['metadata']['uid']}")
        (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert term == {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}


async def test_a_node_without_room_is_given_back_to_the_scheduler() -> None:
    world = World(by_node=True, capacity_bytes=1 << 20)
    await world.start()
    async with world.running() as cluster:
        await world.storage_class(**WAIT)
        await world.claim()
        found = cluster.find("PersistentVolumeClaim", "data")
        await cluster.change(
            "PersistentVolumeClaim", "data", metadata={**found["metadata"], "annotations": {SELECTED: "n2"}}
        )
        await settle()
        assert SELECTED not in cluster.find("PersistentVolumeClaim", "data")["metadata"]["annotations"]
        assert "NoSpace" in world.events("ProvisioningFailed")[0]


@pytest.mark.parametrize(
    ("error", "patience"), [(Unavailable("Away", "no answer"), 60), (Exhausted("Full", "no room"), 60)]
)
async def test_what_fails_for_now_is_tried_again(error: Any, patience: int) -> None:
    world = World()
    await world.start()
    world.driver.faults["create"].extend([error] * 4)
    async with world.running():
        await world.storage_class()
        await world.claim()
        await settle(patience)
        assert world.phase("PersistentVolumeClaim", "data") == "Bound"
        assert error.reason in world.events("ProvisioningFailed")[0]


async def test_what_is_refused_is_told_and_not_hammered() -> None:
    world = World()
    await world.start()
    world.driver.faults["create"].extend([Refused("Wrong", "no such type")] * 50)
    async with world.running():
        await world.storage_class()
        await world.claim()
        await settle(250)
        assert sum(name == "create" for name, _ in world.driver.calls) < 5
        assert world.events("ProvisioningFailed") == [
            'failed to provision volume with StorageClass "fast": Wrong: no such type'
        ]


async def test_many_writers_are_refused_with_a_word_about_nfs() -> None:
    world = World()
    await world.start()
    async with world.running():
        await world.storage_class()
        await world.claim(accessModes=["ReadWriteMany"])
        await settle()
        assert not world.driver.calls
        assert "nfs" in world.events("ProvisioningFailed")[0]


async def test_a_tenants_own_class_says_what_the_provider_permits() -> None:
    world = World()
    await world.start()
    async with world.running():
        await world.storage_class("own", tenant="acme", parameters={"type": "ssd"})
        await world.storage_class("greedy", tenant="acme", parameters={"type": "ssd", "pool": "theirs"})
        await world.claim("a", cls="own")
        await world.claim("b", cls="greedy")
        await settle()
        assert world.phase("PersistentVolumeClaim", "a") == "Bound"
        assert world.phase("PersistentVolumeClaim", "b") == ""
        (said,) = world.events("ProvisioningFailed")
        assert "pool" in said
        assert "type" in said.partition("permitted are")[2]


async def test_a_class_of_another_tenant_is_nobodys() -> None:
    world = World()
    await world.start()
    async with world.running():
        await world.storage_class("theirs", tenant="globex")
        await world.claim(cls="theirs")
        await settle()
        assert world.events("ProvisioningFailed") == ['storageclass.storage.k8s.io "theirs" not found']
        await world.storage_class("theirs", tenant="acme")
        await settle()
        assert world.phase("PersistentVolumeClaim", "data") == "Bound"


async def test_a_claim_may_be_a_clone_of_another() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        first = await world.claim()
        source = {"kind": "PersistentVolumeClaim", "name": "data"}
        await world.claim("copy", dataSource=source, dataSourceRef=source)
        await world.claim("small", size="1Mi", dataSource=source, dataSourceRef=source)
        await settle()
        made = cluster.find("PersistentVolumeClaim", "copy")["spec"]["volumeName"]
        request = world.driver.volumes[world.owner(), made].request
        assert request.source is not None
        assert request.source.volume == f"pvc-{first['metadata']['uid']}"
        assert "TooSmall" in world.events("ProvisioningFailed")[-1]


async def test_a_clone_goes_where_its_source_is() -> None:
    world = World(by_node=True)
    await world.start()
    async with world.running() as cluster:
        await world.storage_class(**WAIT)
        await world.claim()
        found = cluster.find("PersistentVolumeClaim", "data")
        await cluster.change(
            "PersistentVolumeClaim", "data", metadata={**found["metadata"], "annotations": {SELECTED: "n2"}}
        )
        await settle()
        source = {"kind": "PersistentVolumeClaim", "name": "data"}
        await world.claim("copy", dataSource=source, dataSourceRef=source)
        await settle()
        annotations = cluster.find("PersistentVolumeClaim", "copy")["metadata"]["annotations"]
        assert annotations["hypernetes.io/source-node"] == "n2"
        await snapshot_class(world)
        await snapshot(world)
        await settle()
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
        await world.claim("restored", dataSourceRef=source)
        await settle()
        annotations = cluster.find("PersistentVolumeClaim", "restored")["metadata"]["annotations"]
        assert annotations["hypernetes.io/source-node"] == "n2"


async def test_a_deleted_claim_leaves_nothing_of_what_was_being_made() -> None:
    world = World()
    await world.start()
    world.driver.faults["create"].extend([Unavailable("Away", "no answer")] * 3)
    async with world.running() as cluster:
        await world.storage_class()
        await world.claim()
        await settle(0.02)
        await world.delete("PersistentVolumeClaim", "data")
        await settle()
        assert cluster.all("PersistentVolumeClaim") == []
        assert world.left() == (0, 0, 0, 0, 0, 0)


async def test_a_pods_ephemeral_volume_is_a_claim_of_its_own() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast",
        }
        template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
        pod = await world.pod("p", ephemeral={"volumeClaimTemplate": template})
        await settle()
        claim = cluster.find("PersistentVolumeClaim", "p-v")
        (owner,) = claim["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (pod["metadata"]["uid"], True)
        assert claim["metadata"]["labels"] == {"a": "b"}
        assert claim["status"]["phase"] == "Bound"
        await world.claim("q-v")
        await world.pod("q", ephemeral={"volumeClaimTemplate": template})
        await settle()
        assert world.events("FailedBinding") == ["ephemeral volume v: PVC q-v was not created for the pod"]
