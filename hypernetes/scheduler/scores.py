"""Which of the nodes that may take a pod is best: a number per row, more is better.

Weights are upstream's defaults (DefaultPreemption aside, which picks no node).
"""

import numpy as np
import numpy.typing as npt

from hypernetes.scheduler.demands import CPU, MEMORY, Demands
from hypernetes.scheduler.filters import PREFER_NO_SCHEDULE, matches, tolerates
from hypernetes.scheduler.snapshot import Amounts, Cluster, Mask

Scores = npt.NDArray[np.float64]

_HIGHEST = 100.0
_TAINT_WEIGHT, _AFFINITY_WEIGHT = 3.0, 2.0


def by_room(cluster: Cluster, wanted: Amounts, rows: "list[int] | slice" = slice(None)) -> Scores:
    """Prefers nodes with much of cpu and memory left, and those left with both in proportion.

    `wanted` is cpu and memory, as of `snapshot.scored`.
    """
    columns = [cluster.resources[CPU], cluster.resources[MEMORY]]
    available = np.maximum(cluster.allocatable[rows][:, columns], 1)
    taken = np.minimum((cluster.scored[rows] + wanted) / available, 1.0)
    least_allocated = _HIGHEST * (1.0 - taken.mean(axis=1))
    balanced = _HIGHEST * (1.0 - np.abs(taken[:, 0] - taken[:, 1]) / 2)
    total: Scores = least_allocated + balanced
    return total


def by_preference(cluster: Cluster, demands: Demands, allowed: Mask) -> Scores:
    """What the pod prefers of nodes, and what nodes prefer of pods; depends on the nodes only."""
    total = np.zeros(len(cluster.names))
    if demands.preferred:
        liked = np.zeros(len(cluster.names))
        for weight, term in demands.preferred:
            liked += weight * matches(cluster, term)
        total += _AFFINITY_WEIGHT * _normalised(liked, allowed)
    disliked = np.zeros(len(cluster.names))
    for taint, tainted in cluster.taints.items():
        if taint.effect == PREFER_NO_SCHEDULE and not tolerates(demands.tolerances, taint):
            disliked += tainted
    return total + _TAINT_WEIGHT * (_HIGHEST - _normalised(disliked, allowed))


def _normalised(raw: Scores, allowed: Mask) -> Scores:
    highest = raw[allowed].max(initial=0.0)
    return raw * (_HIGHEST / highest) if highest > 0 else raw
