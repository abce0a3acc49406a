"""On which nodes a DaemonSet's pod may run, and how it gets to its own."""

from collections.abc import Iterable
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Toleration,
)
from hypernetes.controllers import taints

_NAME_FIELD = "metadata.name"
# A node in trouble is where its own pods are needed: they stay, and they may come (upstream's list).
_TOLERATED = (
    (taints.NOT_READY, "NoExecute"),
    (taints.UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    (taints.UNSCHEDULABLE, "NoSchedule"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    starts: bool  # a pod is to be made where there is none
    stays: bool  # one that is there may go on


def judge(spec: PodSpec, node: Node) -> Verdict:
    """By the template's node name, selector, affinity and tolerations."""
    if spec.node_name not in (None, "", node.metadata.name) or not _selected(spec, node):
        return Verdict(starts=False, stays=False)
    tolerations = with_tolerations(spec)
    refused = {
        taint.effect
        for taint in node.spec.taints
        if taint.effect in ("NoSchedule", "NoExecute")
        and not any(taints.tolerates(each, taint) for each in tolerations)
    }
    return Verdict(starts=not refused, stays="NoExecute" not in refused)


def with_tolerations(spec: PodSpec) -> list[Toleration]:
    added = [Toleration(key=key, operator="Exists", effect=effect) for key, effect in _TOLERATED]
    if spec.host_network:
        added.append(Toleration(key="node.kubernetes.io/network-unavailable", operator="Exists", effect="NoSchedule"))
    return [*spec.tolerations, *(each for each in added if each not in spec.tolerations)]


def bound_to(spec: PodSpec, node: str) -> PodSpec:
    """The template's spec for one node's pod; the scheduler binds it, so that its rules and counts hold."""
    only = NodeSelectorTerm(match_fields=[NodeSelectorRequirement(key=_NAME_FIELD, operator="In", values=[node])])
    required = NodeSelector(node_selector_terms=[only])
    affinity = (spec.affinity or Affinity()).model_copy(deep=True)
    former = affinity.node_affinity or NodeAffinity()
    affinity.node_affinity = former.model_copy(update={"required_during_scheduling_ignored_during_execution": required})
    return spec.model_copy(update={"affinity": affinity, "tolerations": with_tolerations(spec)}, deep=True)


def node_of(pod: Pod) -> str:
    """Where it is, or for which node it was made; "" for neither."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    for term in required.node_selector_terms if required else ():
        for field in term.match_fields:
            if field.key == _NAME_FIELD and field.operator == "In" and len(field.values) == 1:
                return field.values[0]
    return ""


def _selected(spec: PodSpec, node: Node) -> bool:
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required is None or any(_matches(term, node) for term in required.node_selector_terms)


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
    """A term that says nothing matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {_NAME_FIELD: node.metadata.name or ""}
    return _all_met(term.match_expressions, node.metadata.labels) and _all_met(term.match_fields, fields)


def _all_met(requirements: Iterable[NodeSelectorRequirement], values: dict[str, str]) -> bool:
    return all(_met(each, values.get(each.key)) for each in requirements)


def _met(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                have, wanted = int(value or ""), int(requirement.values[0])
            except (ValueError, IndexError):
                return False
            return have > wanted if requirement.operator == "Gt" else have < wanted
    return False
