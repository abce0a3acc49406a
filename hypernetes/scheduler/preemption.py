"""Which pods give way to one of higher priority: of its own tenant, and none more than it takes.

On a node everything of lower priority is taken away, in thought; if the pod fits then, what needn't go comes back, the
most important first. Of the nodes, the one is chosen on which the least is lost: budgets kept, then the lowest
priorities, then the fewest pods. Pods that are on their way out anyway cost nothing: for them it is waited.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from hypernetes.scheduler import filters
from hypernetes.scheduler.demands import Demands
from hypernetes.scheduler.relations import Relations
from hypernetes.scheduler.snapshot import Amounts, Cluster, Mask, Placement

_LONGEST_SECONDS, _BETTER_SECONDS = 1.0, 0.05  # of looking for any node, and for a better one
_CANDIDATES = 100  # nodes that are looked at closely; upstream's number


@dataclass(frozen=True, slots=True)
class Preemption:
    node: str
    victims: tuple[Hashable, ...]  # none where it is enough to wait for what goes anyway


@dataclass(frozen=True, slots=True)
class Preemptor:
    tenant: str
    priority: int
    demands: Demands
    relations: Relations | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cluster doesn't know of the pods on it."""

    movable: Callable[[Hashable], bool]  # whether it may be told to go, or does already
    going: Callable[[Hashable], bool]
    protected: Callable[[Hashable], bool]  # by a budget that allows no disruption now


def preempt(cluster: Cluster, preemptor: Preemptor, lookup: Lookup) -> Preemption | None:
    """None where no room can be made. Leaves the cluster as it is."""
    lower = [
        (pod, placement)
        for pod, placement in cluster.lower(preemptor.tenant, preemptor.priority)
        if placement.node in cluster.rows and lookup.movable(pod)
    ]
    vector, unknown = cluster.vector(preemptor.demands.requests)
    if not lower or unknown:
        return None
    by_row: dict[int, list[tuple[Hashable, Placement]]] = {}
    freed = np.zeros_like(cluster.used)
    for pod, placement in lower:
        row = cluster.rows[placement.node]
        by_row.setdefault(row, []).append((pod, placement))
        freed[row] += cluster.vector(placement.requests)[0]
    wanted = vector > 0
    enough = ((cluster.allocatable - cluster.used + freed)[:, wanted] >= vector[wanted]).all(axis=1)
    possible: Mask = filters.allowed(cluster, preemptor.demands) & enough
    best: tuple[tuple[int, int, int, int], Preemption] | None = None
    begun = time.perf_counter()
    for row in [row for row in sorted(by_row) if possible[row]][:_CANDIDATES]:
        if time.perf_counter() - begun > (_LONGEST_SECONDS if best is None else _BETTER_SECONDS):
            break  # what a tenant's pods ask of each other must not keep the others waiting
        victims = _victims(cluster, preemptor, vector, row, by_row[row], lookup)
        if victims is None:
            continue
        new = [(pod, placement) for pod, placement in victims if not lookup.going(pod)]
        loss = (
            sum(lookup.protected(pod) for pod, _ in new),
            max((placement.priority for _, placement in new), default=-(2**62)),
            sum(placement.priority for _, placement in new),
            len(new),
        )
        if best is None or loss < best[0]:
            best = loss, Preemption(cluster.names[row], tuple(pod for pod, _ in new))
    return best[1] if best is not None else None


def _victims(
    cluster: Cluster, preemptor: Preemptor, vector: Amounts, row: int, lower: list[tuple[Hashable, Placement]],
    lookup: Lookup,
) -> list[tuple[Hashable, Placement]] | None:  # fmt: skip
    """Those of `lower` that must go; None where even without all of them there is no room."""
    try:
        for pod, _ in lower:
            cluster.remove(pod)
        if not _fits(cluster, preemptor, vector, row):
            return None
        victims = []
        # What goes anyway comes back last: it is of no use to keep it. Of the others, those that budgets protect first.
        order = sorted(
            lower, key=lambda each: (lookup.going(each[0]), not lookup.protected(each[0]), -each[1].priority)
        )
        for pod, placement in order:
            cluster.place(pod, placement)
            if not _fits(cluster, preemptor, vector, row):
                cluster.remove(pod)
                victims.append((pod, placement))
        return victims
    finally:
        for pod, placement in lower:
            cluster.place(pod, placement)


def _fits(cluster: Cluster, preemptor: Preemptor, vector: Amounts, row: int) -> bool:
    if not filters.fitting(cluster, vector, [row])[0]:
        return False
    if preemptor.relations is None:
        return True
    masks = filters.by_neighbours(cluster, preemptor.demands, preemptor.tenant, preemptor.relations)
    return all(mask[row] for _, mask in masks)
