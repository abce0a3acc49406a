"""Facts on pods that several controllers go by: ready, available, active, and which to delete first."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod, PodCondition
from hypernetes.controllers.annotations import DELETION_COST_ANNOTATION
from hypernetes.controllers.glimpses import Condition, PodGlimpse

AnyPod = Pod | PodGlimpse
_FINISHED = frozenset({"Succeeded", "Failed"})
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_finished(pod: AnyPod) -> bool:
    """Its containers have ended for good."""
    return pod.status.phase in _FINISHED


def is_active(pod: AnyPod) -> bool:
    """Counts as a replica: neither finished nor on its way out."""
    return not is_finished(pod) and pod.metadata.deletion_timestamp is None


def condition(pod: AnyPod, type: str) -> PodCondition | Condition | None:
    for entry in pod.status.conditions:  # asked for each pod again and again: a generator costs twice as much
        if entry.type == type:
            return entry
    return None


def with_condition(pod: Pod, told: PodCondition) -> Pod:
    """The pod with this condition instead of one of its type."""
    conditions = [*(entry for entry in pod.status.conditions if entry.type != told.type), told]
    return pod.model_copy(update={"status": pod.status.model_copy(update={"conditions": conditions})})


def is_ready(pod: AnyPod) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def available_in(pod: AnyPod, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the pod is available: 0 if it is, None while it isn't even ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready.status != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    if ready.last_transition_time is None:
        return float(min_ready_seconds)
    since = times.parse_time(ready.last_transition_time)
    return max(0.0, (since + timedelta(seconds=min_ready_seconds) - now).total_seconds())


def deletion_order(pod: AnyPod, neighbours: Mapping[str, int], now: datetime) -> tuple[Any, ...]:
    """A sort key: what does least harm when deleted comes first, as upstream ranks them.

    Not yet on a node before those that are; Pending, Unknown, Running; not ready; cheap by its annotation; with many of
    its kind on its node (`neighbours`, by node name); ready for a short time; often restarted; young. Times are
    compared by order of magnitude, and then at random (by UID), so that not all of one moment go.
    """
    ready = condition(pod, "Ready")
    is_up = ready is not None and ready.status == "True"
    ready_age = _magnitude(ready.last_transition_time if ready is not None and is_up else None, now)
    restarts = sum(status.restart_count for status in pod.status.container_statuses)
    return (
        bool(pod.spec.node_name),
        _PHASE_RANK.get(pod.status.phase or "", 0),
        is_up,
        _deletion_cost(pod),
        -neighbours.get(pod.spec.node_name or "", 0),
        ready_age,
        -restarts,
        _magnitude(pod.metadata.creation_timestamp, now),
        pod.metadata.uid or "",
    )


def _deletion_cost(pod: AnyPod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST_ANNOTATION, "0"))
    except ValueError:
        return 0


def _magnitude(since: str | None, now: datetime) -> int:
    """The binary order of magnitude of an age: -1 for none or under a second."""
    if since is None:
        return -1
    age = (now - times.parse_time(since)).total_seconds()
    return int(math.log2(age)) if age >= 1 else -1
