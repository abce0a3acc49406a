"""Where pods go because of other pods: tables after the documentation of affinity between pods and of topology spread
constraints, and a comparison with counting pod by pod."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import selectors
from hypernetes.api.models.core_v1 import Pod
from hypernetes.scheduler import relations
from hypernetes.scheduler.cycle import Cycle, Verdict
from hypernetes.scheduler.demands import of_pod
from hypernetes.scheduler.snapshot import Cluster, NodeFacts, Placement
from tests.unit.scheduler.making import node, pod

ZONES = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "bare": None}
Spec = dict[str, Any]


def cluster_of_zones(**more: Any) -> Cluster:
    """a1 and a2 in the zone a, b1 and b2 in b, bare in none."""
    cluster = Cluster()
    for name, zone in ZONES.items():
        labels = {"host": name, **({"zone": zone} if zone else {})}
        cluster.set_node(name, NodeFacts.of(node(name, labels=labels, **more.get(name, {}))))
    return cluster


def labelled(name: str, labels: dict[str, str], namespace: str = "web", *, going: bool = False, **spec: Any) -> Pod:
    value = pod(name, **spec).to_dict()
    value["metadata"].update(labels=labels, namespace=namespace)
    if going:
        value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Pod.from_dict(value)


def put(cluster: Cluster, each: Pod, on: str, tenant: str = "acme") -> None:
    demands = of_pod(each)
    key = (tenant, each.metadata.namespace, each.metadata.name)
    cluster.place(key, Placement(on, tenant, demands.requests, 0, relations.of_pod(each)))


def decide(cluster: Cluster, each: Pod, tenant: str = "acme") -> Verdict:
    return Cycle(cluster).decide(of_pod(each), tenant, relations.of_pod(each))


def term(app: str | None = "db", topology: str = "zone", **more: Any) -> Spec:
    selector = {} if app is None else {"labelSelector": {"matchLabels": {"app": app}}}
    return {"topologyKey": topology, **selector, **more}


def affinity(kind: str, *terms: Spec, weight: int = 0) -> Spec:
    if weight:
        wished = [{"weight": weight, "podAffinityTerm": each} for each in terms]
        return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": wished}}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}}


def spread(skew: int = 1, topology: str = "zone", when: str = "DoNotSchedule", **more: Any) -> Spec:
    selector = {"matchLabels": {"app": "web"}}
    constraint = {"maxSkew": skew, "topologyKey": topology, "whenUnsatisfiable": when, "labelSelector": selector}
    return {"topologySpreadConstraints": [{**constraint, **more}]}


def where(cluster: Cluster, each: Pod) -> set[str]:
    """All nodes that would take it: found by filling those that do."""
    found: set[str] = set()
    while (chosen := decide(cluster, each).node) is not None:
        found.add(chosen)
        cluster.set_node(chosen, NodeFacts.of(node(chosen, labels=_labels(chosen), pods="0")))
    return found


def _labels(name: str) -> dict[str, str]:
    return {"host": name, **({"zone": ZONES[name]} if ZONES[name] else {})}  # type: ignore[dict-item]


class TestAffinity:
    @pytest.mark.parametrize(
        ("terms", "allowed"),
        [
            ([term()], {"a1", "a2"}),
            ([term(topology="host")], {"a1"}),
            ([term(), term("cache")], set()),  # one pod must be what all terms mean
            ([term("none")], set()),
            ([term(None)], set()),  # without a selector no pod is meant
            ([term(namespaces=["other"])], {"b1", "b2"}),
            ([term(namespaces=["other", "web"])], {"a1", "a2", "b1", "b2"}),
            ([term(namespaceSelector={})], {"a1", "a2", "b1", "b2"}),
            ([term(namespaceSelector={"matchLabels": {"team": "x"}})], {"b1", "b2"}),
        ],
    )
    def test_a_pod_goes_where_such_pods_are(self, terms: list[Spec], allowed: set[str]) -> None:
        cluster = cluster_of_zones()
        cluster.neighbours.set_namespace("acme", "web", {})
        cluster.neighbours.set_namespace("acme", "other", {"team": "x"})
        put(cluster, labelled("db", {"app": "db"}), "a1")
        put(cluster, labelled("db", {"app": "db"}, "other"), "b1")
        put(cluster, labelled("cache", {"app": "cache"}), "b1")
        put(cluster, labelled("theirs", {"app": "none"}), "b1", "globex")
        assert where(cluster, labelled("p", {}, **affinity("podAffinity", *terms))) == allowed

    def test_the_first_of_those_that_want_to_be_together_begins_where_there_is_a_topology(self) -> None:
        cluster = cluster_of_zones()
        together = affinity("podAffinity", term("web"))
        first = labelled("web-0", {"app": "web"}, **together)
        assert where(cluster_of_zones(), first) == {"a1", "a2", "b1", "b2"}
        put(cluster, first, "b2")
        assert where(cluster, labelled("web-1", {"app": "web"}, **together)) == {"b1", "b2"}

    def test_why_not_is_said(self) -> None:
        verdict = decide(cluster_of_zones(), labelled("p", {}, **affinity("podAffinity", term())))
        assert verdict.message == "0/5 nodes are available: 5 node(s) didn't match pod affinity rules."

    @pytest.mark.parametrize(("weight", "kind", "zone"), [(10, "podAffinity", "b"), (10, "podAntiAffinity", "a")])
    def test_what_is_preferred_decides_and_forbids_nothing(self, weight: int, kind: str, zone: str) -> None:
        cluster = cluster_of_zones()
        put(cluster, labelled("db", {"app": "db"}), "b1")
        cluster.remove_node("bare")
        preferring = labelled("p", {}, **affinity(kind, term(), weight=weight))
        assert ZONES[str(decide(cluster, preferring).node)] == zone
        assert where(cluster, preferring) == {"a1", "a2", "b1", "b2"}

    def test_a_pod_that_is_wanted_by_others_goes_to_them(self) -> None:
        cluster = cluster_of_zones()
        put(cluster, labelled("fond", {}, **affinity("podAffinity", term("web"), weight=5)), "b1")
        assert ZONES[str(decide(cluster, labelled("web", {"app": "web"})).node)] == "b"


class TestAntiAffinity:
    def test_a_pod_keeps_away_and_nodes_without_the_label_are_in_no_domain(self) -> None:
        cluster = cluster_of_zones()
        put(cluster, labelled("db", {"app": "db"}), "a1")
        away = labelled("p", {}, **affinity("podAntiAffinity", term()))
        assert where(cluster, away) == {"b1", "b2", "bare"}

    def test_others_that_keep_away_are_respected(self) -> None:
        cluster = cluster_of_zones()
        put(cluster, labelled("db", {}, **affinity("podAntiAffinity", term("web"))), "a1")
        put(cluster, labelled("theirs", {}, **affinity("podAntiAffinity", term("web"))), "b1", "globex")
        assert where(cluster, labelled("p", {"app": "web"})) == {"b1", "b2", "bare"}
        assert where(cluster, labelled("p", {"app": "else"})) <= set(ZONES)

    def test_one_on_each_node_and_the_next_is_told_why(self) -> None:
        cluster = cluster_of_zones()
        apart = affinity("podAntiAffinity", term("web", topology="host"))
        nodes = set()
        for number in range(5):
            each = labelled(f"web-{number}", {"app": "web"}, **apart)
            chosen = decide(cluster, each).node
            assert chosen is not None
            nodes.add(chosen)
            put(cluster, each, chosen)
        assert nodes == set(ZONES)
        assert decide(cluster, labelled("web-5", {"app": "web"}, **apart)).message == (
            "0/5 nodes are available: 5 node(s) didn't match pod anti-affinity rules."
        )
        assert decide(cluster, labelled("web-5", {"app": "web"})).message == (
            "0/5 nodes are available: 5 node(s) didn't satisfy existing pods anti-affinity rules."
        )
        cluster.remove(("acme", "web", "web-3"))
        assert decide(cluster, labelled("web-5", {"app": "web"}, **apart)).node is not None


class TestSpreading:
    @pytest.mark.parametrize(
        ("constraint", "allowed"),
        [
            (spread(), {"b1", "b2"}),
            (spread(2), {"a1", "a2", "b1", "b2"}),
            (spread(topology="host"), {"a2", "b2", "bare"}),
            (spread(topology="host", skew=3), set(ZONES)),
            (spread(minDomains=2), {"b1", "b2"}),
            (spread(2, minDomains=3), {"b1", "b2"}),  # fewer domains: the least counts as none
            (spread(minDomains=3), set()),
            # b is out of reach: by default the least of a alone counts, else also that of b, which has fewer
            ({**spread(), "nodeSelector": {"zone": "a"}}, {"a1", "a2"}),
            ({**spread(nodeAffinityPolicy="Ignore"), "nodeSelector": {"zone": "a"}}, set()),
        ],
    )
    def test_no_domain_has_more_than_the_least_and_the_skew(self, constraint: Spec, allowed: set[str]) -> None:
        cluster = cluster_of_zones()
        put(cluster, labelled("one", {"app": "web"}), "a1")
        put(cluster, labelled("two", {"app": "web"}), "a1")
        put(cluster, labelled("three", {"app": "web"}), "b1")
        put(cluster, labelled("going", {"app": "web"}, going=True), "b1")  # counts no more
        put(cluster, labelled("elsewhere", {"app": "web"}, "other"), "b1")
        put(cluster, labelled("theirs", {"app": "web"}), "b1", "globex")
        assert where(cluster, labelled("p", {"app": "web"}, **constraint)) == allowed

    @pytest.mark.parametrize(("policy", "allowed"), [("Ignore", set()), ("Honor", {"a1", "a2"})])
    def test_tainted_nodes_count_if_the_policy_says_so(self, policy: str, allowed: set[str]) -> None:
        taint = {"taints": [{"key": "gpu", "value": "", "effect": "NoSchedule"}]}
        cluster = cluster_of_zones(b1=taint, b2=taint)
        put(cluster, labelled("one", {"app": "web"}), "a1")
        assert where(cluster, labelled("p", {"app": "web"}, **spread(nodeTaintsPolicy=policy))) == allowed

    def test_why_not_is_said(self) -> None:
        cluster = cluster_of_zones()
        put(cluster, labelled("one", {"app": "web"}), "a1")
        each = labelled("p", {"app": "web"}, nodeSelector={"zone": "a"}, **spread(nodeAffinityPolicy="Ignore"))
        assert decide(cluster, each).message == (
            "0/5 nodes are available: 2 node(s) didn't match pod topology spread constraints, "
            "3 node(s) didn't match Pod's node affinity/selector."
        )
        unlabelled = labelled("p", {"app": "web"}, **spread(topology="rack"))
        assert decide(cluster, unlabelled).message == (
            "0/5 nodes are available: 5 node(s) didn't match pod topology spread constraints (missing required label)."
        )

    def test_schedule_anyway_prefers_the_emptier_domain_only(self) -> None:
        cluster = cluster_of_zones()
        for number in range(3):
            put(cluster, labelled(f"web-{number}", {"app": "web"}), "a1" if number else "a2")
        wishing = labelled("p", {"app": "web"}, **spread(when="ScheduleAnyway"))
        assert ZONES[str(decide(cluster, wishing).node)] == "b"
        assert where(cluster, wishing) == set(ZONES)


def test_counts_follow_nodes_that_come_go_and_are_labelled_anew() -> None:
    cluster = cluster_of_zones()
    put(cluster, labelled("db", {"app": "db"}), "a1")
    near = labelled("p", {}, **affinity("podAffinity", term()))
    cycle = Cycle(cluster)

    def chosen() -> str | None:
        return cycle.decide(of_pod(near), "acme", relations.of_pod(near)).node

    assert chosen() in ("a1", "a2")
    cluster.set_node("a1", NodeFacts.of(node("a1", labels={"host": "a1", "zone": "b"})))
    assert chosen() in ("a1", "b1", "b2")
    cluster.remove_node("a1")
    assert chosen() is None
    cluster.set_node("a1", NodeFacts.of(node("a1", labels={"host": "a1", "zone": "a"})))
    assert chosen() in ("a1", "a2")
    cluster.remove(("acme", "web", "db"))
    assert chosen() is None


APPS = st.sampled_from(["web", "db"])


@given(
    st.lists(st.tuples(APPS, st.sampled_from(sorted(ZONES)), st.booleans(), st.booleans()), max_size=12),
    APPS,
    st.sampled_from(["zone", "host"]),
)
def test_the_masks_are_what_counting_pod_by_pod_gives(
    placed: list[tuple[str, str, bool, bool]], own: str, topology: str
) -> None:
    """Of each placed pod: its app, node, whether it keeps away from `web`, whether it is gone again."""
    cluster = cluster_of_zones()
    apart = affinity("podAntiAffinity", term("web", topology))
    there: list[tuple[str, str, bool]] = []
    each = labelled("p", {"app": own}, **apart, **spread(topology=topology))
    for number, (app, on, shy, gone) in enumerate(placed):
        put(cluster, labelled(f"p{number}", {"app": app}, **(apart if shy else {})), on)
        decide(cluster, each)  # answers are kept from here on
        if gone:
            cluster.remove(("acme", "web", f"p{number}"))
        else:
            there.append((app, on, shy))

    def domain(name: str) -> str | None:
        return name if topology == "host" else ZONES[name]

    webs = {d: sum(app == "web" and domain(on) == d for app, on, _ in there) for d in map(domain, ZONES) if d}
    allowed = set()
    for name in ZONES:
        mine = domain(name)
        if mine is None:
            continue  # the spread needs the label
        skewed = webs[mine] + (own == "web") - min(webs.values()) > 1
        shunned = own == "web" and any(shy and domain(on) == mine for _, on, shy in there)
        if not skewed and not webs[mine] and not shunned:
            allowed.add(name)
    assert where(cluster, each) == allowed


def test_selectors_mean_what_they_mean_elsewhere() -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}
    found = relations.of_pod(labelled("p", {}, **affinity("podAffinity", {**term(None), "labelSelector": selector})))
    assert found.near[0].selector == selectors.requirements_of(selector)
