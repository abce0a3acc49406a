"""PodDisruptionBudgets: how many pods of a selector may be taken away at once."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import amounts, conditions
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def validate(budget: Object) -> Causes:
    spec = budget.get("spec") or {}
    causes: Causes = []
    if "minAvailable" in spec and "maxUnavailable" in spec:
        causes += validation.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        causes += amounts.validate(spec.get(name), f"spec.{name}")
        causes += amounts.at_most_all(spec.get(name), f"spec.{name}")
    causes += validation.label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _POLICIES:
        causes += validation.not_supported("spec.unhealthyPodEvictionPolicy", policy, _POLICIES)
    return causes


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    causes = conditions.validate(status.get("conditions"), "status.conditions")
    return causes + [cause for name in _COUNTS for cause in validation.non_negative(status.get(name), f"status.{name}")]


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    validate=validate,
    validate_status=validate_status,
)
