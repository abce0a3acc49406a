"""Where volumes are attached, as stories: never on two nodes, never taken from one that may still write."""

import pytest

from hypernetes.api.models.core_v1 import PersistentVolumeSpec, Pod
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.api.volumes import names
from hypernetes.controllers.volumes import attachplan
from hypernetes.controllers.volumes.attachplan import Use
from hypernetes.providers.volume.base import Unavailable
from tests.unit.controllers.fake_cluster import settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.volumes.world import World

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]

OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}


async def with_claim(world: World) -> str:
    """The name of the claim's volume."""
    await world.storage_class()
    claim = await world.claim()
    await settle()
    return f"pvc-{claim['metadata']['uid']}"


async def test_a_volume_is_attached_where_its_pod_is_and_detached_after_it() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        assert cluster.all("VolumeAttachment") == []
        await world.pod("p")
        await settle()
        (attachment,) = cluster.all("VolumeAttachment")
        assert attachment["metadata"]["name"].startswith("csi-")
        assert attachment["spec"] == {
            "attacher": "fake.hypernetes.io", "nodeName": "n1", "source": {"persistentVolumeName": name},
        }  # fmt: skip
        assert attachment["status"] == {"attached": True, "attachmentMetadata": {"volume": name, "node": "n1"}}
        assert world.attached() == {name: ["n1"]}
        assert world.events("SuccessfulAttachVolume") == [f'AttachVolume.Attach succeeded for volume "{name}"']
        await world.delete("Pod", "p")
        await settle()
        assert world.attached() == {}
        assert cluster.all("VolumeAttachment") == []


async def test_a_second_node_waits_until_the_first_has_let_go() -> None:
    world = World()
    await world.start()
    async with world.running():
        name = await with_claim(world)
        await world.pod("p", "n1")
        await settle()
        await world.uses("n1", name)
        await world.pod("q", "n2")
        await settle()
        assert world.attached() == {name: ["n1"]}
        (said,) = world.events("FailedAttachVolume")
        assert said.startswith(f'Multi-Attach error for volume "{name}"')
        assert "nfs" in said
        await world.delete("Pod", "p")
        await settle(120)
        assert world.attached() == {name: ["n1"]}, "its node still has it open"
        await world.uses("n1")
        await settle()
        assert world.attached() == {name: ["n2"]}


async def test_two_pods_of_one_node_share_an_attachment() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.pod("p", "n1")
        await world.pod("q", "n1")
        await settle()
        assert len(cluster.all("VolumeAttachment")) == 1
        await world.delete("Pod", "p")
        await settle()
        assert world.attached() == {name: ["n1"]}


async def test_a_silent_node_keeps_its_volume_until_it_is_declared_out_of_service() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.pod("p", "n1")
        await settle()
        await world.uses("n1", name)
        status = {
            **cluster.find("Node", "n1", "system")["status"],
            "conditions": [{"type": "Ready", "status": "Unknown"}],
        }
        await cluster.change("Node", "n1", "system", status=status)
        await world.delete("Pod", "p")
        await world.pod("q", "n2")
        await settle(600)
        assert world.attached() == {name: ["n1"]}
        assert world.driver.fenced == set()
        await cluster.change("Node", "n1", "system", spec={"taints": [OUT_OF_SERVICE]})
        await settle()
        assert world.driver.fenced == {(name, "n1")}
        assert world.attached() == {name: ["n2"]}
        order = [call for call, about in world.driver.calls if about == name and call in ("attach", "fence", "detach")]
        assert order[-3:] == ["fence", "detach", "attach"]


async def test_a_node_that_was_made_again_keeps_its_volumes_until_it_has_said_which_it_uses() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.pod("p", "n1")
        await settle()
        await world.uses("n1", name)
        before = cluster.find("Node", "n1", "system")["status"]
        await world.delete("Node", "n1", "system")
        await cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}, "system")
        await world.delete("Pod", "p")
        await settle(120)
        assert world.attached() == {name: ["n1"]}
        await cluster.change("Node", "n1", "system", status=before)
        await settle(120)
        assert world.attached() == {name: ["n1"]}
        await world.uses("n1")
        await settle()
        assert world.attached() == {}


async def test_who_writes_waits_for_the_readers_of_its_node_and_then_has_it_for_writing() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        claim = await world.claim(accessModes=["ReadWriteOnce", "ReadOnlyMany"])
        await settle()
        name = f"pvc-{claim['metadata']['uid']}"
        reading = {"claimName": "data", "readOnly": True}
        await world.pod("reader", "n1", persistentVolumeClaim=reading)
        await settle()
        await world.uses("n1", name)
        await world.pod("writer", "n1")
        await settle(120)
        (attachment,) = cluster.all("VolumeAttachment")
        assert attachment["metadata"]["annotations"]["hypernetes.io/read-only"] == "true"
        await world.delete("Pod", "reader")
        await settle(120)
        assert world.attached() == {name: ["n1"]}, "its node still has it open for reading"
        await world.uses("n1")
        await settle(120)
        (attachment,) = cluster.all("VolumeAttachment")
        assert "hypernetes.io/read-only" not in attachment["metadata"]["annotations"]
        assert attachment["status"]["attached"]


async def test_what_cannot_be_fenced_stays_where_it_is() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.pod("p", "n1")
        await settle()
        await world.uses("n1", name)
        world.driver.faults["fence"].extend([Unavailable("Away", "the storage doesn't answer")] * 9)
        await world.delete("Pod", "p")
        await world.pod("q", "n2")
        status = {**cluster.find("Node", "n1", "system")["status"], "conditions": []}
        await cluster.change("Node", "n1", "system", status=status, spec={"taints": [OUT_OF_SERVICE]})
        await settle(0.5)
        assert world.attached() == {name: ["n1"]}
        await settle(120)
        assert world.attached() == {name: ["n2"]}
        assert "the storage doesn't answer" in world.events("FailedDetachVolume")[0]


async def test_many_nodes_read_what_nobody_writes() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        await world.storage_class()
        claim = await world.claim(accessModes=["ReadOnlyMany"])
        await settle()
        await world.pod("p", "n1")
        await world.pod("q", "n2")
        await settle()
        assert world.attached() == {f"pvc-{claim['metadata']['uid']}": ["n1", "n2"]}
        marks = [each["metadata"]["annotations"]["hypernetes.io/read-only"] for each in cluster.all("VolumeAttachment")]
        assert marks == ["true", "true"]


async def test_an_attach_that_fails_is_told_on_the_pod_and_the_attachment() -> None:
    world = World()
    await world.start()
    world.driver.faults["attach"].extend([Unavailable("Away", "no answer")] * 9)
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.pod("p")
        await settle(0.5)
        (attachment,) = cluster.all("VolumeAttachment")
        assert attachment["status"]["attachError"]["message"] == "Away: no answer"
        await settle()
        (attachment,) = cluster.all("VolumeAttachment")
        assert attachment["status"]["attached"]
        assert "attachError" not in attachment["status"]
        assert f'AttachVolume.Attach failed for volume "{name}" : Away: no answer' in world.events("FailedAttachVolume")


async def test_a_volume_with_a_finished_pod_can_go_elsewhere() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.pod("p", "n1")
        await settle()
        await cluster.change("Pod", "p", status={"phase": "Succeeded"})
        await world.pod("q", "n2")
        await settle()
        assert world.attached() == {name: ["n2"]}


async def test_two_volume_objects_of_one_handle_are_one_volume() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        await world.volume("twin", csi={"driver": "fake.hypernetes.io", "volumeHandle": name})
        await world.claim("second", cls="")
        await settle()
        await world.pod("p", "n1")
        await settle()
        await world.pod("q", "n2", "second")
        await settle()
        assert world.attached() == {name: ["n1"]}
        assert len(cluster.all("VolumeAttachment")) == 1
        assert world.events("FailedAttachVolume")


async def test_limits_are_those_of_the_bound_volume_and_the_drivers_own_word_counts_before_them() -> None:
    world = World()
    await world.start()
    async with world.running() as cluster:
        name = await with_claim(world)
        limits = {"totalIOPS": "100000000", "volume": "another", "readIOPS": "no number"}
        of_a_tenant = {"driver": "fake.hypernetes.io", "volumeHandle": name, "volumeAttributes": limits}
        await world.volume("a-tenants-own", csi=of_a_tenant)
        await world.pod("p")
        await settle()
        (attachment,) = cluster.all("VolumeAttachment")
        assert attachment["status"]["attachmentMetadata"] == {"volume": name, "node": "n1"}


async def test_a_claimed_volume_is_not_deleted_while_attached() -> None:
    world = World()
    await world.start()
    async with world.running():
        name = await with_claim(world)
        await world.pod("p", "n1")
        await settle()
        await world.uses("n1", name)
        await world.delete("Pod", "p")
        await world.delete("PersistentVolumeClaim", "data")
        await settle(120)
        assert ("delete", name) not in world.driver.calls
        await world.uses("n1")
        await settle()
        assert world.left() == (0, 0, 0, 0, 0, 0)


def use(node: str, name: str = "p", *, read_only: bool = False) -> Use:
    pod = Pod.from_dict({"metadata": {"name": name, "uid": name, "creationTimestamp": name}})
    return Use(pod, node, read_only)


def test_the_oldest_pod_has_the_volume_first() -> None:
    spec = PersistentVolumeSpec(access_modes=["ReadWriteOnce"])
    plan = attachplan.decide(spec, [use("n2", "young"), use("n1", "old")], [])
    assert plan.attach == [("n1", False)]
    assert [(waiting.node, node) for waiting, node in plan.waiting] == [("n2", "n1")]


def attached(node: str, *, read_only: bool) -> VolumeAttachment:
    annotations = {names.READ_ONLY: "true"} if read_only else {}
    return VolumeAttachment.from_dict(
        {
            "metadata": {"name": "a", "annotations": annotations},
            "spec": {"attacher": "d", "nodeName": node, "source": {"persistentVolumeName": "v"}},
            "status": {"attached": True},
        }
    )


def test_who_writes_does_not_join_an_attachment_for_reading() -> None:
    spec = PersistentVolumeSpec(access_modes=["ReadWriteOnce", "ReadOnlyMany"])
    reader, writer = use("n1", "reader", read_only=True), use("n1", "writer")
    present = attached("n1", read_only=True)
    plan = attachplan.decide(spec, [reader, writer], [present])
    assert ([waiting.pod.metadata.name for waiting, _ in plan.waiting], plan.end, plan.attach) == (["writer"], [], [])
    plan = attachplan.decide(spec, [writer], [present])
    assert ([waiting.pod.metadata.name for waiting, _ in plan.waiting], plan.end) == (["writer"], [present])
    plan = attachplan.decide(spec, [reader, writer], [attached("n1", read_only=False)])
    assert (plan.waiting, plan.end) == ([], [])
    only_read = PersistentVolumeSpec(access_modes=["ReadOnlyMany"])
    plan = attachplan.decide(only_read, [writer], [present])
    assert (plan.waiting, plan.end) == ([], []), "no pod writes such a volume, whatever it says"


@pytest.mark.parametrize(
    ("modes", "uses", "expected"),
    [
        (["ReadOnlyMany"], [use("n1"), use("n2", "q")], [("n1", True), ("n2", True)]),
        (["ReadWriteOnce", "ReadOnlyMany"], [use("n1", read_only=True), use("n2", "q", read_only=True)],
         [("n1", True), ("n2", True)]),
        (["ReadWriteOnce", "ReadOnlyMany"], [use("n1", read_only=True), use("n2", "q")], [("n1", False)]),
        (["ReadWriteMany"], [use("n1"), use("n2", "q")], [("n1", False)]),
        (["ReadWriteOncePod"], [use("n1"), use("n1", "q")], [("n1", False)]),
    ],
)  # fmt: skip
def test_only_what_is_read_alone_is_shared(
    modes: list[str], uses: list[Use], expected: list[tuple[str, bool]]
) -> None:  # fmt: skip
    assert attachplan.decide(PersistentVolumeSpec(access_modes=modes), uses, []).attach == expected


def test_a_bare_device_may_be_written_by_several_where_the_driver_lets_them() -> None:
    spec = PersistentVolumeSpec(access_modes=["ReadWriteMany"], volume_mode="Block")
    assert attachplan.decide(spec, [use("n1"), use("n2", "q")], []).attach == [("n1", False), ("n2", False)]
