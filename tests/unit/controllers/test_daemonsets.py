"""DaemonSets: placement and updates as tables, and sets in a small cluster whose nodes and pods come and go."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api import times
from hypernetes.api.models.apps_v1 import DaemonSet
from hypernetes.api.models.core_v1 import Node, Pod, PodSpec
from hypernetes.controllers import history
from hypernetes.controllers.daemonsets import DaemonSets, placement, plan
from tests.unit.controllers.fake_cluster import Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


def set_json(image: str = "agent:1", template: Json | None = None, **spec: Any) -> Json:
    labels = {"app": "agent"}
    pod_spec = {"containers": [{"name": "main", "image": image}], **(template or {})}
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "prod", "uid": "set", "generation": 1},
        "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod_spec}, **spec,
        },
    }  # fmt: skip


def make(*args: Any, **spec: Any) -> DaemonSet:
    return DaemonSet.from_dict(set_json(*args, **spec))


def node(name: str, *taints: str, **labels: str) -> Node:
    """Taints as `key=value:Effect`."""
    parsed = []
    for taint in taints:
        pair, _, effect = taint.partition(":")
        key, _, value = pair.partition("=")
        parsed.append({"key": key, "value": value, "effect": effect})
    return Node.from_dict({"metadata": {"name": name, "labels": labels}, "spec": {"taints": parsed}})


OLD, NEW = (history.new_revision(make(image), number, 0) for number, image in enumerate(("agent:1", "agent:2"), 1))


def pod(
    where: str, revision: Any = OLD, *, name: str = "", ready: bool = True, bound: bool = True, **extra: Any
) -> Pod:
    made = plan.pod(make(), where, revision).to_dict()
    made["metadata"] |= {
        "name": name or f"agent-{where}", "namespace": "prod", "uid": name or where,
        "creationTimestamp": times.format_time(NOW - timedelta(seconds=extra.pop("age", 1000))),
        **extra.pop("metadata", {}),
    }  # fmt: skip
    if bound:
        made["spec"]["nodeName"] = where
    since = times.format_time(NOW - timedelta(seconds=extra.pop("ready_for", 900)))
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    made["status"] = {"phase": "Running", "conditions": [condition], **extra}
    return Pod.from_dict(made)


def decide(
    owner: DaemonSet, nodes: list[Node], pods: list[Pod], revision: Any = OLD, eligible: set[str] | None = None
) -> plan.Plan:
    return plan.decide(owner, nodes, eligible, pods, revision, NOW)


def names(pods: list[Pod]) -> set[str]:
    return {each.metadata.name or "" for each in pods}


class TestPlacement:
    @pytest.mark.parametrize(
        ("spec", "where", "starts", "stays"),
        [
            ({}, node("n1"), True, True),
            ({"nodeSelector": {"disk": "ssd"}}, node("n1"), False, False),
            ({"nodeSelector": {"disk": "ssd"}}, node("n1", disk="ssd"), True, True),
            ({"nodeName": "n2"}, node("n1"), False, False),
            ({}, node("n1", "dedicated=db:NoSchedule"), False, True),
            ({}, node("n1", "dedicated=db:NoExecute"), False, False),
            ({}, node("n1", "dedicated=db:PreferNoSchedule"), True, True),
            ({"tolerations": [{"key": "own", "operator": "Exists"}]}, node("n1", "own=db:NoExecute"), True, True),
            ({}, node("n1", "node.kubernetes.io/unschedulable=:NoSchedule"), True, True),
            ({}, node("n1", "node.kubernetes.io/not-ready=:NoExecute"), True, True),
            ({}, node("n1", "node.kubernetes.io/network-unavailable=:NoSchedule"), False, True),
            ({"hostNetwork": True}, node("n1", "node.kubernetes.io/network-unavailable=:NoSchedule"), True, True),
        ],
    )  # fmt: skip
    def test_by_selector_taints_and_name(self, spec: Json, where: Node, starts: bool, stays: bool) -> None:
        assert placement.judge(PodSpec.from_dict({"containers": [], **spec}), where) == placement.Verdict(starts, stays)

    @pytest.mark.parametrize(
        ("operator", "values", "labels", "fits"),
        [
            ("In", ["a", "b"], {"zone": "b"}, True),
            ("In", ["a"], {}, False),
            ("NotIn", ["a"], {}, True),
            ("NotIn", ["a"], {"zone": "a"}, False),
            ("Exists", [], {"zone": ""}, True),
            ("DoesNotExist", [], {"zone": ""}, False),
            ("Gt", ["5"], {"zone": "6"}, True),
            ("Gt", ["5"], {"zone": "x"}, False),
            ("Lt", ["5"], {"zone": "4"}, True),
        ],
    )
    def test_by_affinity(self, operator: str, values: list[str], labels: dict[str, str], fits: bool) -> None:
        term = {"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}, term]}}
        spec = PodSpec.from_dict({"containers": [], "affinity": {"nodeAffinity": required}})
        assert placement.judge(spec, node("n1", **labels)).starts is fits

    def test_a_pod_is_bound_to_its_node_by_affinity(self) -> None:
        made = pod("n1", bound=False)
        assert placement.node_of(made) == "n1"
        assert made.spec.node_name is None
        assert {each.key for each in made.spec.tolerations} >= {"node.kubernetes.io/unschedulable"}
        assert placement.node_of(Pod.from_dict({"spec": {"containers": []}})) == ""


class TestDecision:
    NODES = (node("n1"), node("n2"), node("n3"))

    def test_each_node_gets_one(self) -> None:
        found = decide(make(), list(self.NODES), [pod("n2")])
        assert (sorted(found.create), found.delete) == (["n1", "n3"], [])
        assert (found.status.desired_number_scheduled, found.status.current_number_scheduled) == (3, 1)
        assert (found.status.number_available, found.status.number_unavailable) == (1, 2)

    def test_one_that_waits_for_its_node_counts_already(self) -> None:
        assert decide(make(), [node("n1")], [pod("n1", bound=False, ready=False)]).create == []

    def test_a_tenants_runs_only_where_the_tenant_has_pods(self) -> None:
        found = decide(make(), list(self.NODES), [pod("n1"), pod("n3")], eligible={"n2", "n3"})
        assert (found.create, names(found.delete)) == (["n2"], {"agent-n1"})
        assert (found.status.desired_number_scheduled, found.status.number_misscheduled) == (2, 1)

    def test_pods_of_nodes_that_went_go_too(self) -> None:
        assert names(decide(make(), [node("n1")], [pod("n1"), pod("gone")]).delete) == {"agent-gone"}

    def test_a_second_pod_of_a_node_is_one_too_many(self) -> None:
        found = decide(make(), [node("n1")], [pod("n1", name="young", age=10), pod("n1", name="old", age=99)])
        assert names(found.delete) == {"young"}

    def test_a_failed_pod_is_replaced_but_not_in_a_busy_loop(self) -> None:
        found = decide(make(), [node("n1")], [pod("n1", phase="Failed")])
        assert (names(found.delete), names(found.failed)) == ({"agent-n1"}, {"agent-n1"})
        soon = decide(make(), [node("n1")], [pod("n1", phase="Failed", age=4)])
        assert (soon.delete, soon.again, soon.create) == ([], 6.0, [])

    def test_where_only_staying_is_tolerated_none_is_made(self) -> None:
        tainted = [node("n1", "a=b:NoSchedule"), node("n2", "a=b:NoSchedule")]
        found = decide(make(), tainted, [pod("n2")])
        assert (found.create, found.delete, found.status.number_misscheduled) == ([], [], 1)

    @pytest.mark.parametrize(
        ("rolling", "pods", "deleted", "created"),
        [
            ({}, [pod("n1"), pod("n2"), pod("n3")], 1, []),
            ({"maxUnavailable": 2}, [pod("n1"), pod("n2"), pod("n3")], 2, []),
            ({"maxUnavailable": "50%"}, [pod("n1"), pod("n2"), pod("n3")], 2, []),
            ({}, [pod("n1", NEW, ready=False), pod("n2"), pod("n3")], 0, []),
            ({}, [pod("n1", ready=False), pod("n2"), pod("n3")], 1, []),  # the one that serves nobody
            ({"maxSurge": 1, "maxUnavailable": 0}, [pod("n1"), pod("n2"), pod("n3")], 0, ["n1"]),
            (
                {"maxSurge": 1, "maxUnavailable": 0},
                [pod("n1"), pod("n1", NEW, name="next", ready=False), pod("n2"), pod("n3")], 0, [],
            ),
            (
                {"maxSurge": 1, "maxUnavailable": 0},
                [pod("n1"), pod("n1", NEW, name="next"), pod("n2"), pod("n3")], 1, ["n2"],
            ),
            ({"maxSurge": "100%", "maxUnavailable": 0}, [pod("n1"), pod("n2"), pod("n3")], 0, ["n1", "n2", "n3"]),
        ],
    )  # fmt: skip
    def test_a_rolling_update_takes_as_many_as_may_be_missing(
        self, rolling: Json, pods: list[Pod], deleted: int, created: list[str]
    ) -> None:
        owner = make("agent:2", updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
        found = decide(owner, list(self.NODES), pods, NEW)
        assert (len(found.delete), found.create) == (deleted, created)
        assert all(each.metadata.labels[history.HASH_LABEL] == history.digest_of(OLD) for each in found.delete)

    def test_on_delete_leaves_old_ones_alone(self) -> None:
        found = decide(make("agent:2", updateStrategy={"type": "OnDelete"}), list(self.NODES), [pod("n1")], NEW)
        assert (found.delete, found.create) == ([], ["n2", "n3"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 3), st.integers(0, 3), st.data())
def test_an_update_ends_and_never_takes_more_than_it_may(
    size: int, unavailable: int, surge: int, data: st.DataObject
) -> None:
    rolling = {"maxUnavailable": unavailable, "maxSurge": surge}
    owner = make("agent:2", updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    nodes = [node(f"n{number}") for number in range(size)]
    pods = [pod(each.metadata.name or "") for each in nodes]
    allowed = 0 if surge else unavailable or 1
    for step in range(200):
        serving = {each.spec.node_name for each in pods if each.status.conditions[0].status == "True"}
        assert size - len(serving) <= allowed
        assert len(pods) <= size + surge
        found = decide(owner, nodes, pods, NEW)
        gone = {each.metadata.uid for each in found.delete}
        pods = [each for each in pods if each.metadata.uid not in gone]
        pods += [pod(where, NEW, name=f"{where}-{step}", ready=False) for where in found.create]
        waiting = [each for each in pods if each.status.conditions[0].status != "True"]
        for each in waiting:
            if step > 50 or data.draw(st.booleans()):
                each.status.conditions[0].status = "True"
        if not gone and not found.create and not waiting:
            break
    assert {each.metadata.labels[history.HASH_LABEL] for each in pods} == {history.digest_of(NEW)}
    assert len(pods) == size


def plain_pod(name: str, where: str) -> Json:
    spec = {"containers": [{"name": "main", "image": "web:1"}], "nodeName": where}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "prod"}, "spec": spec}


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    async def test_it_follows_the_tenants_pods_from_node_to_node(self) -> None:
        async with Story(DaemonSets).running() as cluster:
            for name in ("n1", "n2"):
                await cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}, "system")
            await cluster.put(set_json())
            await settle()
            assert cluster.all("Pod") == []
            await cluster.put(plain_pod("web", "n2"))
            await settle()
            (agent,) = [each for each in cluster.all("Pod") if each["metadata"]["name"] != "web"]
            assert placement.node_of(Pod.from_dict(agent)) == "n2"
            assert cluster.find("DaemonSet", "agent")["status"]["numberReady"] == 1
            place = next(place for place in cluster.stored if place[1].name == "web")
            await cluster._delete(place, {"grace_seconds": 0})
            await settle()
            assert cluster.all("Pod") == []

    async def test_the_providers_runs_everywhere_and_rolls(self) -> None:
        async with Story(DaemonSets).running() as cluster:
            for name in ("n1", "n2", "n3"):
                await cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}, "system")
            await cluster.put(set_json(), "system")
            await settle()
            assert len(cluster.all("Pod", "system")) == 3
            await cluster.change("DaemonSet", "agent", "system", spec=set_json("agent:2")["spec"])
            await settle(120)
            assert {each["spec"]["containers"][0]["image"] for each in cluster.all("Pod", "system")} == {"agent:2"}
            assert sorted(each["revision"] for each in cluster.all("ControllerRevision", "system")) == [1, 2]
