"""One decision: given the cluster, where does a pod go? Pure: no I/O, no clock.

Pods with equal demands share an evaluation: after a placement only that node's fit and score are computed again. What
depends on other pods comes on top, for those alone that it concerns.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from hypernetes.scheduler import filters, scores
from hypernetes.scheduler.demands import Demands
from hypernetes.scheduler.relations import Relations
from hypernetes.scheduler.scores import Scores
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

    def rank(self) -> Scores:
        """Per row; -inf where there is no room. Not to be changed."""
        self._refresh()
        return self._rank

    def explanation(self) -> str:
        """Why no node is left."""
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

    def decide(self, demands: Demands, tenant: str = "", relations: Relations | None = None) -> Verdict:
        """Of nodes that are equally good, the first."""
        evaluation = self._evaluations.get(demands)
        if evaluation is None or evaluation.layout != self._cluster.layout:
            evaluation = self._evaluations[demands] = Evaluation(self._cluster, demands)
        self._evaluations.move_to_end(demands)
        if len(self._evaluations) > _EVALUATIONS:
            self._evaluations.popitem(last=False)
        rank = evaluation.rank()
        beside = relations is not None and self._cluster.neighbours.concern(tenant, relations)
        if beside and relations is not None:
            rank = self._among(rank, demands, tenant, relations)
        row = int(rank.argmax())
        if rank[row] > -np.inf:
            return Verdict(self._cluster.names[row])
        if beside and relations is not None:
            further = filters.by_neighbours(self._cluster, demands, tenant, relations)
            return Verdict(None, filters.explain(self._cluster, demands, further))
        return Verdict(None, evaluation.explanation())

    def _among(self, rank: Scores, demands: Demands, tenant: str, relations: Relations) -> Scores:
        """The rank with what other pods forbid and make better."""
        cluster = self._cluster
        feasible = rank > -np.inf
        for _, mask in filters.by_neighbours(cluster, demands, tenant, relations):
            feasible &= mask
        if not feasible.any():
            return np.full(len(rank), -np.inf)
        affine, untainted = filters.selected(cluster, demands), filters.untainted(cluster, demands)
        further = cluster.neighbours.scores(cluster, tenant, relations, feasible, affine, untainted)
        return np.where(feasible, rank + further, -np.inf)
