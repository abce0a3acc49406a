"""DaemonSets: what may be said of one, and the generation of its template that old clients look for."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import amounts, templates
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"  # as a field it was in extensions/v1beta1
_STRATEGIES = ("OnDelete", "RollingUpdate")
_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip


def prepare_create(daemon_set: Object) -> None:
    daemon_set["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = "1"


def prepare_update(new: Object, old: Object) -> None:
    before = (old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "0")
    changed = new["spec"]["template"] != old["spec"]["template"]
    generation = int(before) + changed if before.isdecimal() else int(changed)
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(generation)


def prepare_status(new: Object, old: Object) -> None:
    generation = (old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION)
    if generation is not None:
        new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = generation


def validate(daemon_set: Object) -> Causes:
    spec = daemon_set["spec"]
    selector = spec.get("selector")
    causes = validation.label_selector(selector, "spec.selector")
    if not causes:
        causes += templates.mismatch(spec)
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes += validation.invalid("spec.selector", selector, "empty selector is invalid")
    causes += templates.validate_forever(spec["template"], "spec.template")
    causes += templates.non_negative(spec, ("minReadySeconds", "revisionHistoryLimit"), "spec")
    return causes + _strategy(spec.get("updateStrategy") or {})


def _strategy(strategy: Object) -> Causes:
    path = "spec.updateStrategy"
    if strategy.get("type") not in _STRATEGIES:
        return validation.not_supported(path, strategy.get("type") or "", _STRATEGIES)
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] != "RollingUpdate":
        return []
    if rolling is None:
        return validation.required(f"{path}.rollingUpdate")
    causes: Causes = []
    for name in ("maxUnavailable", "maxSurge"):
        at = f"{path}.rollingUpdate.{name}"
        causes += amounts.validate(rolling.get(name), at) + amounts.at_most_all(rolling.get(name), at)
    if causes:
        return causes
    unavailable, surge = (not amounts.is_zero(rolling.get(name)) for name in ("maxUnavailable", "maxSurge"))
    if unavailable and surge:
        why = "may not be set when maxUnavailable is non-zero"
        return validation.invalid(f"{path}.rollingUpdate.maxSurge", rolling["maxSurge"], why)
    if not unavailable and not surge:
        return validation.required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0")
    return []


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    return templates.non_negative(status, _COUNTS, "status") + templates.collisions_grow(new, old)


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status=prepare_status,
    validate=validate,
    validate_update=templates.selector_is_fixed,
    validate_status=validate_status,
    warnings=templates.warn_nameless,
)
