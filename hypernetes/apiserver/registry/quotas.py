"""ResourceQuotas: how much a namespace may hold, of all pods or of some kinds of them. (Admission enforces them.)"""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import resourcenames
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_COMPUTE = frozenset({"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"})
_OF_PODS = _COMPUTE | {"pods"}
# scope -> the resources that can be counted within it; resources with a domain always can
_SCOPES = {
    "BestEffort": frozenset({"pods"}), "CrossNamespacePodAffinity": _OF_PODS, "NotBestEffort": _OF_PODS,
    "NotTerminating": _OF_PODS, "PriorityClass": _OF_PODS, "Terminating": _OF_PODS,
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}  # fmt: skip
_WITHOUT_VALUES = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "Terminating")
_CONFLICTS = (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating"))


def validate(quota: Object) -> Causes:
    spec = quota.get("spec") or {}
    return _amounts(spec.get("hard"), "spec.hard") + _scopes(spec) + _selector(spec)


def _amounts(amounts: dict[str, str] | None, path: str) -> Causes:
    causes: Causes = []
    for name, value in (amounts or {}).items():
        causes += resourcenames.of_quota(name, f"{path}[{name}]")
        causes += resourcenames.amount(name, value, f"{path}[{name}]")
    return causes


def _uncountable(scope: str, hard: dict[str, str]) -> list[str]:
    countable = _SCOPES.get(scope)
    if countable is None:
        return []
    return [name for name in sorted(hard) if "/" not in name and name not in countable]


def _scopes(spec: Object) -> Causes:
    scopes, causes = spec.get("scopes") or [], list[dict[str, str]]()
    for scope in scopes:
        if scope not in _SCOPES:
            causes += validation.invalid("spec.scopes", scopes, "unsupported scope")
        for name in _uncountable(scope, spec.get("hard") or {}):
            causes += validation.invalid("spec.scopes", scopes, f"scope {scope} can't be applied to {name}")
    return causes + _conflicts(set(scopes), "spec.scopes", scopes)


def _selector(spec: Object) -> Causes:
    path = "spec.scopeSelector.matchExpressions"
    rules = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    causes: Causes = []
    for rule in rules:
        scope, operator, values = rule.get("scopeName") or "", rule.get("operator") or "", rule.get("values")
        if scope not in _SCOPES:
            causes += validation.invalid(f"{path}.scopeName", scope, "unsupported scope")
        for name in _uncountable(scope, spec.get("hard") or {}):
            causes += validation.invalid(path, scope, f"scope {scope} can't be applied to {name}")
        if scope in _WITHOUT_VALUES and operator != "Exists":
            causes += validation.invalid(f"{path}.operator", operator, f"must be 'Exists' when scope is {scope}")
        if operator in ("In", "NotIn"):
            if not values:
                causes += validation.required(f"{path}.values", "must be at least one value with this operator")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                causes += validation.invalid(f"{path}.values", values, "must be no value with this operator")
        else:
            causes += validation.invalid(f"{path}.operator", operator, "not a valid selector operator")
    return causes + _conflicts({rule.get("scopeName") for rule in rules}, path, rules)


def _conflicts(scopes: set[Any], path: str, shown: Any) -> Causes:
    for pair in _CONFLICTS:
        if scopes.issuperset(pair):
            return validation.invalid(path, shown, f"conflicting scopes: {', '.join(pair)}")
    return []


def validate_update(new: Object, old: Object) -> Causes:
    scopes = [set((quota.get("spec") or {}).get("scopes") or ()) for quota in (new, old)]
    if scopes[0] != scopes[1]:
        return validation.invalid("spec.scopes", sorted(scopes[0]), "field is immutable")
    return []


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    return _amounts(status.get("hard"), "status.hard") + _amounts(status.get("used"), "status.used")


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    returns_deleted=True,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
)
