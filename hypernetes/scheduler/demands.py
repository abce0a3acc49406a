"""What a pod asks of its node. Hashable: pods made from one template have equal demands and share their evaluation."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Container, NodeSelector, NodeSelectorTerm, Pod, Toleration

CPU, MEMORY, PODS = "cpu", "memory", "pods"  # millicores, bytes, pieces
NODE_BYTES = "hypernetes.io/volume-bytes"  # what nodes have left for volumes that they keep themselves
ATTACHABLE = "attachable-volumes-csi-"  # + driver: how many of its volumes a node takes, where it says so
# Far above any node, and so far below 2**63 that sums over all pods of a node stay below it.
_LARGEST = 2**50


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on one label of a node, or on its name (`field`)."""

    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist, Gt, Lt
    values: tuple[str, ...] = ()
    field: bool = False


Term = tuple[Requirement, ...]  # all must hold; an empty one matches no node


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A toleration; None matches any key, value or effect."""

    key: str | None
    value: str | None
    effect: str | None


@dataclass(frozen=True, slots=True)
class VolumeDemands:
    """What the pod's volumes want of its node. Of each group of terms one must hold."""

    blocked: str = ""  # why no node will do
    bound: tuple[tuple[Term, ...], ...] = ()  # where the volumes that there are can be reached
    bindable: tuple[tuple[Term, ...], ...] = ()  # where a claim without one can get one


@dataclass(frozen=True, slots=True)
class Demands:
    requests: tuple[tuple[str, int], ...]  # (resource, amount) sorted; cpu in millicores; pods: 1
    selector: Term = ()  # all must hold; empty: any node
    affinity: tuple[Term, ...] | None = None  # one must hold; None: any node
    preferred: tuple[tuple[int, Term], ...] = ()  # (weight, term)
    tolerances: tuple[Tolerance, ...] = ()
    volumes: VolumeDemands = VolumeDemands()


def of_pod(pod: Pod) -> Demands:
    """Raises ValueError for a quantity that is none, which admission keeps out."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else []
    return Demands(
        requests=tuple(sorted(requests(pod).items())),
        selector=tuple(Requirement(key, "In", (value,)) for key, value in sorted(pod.spec.node_selector.items())),
        affinity=terms_of(required) if required else None,
        preferred=tuple((choice.weight, _term(choice.preference)) for choice in preferred),
        tolerances=tuple(dict.fromkeys(_tolerance(toleration) for toleration in pod.spec.tolerations)),
    )


def requests(pod: Pod) -> dict[str, int]:
    """What the pod needs at its hungriest moment (KEP-753): its containers together, or one of its init containers.

    A sidecar (an init container that restarts always) counts from its start on. A request for the whole pod replaces
    what its containers add up to (KEP-2837).
    """
    running: Counter[str] = Counter()
    for container in pod.spec.containers:
        running.update(_amounts(_requested(container)))
    sidecars: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    for container in pod.spec.init_containers:
        amounts = _amounts(_requested(container))
        if container.restart_policy == "Always":
            sidecars.update(amounts)
            peak |= sidecars
        else:
            peak |= sidecars + Counter(amounts)
    total = (running + sidecars) | peak
    if pod.spec.resources:
        total.update({name: amount - total[name] for name, amount in _amounts(pod.spec.resources.requests).items()})
    total.update(_amounts(pod.spec.overhead))
    bounded = {name: min(amount, _LARGEST) for name, amount in total.items() if amount > 0}
    return {**bounded, PODS: 1}


def amount(resource: str, text: str) -> int:
    """A quantity in the unit we count the resource in."""
    return min(quantity.milli(text) if resource == CPU else quantity.whole(text), _LARGEST)


def _amounts(quantities: Mapping[str, str]) -> dict[str, int]:
    return {name: amount(name, text) for name, text in quantities.items()}


def _requested(container: Container) -> dict[str, str]:
    return container.resources.requests if container.resources else {}


def terms_of(selector: NodeSelector) -> tuple[Term, ...]:
    return tuple(_term(term) for term in selector.node_selector_terms)


def _term(term: NodeSelectorTerm) -> Term:
    return (*_requirements(term.match_expressions), *_requirements(term.match_fields, field=True))


def _requirements(expressions: Iterable[Any], *, field: bool = False) -> Iterable[Requirement]:
    return (Requirement(each.key, each.operator, tuple(each.values), field) for each in expressions)


def _tolerance(toleration: Toleration) -> Tolerance:
    value = None if toleration.operator == "Exists" else toleration.value or ""
    return Tolerance(toleration.key or None, value, toleration.effect or None)
