"""PriorityClasses: how much a pod matters. The highest are the system's own."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_HIGHEST = 1_000_000_000  # that users may give; upstream's figure
_RESERVED_PREFIX = "system-"
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_POLICIES = ("Never", "PreemptLowerPriority")


def prepare_create(priority_class: Object) -> None:
    priority_class["metadata"]["generation"] = 1  # and it never counts on


def validate(priority_class: Object) -> Causes:
    name, value = priority_class["metadata"].get("name") or "", priority_class.get("value") or 0
    causes: Causes = []
    if name.startswith(_RESERVED_PREFIX):
        if SYSTEM.get(name) != value or priority_class.get("globalDefault"):
            why = f"names with the prefix {_RESERVED_PREFIX!r} are reserved for the system"
            causes += validation.forbidden("metadata.name", why)
    elif value > _HIGHEST:
        causes += validation.forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}")
    policy = priority_class.get("preemptionPolicy")
    if policy is not None and policy not in _POLICIES:
        causes += validation.not_supported("preemptionPolicy", policy, _POLICIES)
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    causes: Causes = []
    if (new.get("value") or 0) != (old.get("value") or 0):
        causes += validation.forbidden("value", "may not be changed in an update")
    return causes + validation.immutable(new, old, "preemptionPolicy")


STRATEGY = Strategy(complete=True, prepare_create=prepare_create, validate=validate, validate_update=validate_update)
