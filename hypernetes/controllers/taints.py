"""Taints that tell of a node's state, and how long pods tolerate them."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Node, NodeCondition, Pod, Taint, Toleration

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
# Put on by an administrator: the node is off for certain, and what it held may be taken from it.
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_MANAGED = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURE.values()})
# Seconds that a pod stays on a node that isn't ready or can't be reached, where it doesn't say itself.
DEFAULT_TOLERATION = 300


def condition(node: Node, type: str) -> NodeCondition | None:
    return next((entry for entry in node.status.conditions if entry.type == type), None)


def is_ready(node: Node) -> bool:
    ready = condition(node, "Ready")
    return ready is not None and ready.status == "True"


def is_out_of_service(node: Node) -> bool:
    """Whether nothing runs there any more, by its administrator's word and as far as its agent is heard of."""
    return not is_ready(node) and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def is_being_emptied(node: Node) -> bool:
    """Whether it has the taint that makes pods leave a node that is lost."""
    return any(taint.key in (NOT_READY, UNREACHABLE) and taint.effect == "NoExecute" for taint in node.spec.taints)


def wanted(node: Node, stamp: str, *, emptied: bool) -> list[Taint]:
    """The node's taints as its conditions demand; those of others stay, and times stay where a taint was there.

    `emptied`: whether pods are to leave it if it is lost.
    """
    keys = [(key, effect) for key, effect in _by_state(node) if emptied or effect != "NoExecute"]
    former = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    kept = [taint for taint in node.spec.taints if taint.key not in _MANAGED or (taint.key, taint.effect) in keys]
    added = [
        Taint(key=key, effect=effect, time_added=stamp if effect == "NoExecute" else None)
        for key, effect in keys
        if (key, effect) not in former
    ]
    return [*kept, *added]


def _by_state(node: Node) -> Iterable[tuple[str, str]]:
    ready = condition(node, "Ready")
    status = "Unknown" if ready is None else ready.status
    if status != "True":
        key = UNREACHABLE if status == "Unknown" and ready is not None else NOT_READY
        yield key, "NoSchedule"
        yield key, "NoExecute"
    if node.spec.unschedulable:
        yield UNSCHEDULABLE, "NoSchedule"
    for type, key in _PRESSURE.items():
        entry = condition(node, type)
        if entry is not None and entry.status == "True":
            yield key, "NoSchedule"


def evict_at(pod: Pod, node: Node, default_toleration: float = DEFAULT_TOLERATION) -> datetime | None:
    """When the pod must leave the node; None: it may stay as long as things are as they are."""
    moments = [
        moment
        for taint in node.spec.taints
        if taint.effect == "NoExecute" and (moment := _evict_at(pod, taint, default_toleration)) is not None
    ]
    return min(moments, default=None)


def _evict_at(pod: Pod, taint: Taint, default_toleration: float) -> datetime | None:
    since = times.parse_time(taint.time_added) if taint.time_added else times.now()
    tolerating = [entry for entry in pod.spec.tolerations if tolerates(entry, taint)]
    if not tolerating:
        grace = default_toleration if taint.key in (NOT_READY, UNREACHABLE) else 0.0
        return since + timedelta(seconds=grace)
    limits = [entry.toleration_seconds for entry in tolerating if entry.toleration_seconds is not None]
    return since + timedelta(seconds=max(0, min(limits))) if limits else None


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == (taint.value or "")
