"""Taints that a pod bears."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


def validate(tolerations: Any, path: str) -> Causes:
    causes: Causes = []
    for index, toleration in enumerate(tolerations):
        causes += _toleration(toleration, f"{path}[{index}]")
    return causes


def _toleration(toleration: Object, path: str) -> Causes:
    key, operator, effect = (toleration.get(name) or "" for name in ("key", "operator", "effect"))
    value = toleration.get("value") or ""
    causes: Causes = []
    if key:
        causes += validation.qualified_name(key, f"{path}.key")
    elif operator != "Exists":
        causes += validation.invalid(f"{path}.operator", operator, "operator must be Exists when `key` is empty")
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        causes += validation.invalid(f"{path}.effect", effect, why)
    if operator in ("", "Equal"):
        wrong = validation.label_value(value, f"{path}.operator") if value else []
        causes += wrong[:1]
    elif operator == "Exists":
        if value:
            causes += validation.invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
    else:
        causes += validation.not_supported(f"{path}.operator", operator, _OPERATORS)
    if effect and effect not in _EFFECTS:
        causes += validation.not_supported(f"{path}.effect", effect, _EFFECTS)
    return causes


def only_added(new: Any, old: Any, path: str) -> Causes:
    """An update may add tolerations, and change how long one lasts."""
    kept = [_lasting(toleration) for toleration in new]
    if all(_lasting(toleration) in kept for toleration in old):
        return []
    return validation.forbidden(path, "existing toleration can not be modified except its tolerationSeconds")


def _lasting(toleration: Object) -> Object:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}
