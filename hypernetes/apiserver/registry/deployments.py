"""Deployments: what may be said of one, and which counts a status may report."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import amounts, templates
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_STRATEGIES = ("Recreate", "RollingUpdate")
_COUNTS = (
    "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "observedGeneration",
    "collisionCount",
)  # fmt: skip
_WITHIN = (
    ("updatedReplicas", "replicas"), ("readyReplicas", "replicas"), ("availableReplicas", "replicas"),
    ("availableReplicas", "readyReplicas"),
)  # fmt: skip


def validate(deployment: Object) -> Causes:
    spec = deployment["spec"]
    causes = templates.non_negative(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit"), "spec")
    causes += templates.validate_selector(spec)
    causes += templates.validate_forever(spec["template"], "spec.template")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        causes += validation.non_negative(deadline, "spec.progressDeadlineSeconds")
        if deadline <= (spec.get("minReadySeconds") or 0):
            why = "must be greater than minReadySeconds"
            causes += validation.invalid("spec.progressDeadlineSeconds", deadline, why)
    return causes + _strategy(spec.get("strategy") or {})


def _strategy(strategy: Object) -> Causes:
    causes = validation.one_of(strategy.get("type"), _STRATEGIES, "spec.strategy")
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return causes
    path = "spec.strategy.rollingUpdate"
    if strategy.get("type") == "Recreate":
        return causes + validation.forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    causes += amounts.validate(unavailable, f"{path}.maxUnavailable") + amounts.validate(surge, f"{path}.maxSurge")
    if not causes and amounts.is_zero(unavailable) and amounts.is_zero(surge):
        causes += validation.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    return causes + amounts.at_most_all(unavailable, f"{path}.maxUnavailable")


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    causes = templates.non_negative(status, _COUNTS, "status") + templates.not_more(status, _WITHIN)
    return causes + templates.collisions_grow(new, old)


def keep_labels(new: Object, old: Object) -> None:
    """A status update leaves the labels alone."""
    new["metadata"].pop("labels", None)
    if "labels" in old["metadata"]:
        new["metadata"]["labels"] = dict(old["metadata"]["labels"])


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    counts_metadata=("annotations",),
    validate=validate,
    validate_update=templates.selector_is_fixed,
    prepare_status=keep_labels,
    validate_status=validate_status,
    warnings=templates.warn,
)
