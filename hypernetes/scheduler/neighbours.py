"""Which nodes the pods that are placed already allow, and which they make better.

Of each tenant it is counted which kinds of pods (namespace and labels) lie on which nodes, and which of them have what
terms. A question about pods (all that match these terms) has an answer per node that is kept, and changed with each
placement that concerns it; from it, a sum per value of a label is one operation for all nodes.

    placements ──► kinds ──► answers (pods per row) ──► sums per domain ──► masks, scores
              └──► terms of placed pods ────────────────────┘

The rules are those of https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/ and
…/topology-spread-constraints/; the scores' forms are upstream's.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hypernetes.scheduler.relations import Kind, Match, PodTerm, Relations, Spread

if TYPE_CHECKING:
    from hypernetes.scheduler.snapshot import Cluster

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

_ANSWERS = 128  # kept of each tenant, least recently used dropped; one is 40 kB at 5,000 nodes
_HIGHEST = 100.0
_AFFINITY_WEIGHT, _SPREAD_WEIGHT = 2.0, 2.0  # upstream's

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
OTHERS_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
SPREADING = "node(s) didn't match pod topology spread constraints"
SPREADING_LABEL = f"{SPREADING} (missing required label)"


@dataclass(frozen=True, slots=True)
class _Question:
    """Pods that all of these terms mean."""

    terms: tuple[PodTerm, ...]
    staying: bool = False  # whether those that are being deleted are left out


@dataclass(slots=True)
class _Answer:
    counts: Counts
    layout: int  # of the cluster's rows, when it was made


@dataclass(slots=True)
class _Tenant:
    kinds: dict[Kind, Counter[str]] = field(default_factory=dict)  # node -> pods
    apart: dict[PodTerm, Counter[str]] = field(default_factory=dict)  # node -> pods that have the term
    liked: dict[tuple[int, PodTerm], Counter[str]] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)  # name -> labels
    answers: OrderedDict[_Question, _Answer] = field(default_factory=OrderedDict)


class Neighbours:
    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}

    # What is told

    def count(self, cluster: "Cluster", tenant: str, node: str, relations: Relations, sign: int) -> None:
        """A pod has come to a node (1), or left it (-1)."""
        own = self._tenants.setdefault(tenant, _Tenant())
        _add(own.kinds, relations.kind, node, sign)
        for term in relations.apart:
            _add(own.apart, term, node, sign)
        for liked in relations.liked_back:
            _add(own.liked, liked, node, sign)
        row = cluster.rows.get(node)
        if row is not None:
            for question, answer in own.answers.items():
                if answer.layout == cluster.layout and _means(own, question, relations.kind):
                    answer.counts[row] += sign
        self._tidy(tenant)

    def set_namespace(self, tenant: str, name: str, labels: dict[str, str] | None) -> bool:
        """None: it is gone. False where nothing changed."""
        own = self._tenants.setdefault(tenant, _Tenant())
        changed = own.namespaces.get(name) != labels
        if labels is None:
            own.namespaces.pop(name, None)
        else:
            own.namespaces[name] = labels
        if changed:
            own.answers.clear()
        self._tidy(tenant)
        return changed

    def _tidy(self, tenant: str) -> None:
        own = self._tenants[tenant]
        if not own.kinds and not own.namespaces:
            del self._tenants[tenant]

    # What is asked

    def concern(self, tenant: str, relations: Relations) -> bool:
        """Whether where other pods are matters for this one at all."""
        own = self._tenants.get(tenant)
        return relations.any or (own is not None and bool(own.apart or own.liked))

    def filters(
        self, cluster: "Cluster", tenant: str, relations: Relations, affine: Mask, untainted: Mask
    ) -> Iterator[tuple[str, Mask]]:
        """(why others don't, nodes that pass), one after the other. `affine`: nodes that the pod's own selector and
        affinity allow; `untainted`: those whose taints it tolerates."""
        own = self._tenants.get(tenant) or _Tenant()
        required = [spread for spread in relations.spreads if spread.required]
        if required:
            labelled = _all_labelled(cluster, required)
            yield SPREADING_LABEL, labelled
            for spread in required:
                yield SPREADING, self._within_skew(cluster, own, relations, spread, labelled, affine, untainted)
        if relations.near:
            yield AFFINITY, self._near(cluster, own, relations)
        for term in relations.apart:
            yield ANTI_AFFINITY, _sums(cluster, term.topology, self._pods(cluster, own, _Question((term,)))) == 0
        for term, nodes in own.apart.items():
            if _is_meant(own, term, relations.kind):
                yield OTHERS_ANTI_AFFINITY, _sums(cluster, term.topology, _by_row(cluster, nodes)) == 0

    def scores(
        self, cluster: "Cluster", tenant: str, relations: Relations, feasible: Mask, affine: Mask, untainted: Mask
    ) -> Scores:
        """To be added to the others'. `feasible`: the nodes that are to be compared, one at least."""
        own = self._tenants.get(tenant) or _Tenant()
        total = np.zeros(len(cluster.names))
        drawn = np.zeros(len(cluster.names))
        for weight, term in relations.liked:
            drawn += weight * _sums(cluster, term.topology, self._pods(cluster, own, _Question((term,))))
        for (weight, term), nodes in own.liked.items():
            if _is_meant(own, term, relations.kind):
                drawn += weight * _sums(cluster, term.topology, _by_row(cluster, nodes))
        lowest, highest = drawn[feasible].min(), drawn[feasible].max()
        if highest > lowest:
            total += _AFFINITY_WEIGHT * _HIGHEST * (drawn - lowest) / (highest - lowest)
        wished = [spread for spread in relations.spreads if not spread.required]
        if wished:
            total += _SPREAD_WEIGHT * self._evenness(cluster, own, relations, wished, feasible, affine, untainted)
        return total

    # Spreading

    def _within_skew(
        self, cluster: "Cluster", own: _Tenant, relations: Relations, spread: Spread, labelled: Mask, affine: Mask,
        untainted: Mask,
    ) -> Mask:  # fmt: skip
        counted = labelled & _counted(cluster, spread, affine, untainted)
        numbers = _numbers(cluster, spread.topology)
        domains = np.unique(numbers[counted])
        sums = _sums(cluster, spread.topology, self._alike(cluster, own, relations, spread), counted)
        fewest = int(sums[counted].min(initial=2**62)) if len(domains) >= spread.min_domains else 0
        if not len(domains):
            fewest = 0
        itself = int(_matches(spread.selector, dict(relations.kind.labels)))
        return np.asarray(sums + itself - fewest <= spread.max_skew)

    def _evenness(
        self, cluster: "Cluster", own: _Tenant, relations: Relations, spreads: list[Spread], feasible: Mask,
        affine: Mask, untainted: Mask,
    ) -> Scores:  # fmt: skip
        labelled = _all_labelled(cluster, spreads)
        compared = feasible & labelled
        if not compared.any():
            return np.zeros(len(cluster.names))
        crowd = np.zeros(len(cluster.names))
        for spread in spreads:
            counted = labelled & _counted(cluster, spread, affine, untainted)
            sums = _sums(cluster, spread.topology, self._alike(cluster, own, relations, spread), counted)
            size = len(np.unique(_numbers(cluster, spread.topology)[compared]))
            crowd += sums * np.log(size + 2) + (spread.max_skew - 1)
        lowest, highest = crowd[compared].min(), crowd[compared].max()
        if highest == 0:
            return np.where(labelled, _HIGHEST, 0.0)
        return np.where(labelled, _HIGHEST * (highest + lowest - crowd) / highest, 0.0)

    def _alike(self, cluster: "Cluster", own: _Tenant, relations: Relations, spread: Spread) -> Counts:
        term = PodTerm(spread.topology, spread.selector, frozenset({relations.kind.namespace}))
        return self._pods(cluster, own, _Question((term,), staying=True))

    # Affinity

    def _near(self, cluster: "Cluster", own: _Tenant, relations: Relations) -> Mask:
        """A pod counts where all terms mean it. Where there is none yet, one that they mean itself may begin."""
        pods = self._pods(cluster, own, _Question(relations.near))
        mask = np.ones(len(cluster.names), np.bool_)
        first = not pods.any() and all(_is_meant(own, term, relations.kind) for term in relations.near)
        for term in relations.near:
            mask &= (_numbers(cluster, term.topology) >= 0) if first else _sums(cluster, term.topology, pods) > 0
        return mask

    def _pods(self, cluster: "Cluster", own: _Tenant, question: _Question) -> Counts:
        answer = own.answers.get(question)
        if answer is None or answer.layout != cluster.layout:
            counts = np.zeros(len(cluster.names), np.int64)
            for kind, nodes in own.kinds.items():
                if _means(own, question, kind):
                    counts += _by_row(cluster, nodes)
            answer = own.answers[question] = _Answer(counts, cluster.layout)
            if len(own.answers) > _ANSWERS:
                own.answers.popitem(last=False)
        own.answers.move_to_end(question)
        return answer.counts


def _add(counted: dict[Any, Counter[str]], what: Hashable, node: str, sign: int) -> None:
    nodes = counted.setdefault(what, Counter())
    nodes[node] += sign
    if not nodes[node]:
        del nodes[node]
        if not nodes:
            del counted[what]


def _means(own: _Tenant, question: _Question, kind: Kind) -> bool:
    if question.staying and kind.terminating:
        return False
    return all(_is_meant(own, term, kind) for term in question.terms)


def _is_meant(own: _Tenant, term: PodTerm, kind: Kind) -> bool:
    if kind.namespace not in term.namespaces:
        if term.namespace_selector is None:
            return False
        if not _matches(term.namespace_selector, own.namespaces.get(kind.namespace, {})):
            return False
    return _matches(term.selector, dict(kind.labels))


def _matches(selector: Match | None, labels: dict[str, str]) -> bool:
    return selector is not None and all(requirement(labels) for requirement in selector)


def _numbers(cluster: "Cluster", topology: str) -> npt.NDArray[np.int32]:
    """Per row the number of the domain, -1 where the node is in none."""
    column = cluster.labels.get(topology)
    return column.numbers if column is not None else np.full(len(cluster.names), -1, np.int32)


def _by_row(cluster: "Cluster", nodes: Counter[str]) -> Counts:
    counts = np.zeros(len(cluster.names), np.int64)
    for node, count in nodes.items():
        row = cluster.rows.get(node)
        if row is not None:
            counts[row] += count
    return counts


def _sums(cluster: "Cluster", topology: str, counts: Counts, counted: Mask | None = None) -> Counts:
    """For each row what all rows of its domain add up to; 0 where it is in none."""
    numbers = _numbers(cluster, topology)
    inside = numbers >= 0
    adding = inside if counted is None else inside & counted
    sums = np.bincount(numbers[adding], weights=counts[adding], minlength=int(numbers.max(initial=-1)) + 1)
    result = np.zeros(len(numbers), np.int64)
    result[inside] = sums[numbers[inside]]
    return result


def _all_labelled(cluster: "Cluster", spreads: Iterable[Spread]) -> Mask:
    mask = cluster.present.copy()
    for spread in spreads:
        mask &= _numbers(cluster, spread.topology) >= 0
    return mask


def _counted(cluster: "Cluster", spread: Spread, affine: Mask, untainted: Mask) -> Mask:
    """The nodes whose pods count for a constraint."""
    mask = cluster.present
    if spread.by_affinity:
        mask = mask & affine
    if spread.by_taints:
        mask = mask & untainted
    return mask
