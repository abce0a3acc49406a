"""Which nodes may take a pod. Each filter is a mask over the rows: True where the node passes.

Filters apply in the order of `STATIC_FILTERS`, then resources, then other pods (`neighbours`); a node that doesn't pass
counts for the first one that says no. Those of STATIC_FILTERS depend on the nodes only, not on what is placed on them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from hypernetes.scheduler.demands import ATTACHABLE, NODE_BYTES, PODS, Demands, Requirement, Term, Tolerance
from hypernetes.scheduler.relations import Relations
from hypernetes.scheduler.snapshot import UNSCHEDULABLE_TAINT, Amounts, Cluster, LabelColumn, Mask, NodeTaint

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"
_CORDONED = NodeTaint(UNSCHEDULABLE_TAINT, "", NO_SCHEDULE)


def schedulable(cluster: Cluster, demands: Demands) -> Mask:
    if tolerates(demands.tolerances, _CORDONED):
        return np.ones(len(cluster.names), np.bool_)
    return ~cluster.unschedulable


def untainted(cluster: Cluster, demands: Demands) -> Mask:
    mask = np.ones(len(cluster.names), np.bool_)
    for taint, tainted in cluster.taints.items():
        if taint.effect in (NO_SCHEDULE, NO_EXECUTE) and not tolerates(demands.tolerances, taint):
            mask &= ~tainted
    return mask


def selected(cluster: Cluster, demands: Demands) -> Mask:
    mask = np.ones(len(cluster.names), np.bool_)
    for requirement in demands.selector:
        mask &= meets(cluster, requirement)
    if demands.affinity is not None:
        mask &= any_matches(cluster, demands.affinity)
    return mask


def reaching(cluster: Cluster, demands: Demands) -> Mask:
    """Nodes that reach all the volumes that the pod has."""
    return _one_of_each(cluster, demands.volumes.bound)


def bindable(cluster: Cluster, demands: Demands) -> Mask:
    """Nodes on which all its other claims can get theirs."""
    return _one_of_each(cluster, demands.volumes.bindable)


def _one_of_each(cluster: Cluster, groups: tuple[tuple[Term, ...], ...]) -> Mask:
    mask = np.ones(len(cluster.names), np.bool_)
    for alternatives in groups:
        mask &= any_matches(cluster, alternatives)
    return mask


def any_matches(cluster: Cluster, alternatives: tuple[Term, ...]) -> Mask:
    matching = np.zeros(len(cluster.names), np.bool_)
    for term in alternatives:
        matching |= matches(cluster, term)
    return matching


STATIC_FILTERS: tuple[Callable[[Cluster, Demands], Mask], ...] = (schedulable, untainted, selected, reaching, bindable)


def allowed(cluster: Cluster, demands: Demands) -> Mask:
    """The nodes that pass all of STATIC_FILTERS."""
    if demands.volumes.blocked:
        return np.zeros(len(cluster.names), np.bool_)
    mask = cluster.present.copy()
    for static_filter in STATIC_FILTERS:
        mask &= static_filter(cluster, demands)
    return mask


def fitting(cluster: Cluster, vector: Amounts, rows: "list[int] | slice" = slice(None)) -> Mask:
    """Where there is room; what isn't requested may be over-committed already. `vector` as of `Cluster.vector`."""
    wanted = vector > 0
    room = cluster.allocatable[rows][:, wanted] - cluster.used[rows][:, wanted]
    return np.asarray((room >= vector[wanted]).all(axis=1))


def by_neighbours(cluster: Cluster, demands: Demands, tenant: str, relations: Relations) -> Iterator[tuple[str, Mask]]:
    """(why others don't, nodes that pass) of each filter that looks at the pods that are there."""
    affine, bearable = selected(cluster, demands), untainted(cluster, demands)
    return cluster.neighbours.filters(cluster, tenant, relations, affine, bearable)


def explain(cluster: Cluster, demands: Demands, further: Iterable[tuple[str, Mask]] = ()) -> str:
    """Why no node takes the pod, in the words that users know from Kubernetes. `further`: as of `by_neighbours`."""
    total = int(cluster.present.sum())
    if not total:
        return "no nodes available to schedule pods"
    if demands.volumes.blocked:
        return f"0/{total} nodes are available: {demands.volumes.blocked}."
    reasons: Counter[str] = Counter()
    left = cluster.present.copy()
    for static_filter in STATIC_FILTERS:
        passed = static_filter(cluster, demands)
        if static_filter is untainted:
            reasons.update(_taint_reasons(cluster, demands, left & ~passed))
        else:
            reasons[_REASONS[static_filter]] += int((left & ~passed).sum())
        left &= passed
    vector, unknown = cluster.vector(demands.requests)
    short = cluster.allocatable[left] - cluster.used[left] < vector
    for resource, column in cluster.resources.items():
        if vector[column] > 0:
            reason = _SHORT.get(resource) or f"Insufficient {resource}"
            if resource.startswith(ATTACHABLE):
                reason = "node(s) exceed max volume count"
            reasons[reason] += int(short[:, column].sum())
    for resource in unknown:
        reasons[f"Insufficient {resource}"] += int(left.sum())
    left &= fitting(cluster, vector) if not unknown else False
    for reason, passed in further:
        reasons[reason] += int((left & ~passed).sum())
        left &= passed
    counted = sorted(f"{count} {reason}" for reason, count in reasons.items() if count)
    return f"0/{total} nodes are available: {', '.join(counted)}."


_SHORT = {PODS: "Too many pods", NODE_BYTES: "node(s) did not have enough free storage"}
_REASONS: dict[Callable[[Cluster, Demands], Mask], str] = {
    schedulable: "node(s) were unschedulable",
    selected: "node(s) didn't match Pod's node affinity/selector",
    reaching: "node(s) had volume node affinity conflict",
    bindable: "node(s) didn't find available persistent volumes to bind",
}


def _taint_reasons(cluster: Cluster, demands: Demands, refused: Mask) -> Counter[str]:
    """Each refused node counts for one of its taints."""
    reasons: Counter[str] = Counter()
    left = refused.copy()
    for taint, tainted in cluster.taints.items():
        if taint.effect in (NO_SCHEDULE, NO_EXECUTE) and not tolerates(demands.tolerances, taint):
            reasons[f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"] += int((left & tainted).sum())
            left &= ~tainted
    return reasons


def tolerates(tolerances: tuple[Tolerance, ...], taint: NodeTaint) -> bool:
    return any(
        tolerance.key in (None, taint.key)
        and tolerance.value in (None, taint.value)
        and tolerance.effect in (None, taint.effect)
        for tolerance in tolerances
    )


def matches(cluster: Cluster, term: Term) -> Mask:
    mask = np.full(len(cluster.names), bool(term))
    for requirement in term:
        mask &= meets(cluster, requirement)
    return mask


def meets(cluster: Cluster, requirement: Requirement) -> Mask:
    column = _column_of(cluster, requirement)
    if column is None:
        return np.full(len(cluster.names), requirement.operator in ("NotIn", "DoesNotExist"))
    numbers = column.numbers
    match requirement.operator:
        case "Exists":
            return numbers >= 0
        case "DoesNotExist":
            return numbers < 0
        case "In":
            return np.isin(numbers, _numbers(column, requirement))
        case "NotIn":
            return ~np.isin(numbers, _numbers(column, requirement))
    return np.isin(numbers, _comparing(column, requirement))


def _column_of(cluster: Cluster, requirement: Requirement) -> LabelColumn | None:
    if requirement.field:
        return cluster.node_names if requirement.key == "metadata.name" else None
    return cluster.labels.get(requirement.key)


def _numbers(column: LabelColumn, requirement: Requirement) -> list[int]:
    return [column.values[value] for value in requirement.values if value in column.values]


def _comparing(column: LabelColumn, requirement: Requirement) -> list[int]:
    """The numbers of the values above (Gt) or below (Lt) the bound; text that is no integer compares with nothing."""
    bound = _integer(requirement.values[0]) if requirement.values else None
    if bound is None:
        return []
    integers = ((number, _integer(value)) for value, number in column.values.items())
    if requirement.operator == "Gt":
        return [number for number, value in integers if value is not None and value > bound]
    return [number for number, value in integers if value is not None and value < bound]


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
