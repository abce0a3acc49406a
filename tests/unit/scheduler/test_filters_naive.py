"""The filters for all nodes at once against one that looks at each node as a person would; and: never too much."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.scheduler import filters
from hypernetes.scheduler.cycle import Cycle
from hypernetes.scheduler.demands import of_pod, requests
from hypernetes.scheduler.snapshot import Cluster, NodeFacts, Placement
from tests.unit.scheduler.making import node, pod

_EFFECTS = ["NoSchedule", "NoExecute", "PreferNoSchedule"]
_KEYS, _VALUES = st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "1", "2", "10", "x"])
_TAINTS = st.lists(
    st.fixed_dictionaries({"key": _KEYS, "value": _VALUES, "effect": st.sampled_from(_EFFECTS)}), max_size=2
)
_NODES = st.lists(
    st.builds(
        dict,
        labels=st.dictionaries(_KEYS, _VALUES),
        taints=_TAINTS,
        unschedulable=st.booleans(),
        cpu=st.integers(0, 6).map(str),
        pods=st.integers(0, 4).map(str),
    ),
    max_size=8,
)
_EXPRESSIONS = st.lists(
    st.fixed_dictionaries(
        {
            "key": _KEYS,
            "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
            "values": st.lists(_VALUES, min_size=1, max_size=2),
        }
    ),
    max_size=2,
)
_TERMS = st.none() | st.lists(st.fixed_dictionaries({"matchExpressions": _EXPRESSIONS}), max_size=2)
_TOLERATIONS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "key": _KEYS,
            "operator": st.sampled_from(["Exists", "Equal"]),
            "value": _VALUES,
            "effect": st.sampled_from(_EFFECTS),
        },
    ).filter(lambda toleration: "key" in toleration or toleration.get("operator") == "Exists"),
    max_size=2,
)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    spec: dict[str, Any] = {"tolerations": draw(_TOLERATIONS)}
    if (terms := draw(_TERMS)) is not None:
        required = {"nodeSelectorTerms": terms}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    spec["nodeSelector"] = draw(st.dictionaries(_KEYS, _VALUES, max_size=1))
    return pod(cpu=f"{draw(st.sampled_from([0, 500, 1000, 2500]))}m", **spec)


def _is_integer(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _meets(labels: dict[str, str], expression: Any) -> bool:
    value, wanted = labels.get(expression.key), expression.values
    match expression.operator:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    if value is None or not _is_integer(value) or not _is_integer(wanted[0]):
        return False
    return int(value) > int(wanted[0]) if expression.operator == "Gt" else int(value) < int(wanted[0])


def _tolerated(each: Pod, key: str, value: str, effect: str) -> bool:
    for toleration in each.spec.tolerations:
        if toleration.effect and toleration.effect != effect:
            continue
        if toleration.key and toleration.key != key:
            continue
        if toleration.operator == "Exists" or (toleration.value or "") == value:
            return True
    return False


def passes(each: Pod, on: Node) -> bool:
    labels = on.metadata.labels
    if on.spec.unschedulable and not _tolerated(each, "node.kubernetes.io/unschedulable", "", "NoSchedule"):
        return False
    for taint in on.spec.taints:
        if taint.effect != "PreferNoSchedule" and not _tolerated(each, taint.key, taint.value or "", taint.effect):
            return False
    if any(labels.get(key) != value for key, value in each.spec.node_selector.items()):
        return False
    affinity = each.spec.affinity
    if affinity and affinity.node_affinity:
        required = affinity.node_affinity.required_during_scheduling_ignored_during_execution
        assert required is not None
        terms = [term.match_expressions for term in required.node_selector_terms]
        return any(term and all(_meets(labels, expression) for expression in term) for term in terms)
    return True


def _room(on: Node, there: list[Pod], each: Pod) -> bool:
    used = [requests(other) for other in there]
    facts = dict(NodeFacts.of(on).allocatable)
    return all(
        sum(other.get(resource, 0) for other in used) + wanted <= facts.get(resource, 0)
        for resource, wanted in requests(each).items()
    )


def build(specs: list[dict[str, Any]]) -> tuple[Cluster, dict[str, Node]]:
    cluster, nodes = Cluster(), {}
    for n, spec in enumerate(specs):
        nodes[f"n{n}"] = node(f"n{n}", **spec)
        cluster.set_node(f"n{n}", NodeFacts.of(nodes[f"n{n}"]))
    return cluster, nodes


@settings(max_examples=200, deadline=None, derandomize=True)
@given(specs=_NODES, each=pods(), removed=st.sets(st.integers(0, 7), max_size=3))
def test_the_mask_is_what_looking_at_each_node_gives(specs: list[dict[str, Any]], each: Pod, removed: set[int]) -> None:
    cluster, nodes = build(specs)
    for n in removed:
        cluster.remove_node(f"n{n}")
        nodes.pop(f"n{n}", None)
    mask = filters.allowed(cluster, of_pod(each))
    allowed = {cluster.names[row] for row in range(len(mask)) if mask[row]}
    assert allowed == {name for name, on in nodes.items() if passes(each, on)}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(specs=_NODES, waiting=st.lists(pods(), max_size=20), leaves=st.lists(st.integers(0, 19)))
def test_pods_go_where_they_may_and_no_node_is_overcommitted(
    specs: list[dict[str, Any]], waiting: list[Pod], leaves: list[int]
) -> None:
    cluster, nodes = build(specs)
    cycle = Cycle(cluster)
    placed: dict[str, dict[int, Pod]] = {name: {} for name in nodes}
    for n, each in enumerate(waiting):
        verdict = cycle.decide(of_pod(each))
        able = [name for name, on in nodes.items() if passes(each, on) and _room(on, list(placed[name].values()), each)]
        if verdict.node is None:
            assert able == []
        else:
            assert verdict.node in able
            cluster.place(n, Placement(verdict.node, "acme", of_pod(each).requests))
            placed[verdict.node][n] = each
        if n < len(leaves):
            cluster.remove(leaves[n])
            for there in placed.values():
                there.pop(leaves[n], None)
