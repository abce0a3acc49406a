"""topologySpreadConstraints: how evenly the pods of a selector lie over zones, racks or nodes."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_WHEN = ("DoNotSchedule", "ScheduleAnyway")
_POLICIES = ("Honor", "Ignore")


def validate(constraints: Any, path: str) -> Causes:
    causes: Causes = []
    seen: set[tuple[Any, Any]] = set()
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        causes += _constraint(constraint, at)
        pair = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"))
        if all(pair) and pair in seen:
            causes += validation.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
    return causes


def _constraint(constraint: Object, path: str) -> Causes:
    causes: Causes = []
    skew, when, domains = (constraint.get(name) for name in ("maxSkew", "whenUnsatisfiable", "minDomains"))
    if (skew or 0) <= 0:
        causes += validation.invalid(f"{path}.maxSkew", skew or 0, "must be greater than zero")
    key = constraint.get("topologyKey")
    causes += (
        validation.qualified_name(key, f"{path}.topologyKey") if key else validation.required(f"{path}.topologyKey")
    )
    if when not in _WHEN:
        causes += validation.not_supported(f"{path}.whenUnsatisfiable", when or "", _WHEN)
    if domains is not None:
        if domains <= 0:
            causes += validation.invalid(f"{path}.minDomains", domains, "must be greater than zero")
        elif when != "DoNotSchedule":
            causes += validation.invalid(
                f"{path}.minDomains", domains, "may only be set where whenUnsatisfiable is DoNotSchedule"
            )
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if constraint.get(name) is not None and constraint[name] not in _POLICIES:
            causes += validation.not_supported(f"{path}.{name}", constraint[name], _POLICIES)
    causes += _label_keys(constraint, f"{path}.matchLabelKeys")
    return causes + validation.label_selector(constraint.get("labelSelector"), f"{path}.labelSelector")


def _label_keys(constraint: Object, path: str) -> Causes:
    """Labels whose values are the pod's own (KEP-3243)."""
    keys = constraint.get("matchLabelKeys") or ()
    causes: Causes = []
    if keys and constraint.get("labelSelector") is None:
        causes += validation.forbidden(path, "must not be specified when labelSelector is not set")
    for index, key in enumerate(keys):
        causes += validation.qualified_name(key, f"{path}[{index}]")
    return causes
