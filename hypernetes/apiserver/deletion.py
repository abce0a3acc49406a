"""What deleting an object means: at once, after a grace period, or when its finalizers are done (pure).

An object that isn't removed at once gets a deletionTimestamp and stays until the last finalizer is taken away and, for
a pod, its node has ended it and asks again with a grace period of 0.
"""

from datetime import datetime, timedelta
from typing import Any

from hypernetes.api import times
from hypernetes.api.status import StatusError, conflict
from hypernetes.apiserver.handlers.options import DeleteOptions
from hypernetes.apiserver.objects import Decision, Place, Put, Remove
from hypernetes.apiserver.registry import Strategy
from hypernetes.apiserver.registry.metadata import FOREGROUND, ORPHAN

Object = dict[str, Any]

_LONGEST_GRACE_SECONDS = 10 * 365 * 24 * 3600  # what is longer may have no date any more


def decide(place: Place, strategy: Strategy, old: Object, asked: DeleteOptions, now: datetime) -> Decision:
    """Raises StatusError 409 where a precondition doesn't hold.

    What has a grace period is told to end before it is removed, even with a period of 0: then it is `finished`, and to
    be deleted once more at once.
    """
    check_preconditions(place, old, asked)
    metadata = old["metadata"]
    new = {**old, "metadata": dict(metadata)}
    propagation = asked.propagation or strategy.default_propagation
    finalizers = _finalizers(metadata.get("finalizers") or [], propagation if strategy.owns else "")
    grace = strategy.grace_seconds(old, asked.grace_seconds) if strategy.grace_seconds else 0
    grace = min(grace, _LONGEST_GRACE_SECONDS)
    if "deletionTimestamp" in metadata:
        grace = min(grace, metadata.get("deletionGracePeriodSeconds") or 0)
    ended = not strategy.grace_seconds or metadata.get("deletionGracePeriodSeconds") == 0
    if grace == 0 and not finalizers and not strategy.held(old) and ended:
        return Remove()
    changed = new["metadata"]
    changed.pop("finalizers", None)
    if finalizers:
        changed["finalizers"] = finalizers
    if changed.get("deletionTimestamp") is None or grace < (changed.get("deletionGracePeriodSeconds") or 0):
        if "deletionTimestamp" not in changed and "generation" in changed:
            changed["generation"] += 1
        _mark(changed, grace, now)
    strategy.before_delete(new)
    return Put(new)


def check_preconditions(place: Place, old: Object, asked: DeleteOptions) -> None:
    metadata = old["metadata"]
    for name, wanted, found in (
        ("UID", asked.uid, metadata["uid"]),
        ("ResourceVersion", asked.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {found}"
            error = conflict(place.resource.group_resource, place.name, why)
            raise StatusError("Conflict", error.message, details={**error.details, "kind": place.resource.kind})


def finished(old: Object, strategy: Strategy) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = old["metadata"]
    return (
        metadata.get("deletionTimestamp") is not None
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not strategy.held(old)
    )


def _finalizers(present: list[str], propagation: str) -> list[str]:
    """The finalizers with those for the garbage collector, as the propagation policy asks."""
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    wanted = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(propagation, [])
    return kept + wanted


def _mark(metadata: Object, grace: int, now: datetime) -> None:
    begun = now
    if metadata.get("deletionTimestamp"):
        # a second, shorter asking counts from the first
        begun = times.parse_time(metadata["deletionTimestamp"]) - timedelta(
            seconds=metadata.get("deletionGracePeriodSeconds") or 0
        )
    metadata["deletionTimestamp"] = times.format_time(begun + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
