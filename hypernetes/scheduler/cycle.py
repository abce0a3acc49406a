"""One decision: given the cluster, where does a pod go? Pure: no I/O, no clock.

Pods with equal demands share an evaluation: after a placement only that node's fit and score are computed again.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from hypernetes.scheduler import filters, scores
from hypernetes.scheduler.demands import Demands
from hypernetes.scheduler.snapshot import Cluster, scored

_EVALUATIONS = 512  # kept, least recently used dropped; one is 85 kB at 5,000 nodes


@dataclass(frozen=True, slots=True)
class Verdict:
    """`node` takes the pod; None: no node does, and `message` tells the user why."""

    node: str | None
    message: str = ""


class Evaluation:
    """Fit and score of all nodes for one form of demands; `refresh` keeps up with placements."""

    def __init__(self, cluster: Cluster, demands: Demands) -> None:
        self._cluster = cluster
        self.layout = cluster.layout
        self._vector, unknown = cluster.vector(demands.requests)
        self._wanted = scored(demands.requests)
        self._allowed = filters.allowed(cluster, demands)
        if unknown:
            self._allowed[:] = False
        self._demands = demands
        self._explanation = ""
        self._preference = scores.by_preference(cluster, demands, self._allowed)
        self._evaluate()

    def best(self) -> str | None:
        """The best node with room; of equal ones the first."""
        self._refresh()
        row = int(self._rank.argmax())
        return self._cluster.names[row] if self._rank[row] > -np.inf else None

    def explanation(self) -> str:
        """Why `best` is none."""
        if not self._explanation:
            self._explanation = filters.explain(self._cluster, self._demands)
        return self._explanation

    def _evaluate(self) -> None:
        fits = self._allowed & filters.fitting(self._cluster, self._vector)
        room = scores.by_room(self._cluster, self._wanted)
        self._rank = np.where(fits, self._preference + room, -np.inf)
        self._seen, self._explanation = self._cluster.changes, ""

    def _refresh(self) -> None:
        rows = self._cluster.changed_rows(self._seen)
        if rows is None:
            self._evaluate()
        elif rows:
            fits = self._allowed[rows] & filters.fitting(self._cluster, self._vector, rows)
            room = scores.by_room(self._cluster, self._wanted, rows)
            self._rank[rows] = np.where(fits, self._preference[rows] + room, -np.inf)
            self._seen, self._explanation = self._cluster.changes, ""


class Cycle:
    """Decides, and remembers evaluations as long as the nodes don't change."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._evaluations: OrderedDict[Demands, Evaluation] = OrderedDict()

    def decide(self, demands: Demands) -> Verdict:
        evaluation = self._evaluations.get(demands)
        if evaluation is None or evaluation.layout != self._cluster.layout:
            evaluation = self._evaluations[demands] = Evaluation(self._cluster, demands)
        self._evaluations.move_to_end(demands)
        if len(self._evaluations) > _EVALUATIONS:
            self._evaluations.popitem(last=False)
        node = evaluation.best()
        return Verdict(node) if node else Verdict(None, evaluation.explanation())
