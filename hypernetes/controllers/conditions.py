"""A Deployment's status: its counts, and the conditions Available, Progressing and ReplicaFailure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from hypernetes.controllers import rollout
from hypernetes.controllers.revisions import desired

_NO_DEADLINE = 2**31 - 1  # seconds; upstream's way to say that there is none
NEW_CREATED, FOUND_NEW, UPDATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"
AVAILABLE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


def find(deployment: Deployment, type: str) -> DeploymentCondition | None:
    return next((entry for entry in deployment.status.conditions if entry.type == type), None)


def status(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], now: datetime, *, found: bool = False
) -> DeploymentStatus:
    """What the status should say. `found`: the new ReplicaSet existed before and was only met again."""
    counts = _counts(deployment, new, old)
    conditions = {entry.type: entry for entry in deployment.status.conditions}
    _set(conditions, _available(deployment, counts), now)
    progressing = _progressing(deployment, counts, new, now, found=found)
    if progressing is not None:
        _set(conditions, progressing, now, renew=progressing.reason == UPDATED)
    failure = _replica_failure([*([new] if new is not None else []), *old])
    if failure is None:
        conditions.pop("ReplicaFailure", None)
    else:
        _set(conditions, failure, now)
    return counts.model_copy(update={"conditions": list(conditions.values())})


def differs(deployment: Deployment, wanted: DeploymentStatus) -> bool:
    return _normal(deployment.status) != _normal(wanted)


def deadline_in(deployment: Deployment, now: datetime) -> float | None:
    """Seconds until a rollout that doesn't move is late; None if none is under way."""
    seconds = _deadline(deployment)
    condition = find(deployment, "Progressing")
    if seconds is None or condition is None or condition.reason in (AVAILABLE, TIMED_OUT) or deployment.spec.paused:
        return None
    # One second more than the deadline: stored times have no fractions.
    return max(1.0, seconds + 1 - (now - _moved_at(condition, now)).total_seconds())


def is_complete(deployment: Deployment, counts: DeploymentStatus) -> bool:
    wished = desired(deployment)
    return (
        (counts.updated_replicas or 0) == wished
        and (counts.replicas or 0) == wished
        and (counts.available_replicas or 0) == wished
        and (counts.observed_generation or 0) >= (deployment.metadata.generation or 0)
    )


def _counts(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> DeploymentStatus:
    everything = [*old, *([new] if new is not None else [])]
    available = sum(entry.status.available_replicas or 0 for entry in everything)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=sum(entry.status.replicas for entry in everything),
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(entry.status.ready_replicas or 0 for entry in everything),
        available_replicas=available,
        unavailable_replicas=max(0, sum(map(rollout.size, everything)) - available),
        terminating_replicas=sum(entry.status.terminating_replicas or 0 for entry in everything),
        collision_count=deployment.status.collision_count,
    )


def _available(deployment: Deployment, counts: DeploymentStatus) -> DeploymentCondition:
    least = desired(deployment) - rollout.limits(deployment).unavailable
    if (counts.available_replicas or 0) >= least:
        return _condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return _condition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _progressing(
    deployment: Deployment, counts: DeploymentStatus, new: ReplicaSet | None, now: datetime, *, found: bool
) -> DeploymentCondition | None:
    """None where what is there stays."""
    if _deadline(deployment) is None:
        return None
    current = find(deployment, "Progressing")
    paused = current is not None and current.reason == PAUSED
    if deployment.spec.paused:
        # That it had come to a stop before is worth more to know than that it is paused.
        told = paused or (current is not None and current.reason == TIMED_OUT)
        return None if told else _condition("Progressing", "Unknown", PAUSED, "Deployment is paused")
    if paused:
        return _condition("Progressing", "Unknown", RESUMED, "Deployment is resumed")
    settled = current is not None and current.reason == AVAILABLE
    if settled and (counts.replicas or 0) == (counts.updated_replicas or 0):
        return None
    name = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, counts):
        return _condition("Progressing", "True", AVAILABLE, f"{name} has successfully progressed.")
    if new is not None and (current is None or (settled and not found)):
        reason = FOUND_NEW if found else NEW_CREATED
        verb = "Found new replica set" if found else "Created new replica set"
        return _condition("Progressing", "True", reason, f'{verb} "{new.metadata.name}"')
    if _moved(deployment.status, counts):
        return _condition("Progressing", "True", UPDATED, f"{name} is progressing.")
    if current is not None and _is_late(deployment, current, now):
        return _condition("Progressing", "False", TIMED_OUT, f"{name} has timed out progressing.")
    return None


def _moved(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    """More of the new, fewer of the old, more ready or more available than at the last look."""
    old_before = (before.replicas or 0) - (before.updated_replicas or 0)
    old_after = (after.replicas or 0) - (after.updated_replicas or 0)
    return (
        (after.updated_replicas or 0) > (before.updated_replicas or 0)
        or old_after < old_before
        or (after.ready_replicas or 0) > (before.ready_replicas or 0)
        or (after.available_replicas or 0) > (before.available_replicas or 0)
    )


def _is_late(deployment: Deployment, current: DeploymentCondition, now: datetime) -> bool:
    if current.reason in (AVAILABLE, TIMED_OUT):
        return False
    return _moved_at(current, now) + timedelta(seconds=_deadline(deployment) or 0) < now


def _moved_at(condition: DeploymentCondition, now: datetime) -> datetime:
    text = condition.last_update_time or condition.last_transition_time
    return times.parse_time(text) if text else now


def _deadline(deployment: Deployment) -> int | None:
    seconds = deployment.spec.progress_deadline_seconds
    return None if seconds is None or seconds >= _NO_DEADLINE else seconds


def _replica_failure(replica_sets: Sequence[ReplicaSet]) -> DeploymentCondition | None:
    for replica_set in replica_sets:
        for entry in replica_set.status.conditions:
            if entry.type == "ReplicaFailure":
                return _condition("ReplicaFailure", entry.status, entry.reason or "", entry.message or "")
    return None


def _condition(type: str, status: str, reason: str, message: str) -> DeploymentCondition:
    return DeploymentCondition(type=type, status=status, reason=reason, message=message)


def _set(
    conditions: dict[str, DeploymentCondition], wanted: DeploymentCondition, now: datetime, *, renew: bool = False
) -> None:
    """The time of transition changes with the status only; `renew` says that something moved, if nothing else did."""
    old = conditions.get(wanted.type)
    same = old is not None and (old.status, old.reason, old.message) == (wanted.status, wanted.reason, wanted.message)
    if same and not renew:
        return
    stamp = times.format_time(now)
    transition = old.last_transition_time if old is not None and old.status == wanted.status else stamp
    conditions[wanted.type] = wanted.model_copy(update={"last_update_time": stamp, "last_transition_time": transition})


def _normal(value: DeploymentStatus) -> dict[str, Any]:
    """A count of 0 may be stored as no count."""
    return {name: entry for name, entry in value.to_dict().items() if entry}
