"""Where pods go, and what users are told when they go nowhere."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.scheduler.cycle import Cycle, Verdict
from hypernetes.scheduler.demands import of_pod
from hypernetes.scheduler.snapshot import Cluster, NodeFacts, Placement
from tests.unit.scheduler.making import node, pod


def cluster_of(*nodes: Node) -> Cluster:
    cluster = Cluster()
    for each in nodes:
        cluster.set_node(str(each.metadata.name), NodeFacts.of(each))
    return cluster


def decide(cluster: Cluster, each: Pod) -> Verdict:
    return Cycle(cluster).decide(of_pod(each))


def put(cluster: Cluster, each: Pod, on: str, tenant: str = "acme") -> None:
    cluster.place(each.metadata.name, Placement(on, tenant, of_pod(each).requests))


def test_without_nodes_there_is_none_to_say_more_about() -> None:
    assert decide(Cluster(), pod()) == Verdict(None, "no nodes available to schedule pods")


def test_a_pod_that_is_too_large_is_told_of_what() -> None:
    cluster = cluster_of(node("n1", memory="1Gi"))
    assert decide(cluster, pod(memory="2Gi")).message == "0/1 nodes are available: 1 Insufficient memory."


def test_each_reason_is_counted_and_a_node_may_lack_several_resources() -> None:
    cluster = cluster_of(
        node("full", pods="0"),
        node("small", cpu="1", memory="1Gi"),
        node("cordoned", unschedulable=True),
        node("tainted", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
        node("elsewhere", labels={"zone": "b"}),
        node("unready", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]),
    )
    for name in ("full", "small"):
        facts = node(name, cpu="1", memory="1Gi", pods="0" if name == "full" else "9", labels={"zone": "a"})
        cluster.set_node(name, NodeFacts.of(facts))
    assert decide(cluster, pod(cpu="2", memory="2Gi", nodeSelector={"zone": "a"})).message == (
        "0/6 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {gpu: yes}, "
        "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, "
        "1 node(s) were unschedulable, 2 Insufficient cpu, 2 Insufficient memory."
    )


def test_a_resource_that_no_node_has_is_insufficient_everywhere_and_adds_nothing() -> None:
    cluster = cluster_of(node("n1"), node("n2"))
    for n in range(50):
        message = decide(cluster, pod(requests={f"example.com/{n}": "1"})).message
        assert message == f"0/2 nodes are available: 2 Insufficient example.com/{n}."
    assert len(cluster.resources) == 3


def test_a_pod_goes_where_most_is_left() -> None:
    cluster = cluster_of(node("n1"), node("n2"), node("n3"))
    put(cluster, pod("a", cpu="1", memory="1Gi"), "n1")
    put(cluster, pod("b", cpu="2", memory="2Gi"), "n2")
    put(cluster, pod("c", cpu="1500m", memory="1500Mi"), "n3")
    assert decide(cluster, pod("d", cpu="1", memory="1Gi")).node == "n1"


def test_pods_without_requests_spread_too() -> None:
    cluster, cycle = cluster_of(node("n1"), node("n2"), node("n3")), None
    cycle = Cycle(cluster)
    placed = []
    for n in range(6):
        verdict = cycle.decide(of_pod(pod()))
        assert verdict.node is not None
        placed.append(verdict.node)
        put(cluster, pod(str(n)), verdict.node)
    assert sorted(placed) == ["n1", "n1", "n2", "n2", "n3", "n3"]


def test_a_node_that_prefers_to_be_left_alone_is_taken_last() -> None:
    reluctant = {"key": "spare", "effect": "PreferNoSchedule"}
    cluster = cluster_of(node("n1", taints=[reluctant]), node("n2", cpu="2", memory="4Gi"))
    assert decide(cluster, pod(cpu="1", memory="1Gi")).node == "n2"
    assert decide(cluster, pod(cpu="3")).node == "n1"
    assert decide(cluster, pod(cpu="1", tolerations=[{"key": "spare", "operator": "Exists"}])).node == "n1"


def test_a_preferred_affinity_is_preferred_but_not_required() -> None:
    preference = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    term = [{"weight": 50, "preference": preference}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": term}}
    cluster = cluster_of(node("n1"), node("n2", cpu="2", labels={"disk": "ssd"}))
    assert decide(cluster, pod(cpu="1", affinity=affinity)).node == "n2"
    assert decide(cluster, pod(cpu="3", affinity=affinity)).node == "n1"


@pytest.mark.parametrize(
    ("taint", "toleration", "tolerated"),
    [
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, {"key": "a", "operator": "Equal", "value": "1"}, True),
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, {"key": "a", "value": "2"}, False),
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, {"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "effect": "NoSchedule"}, {"key": "a"}, True),
        ({"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoSchedule"}, False),
        ({"key": "a", "effect": "NoSchedule"}, {"operator": "Exists"}, True),
        ({"key": "a", "effect": "PreferNoSchedule"}, {"key": "b"}, True),
    ],
)
def test_taints_and_tolerations(taint: dict[str, str], toleration: dict[str, str], tolerated: bool) -> None:
    verdict = decide(cluster_of(node("n1", taints=[taint])), pod(tolerations=[toleration]))
    assert (verdict.node == "n1") is tolerated


def test_a_cordoned_node_takes_what_tolerates_it() -> None:
    cluster = cluster_of(node("n1", unschedulable=True))
    tolerations = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]
    assert decide(cluster, pod()).node is None
    assert decide(cluster, pod(tolerations=tolerations)).node == "n1"


@pytest.mark.parametrize(
    ("terms", "chosen"),
    [
        ([], None),
        ([{}], None),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}], "n2"),
        ([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["8"]}]}], "n2"),
        ([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["8"]}]}], "n1"),
        ([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["x"]}]}], None),
        ([{"matchExpressions": [{"key": "gone", "operator": "Exists"}]}, {}], None),
        ([{"matchExpressions": [{"key": "cores", "operator": "NotIn", "values": ["4"]}]}], "n2"),
        ([{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}], "n1"),
        ([{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}], "n2"),
    ],
)
def test_a_required_affinity_needs_one_of_its_terms(terms: list[dict[str, Any]], chosen: str | None) -> None:
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    cluster = cluster_of(node("n1", labels={"cores": "4", "gpu": ""}), node("n2", labels={"cores": "16"}))
    assert decide(cluster, pod(affinity=affinity)).node == chosen


def test_the_pods_of_a_node_that_comes_back_still_count() -> None:
    cluster = cluster_of(node("n1"))
    put(cluster, pod("a", cpu="3"), "n1")
    cluster.remove_node("n1")
    assert decide(cluster, pod(cpu="2")).message == "no nodes available to schedule pods"
    cluster.set_node("n1", NodeFacts.of(node("n1")))
    assert decide(cluster, pod(cpu="2")).node is None
    cluster.remove("a")
    assert decide(cluster, pod(cpu="2")).node == "n1"


def test_pods_seen_before_their_node_count_when_it_comes() -> None:
    cluster = Cluster()
    put(cluster, pod("a", requests={"example.com/gpu": "1"}), "n1")
    cluster.set_node("n1", NodeFacts.of(node("n1", resources={"example.com/gpu": "1"})))
    assert decide(cluster, pod(requests={"example.com/gpu": "1"})).node is None


def test_a_node_that_grows_takes_more_at_once() -> None:
    cluster = cluster_of(node("n1", cpu="1"))
    cycle = Cycle(cluster)
    assert cycle.decide(of_pod(pod(cpu="2"))).node is None
    cluster.set_node("n1", NodeFacts.of(node("n1", cpu="2")))
    assert cycle.decide(of_pod(pod(cpu="2"))).node == "n1"


def test_the_dominant_share_is_the_larger_of_cpu_and_memory() -> None:
    cluster = cluster_of(node("n1", cpu="4", memory="8Gi"), node("n2", cpu="4", memory="8Gi"))
    put(cluster, pod("a", cpu="2", memory="1Gi"), "n1", "acme")
    put(cluster, pod("b", cpu="1", memory="8Gi"), "n2", "globex")
    assert cluster.dominant_share("acme") == 0.25
    assert cluster.dominant_share("globex") == 0.5
    cluster.remove("b")
    assert cluster.dominant_share("globex") == 0.0
