"""What a pod asks of the pods around it, and what it is to them: affinity, anti-affinity, spreading.

Hashable: pods made from one template share all of it but the labels that are each pod's own. Only pods of the same
tenant are ever meant. What `matchLabelKeys` and `mismatchLabelKeys` add to selectors, hn-apiserver has added when the
pod was made.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import Pod, PodAffinityTerm, TopologySpreadConstraint
from hypernetes.api.models.meta_v1 import LabelSelector
from hypernetes.api.selectors import Requirement, requirements_of

Labels = tuple[tuple[str, str], ...]
Match = tuple[Requirement, ...]  # all must hold; an empty one matches everything
_HARD_WEIGHT = 1  # what another pod's required affinity adds to where it is; upstream's default


@dataclass(frozen=True, slots=True)
class Kind:
    """All that selectors see of a pod."""

    namespace: str
    labels: Labels
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Pods in the same part of a topology: nodes with equal values of a label."""

    topology: str
    selector: Match | None  # None: no pod
    namespaces: frozenset[str]
    namespace_selector: Match | None = None  # namespaces beside those named; None: no further ones


@dataclass(frozen=True, slots=True)
class Spread:
    """How evenly pods like this one are to lie over a topology."""

    topology: str
    max_skew: int
    selector: Match | None
    required: bool
    min_domains: int = 1
    by_affinity: bool = True  # count only nodes that the pod's own affinity and selector allow
    by_taints: bool = False  # count only nodes whose taints it tolerates


@dataclass(frozen=True, slots=True)
class Relations:
    kind: Kind
    near: tuple[PodTerm, ...] = ()
    apart: tuple[PodTerm, ...] = ()
    liked: tuple[tuple[int, PodTerm], ...] = ()  # (weight, term); negative: disliked
    spreads: tuple[Spread, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.near or self.apart or self.liked or self.spreads)

    @property
    def liked_back(self) -> tuple[tuple[int, PodTerm], ...]:
        """What pods that come later have from coming near this one."""
        return (*self.liked, *((_HARD_WEIGHT, term) for term in self.near))


def of_pod(pod: Pod) -> Relations:
    metadata = pod.metadata
    namespace = metadata.namespace or ""
    kind = Kind(namespace, tuple(sorted(metadata.labels.items())), metadata.deletion_timestamp is not None)
    spreads = tuple(_spread(constraint) for constraint in pod.spec.topology_spread_constraints)
    affinity = pod.spec.affinity
    together = affinity.pod_affinity if affinity else None
    asunder = affinity.pod_anti_affinity if affinity else None
    liked = [
        (sign * each.weight, _term(each.pod_affinity_term, namespace))
        for sign, side in ((1, together), (-1, asunder)) if side is not None
        for each in side.preferred_during_scheduling_ignored_during_execution
    ]  # fmt: skip
    return Relations(
        kind,
        _terms(together.required_during_scheduling_ignored_during_execution if together else (), namespace),
        _terms(asunder.required_during_scheduling_ignored_during_execution if asunder else (), namespace),
        tuple(liked),
        spreads,
    )


def _terms(terms: Iterable[PodAffinityTerm], namespace: str) -> tuple[PodTerm, ...]:
    return tuple(_term(term, namespace) for term in terms)


def _term(term: PodAffinityTerm, namespace: str) -> PodTerm:
    """Without a word on namespaces, the pod's own is meant."""
    named = frozenset(term.namespaces)
    if not named and term.namespace_selector is None:
        named = frozenset({namespace})
    return PodTerm(term.topology_key, _match(term.label_selector), named, _match(term.namespace_selector))


def _spread(constraint: TopologySpreadConstraint) -> Spread:
    return Spread(
        constraint.topology_key,
        constraint.max_skew,
        _match(constraint.label_selector),
        constraint.when_unsatisfiable == "DoNotSchedule",
        constraint.min_domains or 1,
        constraint.node_affinity_policy != "Ignore",
        constraint.node_taints_policy == "Honor",
    )


def _match(selector: LabelSelector | None) -> Match | None:
    return None if selector is None else requirements_of(selector.to_dict())
