"""LimitRanges: what a container, pod or claim of a namespace may ask for, and gets where it asks for nothing."""

import uuid
from decimal import Decimal
from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import resourcenames
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_PARTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
# (what is too large, than what, which of them is blamed)
_ORDER = (
    ("min", "max", "min"), ("min", "defaultRequest", "defaultRequest"), ("defaultRequest", "max", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest"), ("min", "default", "default"), ("default", "max", "default"),
)  # fmt: skip


def validate(limit_range: Object) -> Causes:
    causes: Causes = []
    seen: set[str] = set()
    for index, limit in enumerate((limit_range.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", limit.get("type") or ""
        causes += _type(kind, f"{path}.type")
        if kind in seen:
            causes += validation.duplicate(f"{path}.type", kind)
        seen.add(kind)
        causes += _limit(limit, kind, path)
    return causes


def _type(kind: str, path: str) -> Causes:
    causes = validation.qualified_name(kind, path)
    if not causes and "/" not in kind and kind not in _TYPES:
        causes += validation.invalid(path, kind, "must be a standard limit type or fully qualified")
    return causes


def _limit(limit: Object, kind: str, path: str) -> Causes:
    causes: Causes = []
    name_rule = resourcenames.of_container if kind in ("Container", "Pod") else resourcenames.standard
    names: set[str] = set()
    for part in _PARTS:
        amounts = limit.get(part) or {}
        if kind == "Pod" and part in ("default", "defaultRequest"):
            if amounts:
                causes += validation.forbidden(f"{path}.{part}", f"may not be specified when `type` is '{kind}'")
            continue
        for name in amounts:
            causes += name_rule(name, f"{path}.{part}[{name}]")
        names.update(amounts)
    if kind == "PersistentVolumeClaim" and not any("storage" in (limit.get(part) or {}) for part in ("min", "max")):
        causes += validation.required(f"{path}.limits", "either minimum or maximum storage value is required")
    for name in sorted(names):
        causes += _amounts(limit, name, path)
    return causes


def _amounts(limit: Object, name: str, path: str) -> Causes:
    """What is wrong between the amounts of one resource."""
    found = {part: quantity.parse(limit[part][name]) for part in _PARTS if name in (limit.get(part) or {})}
    causes: Causes = []
    for less, more, blamed in _ORDER:
        if less in found and more in found and found[less] > found[more]:
            why = f"{less} value {limit[less][name]} is greater than {more} value {limit[more][name]}"
            causes += validation.invalid(f"{path}.{blamed}[{name}]", limit[blamed][name], why)
    causes += _ratio(found, f"{path}.maxLimitRequestRatio[{name}]")
    overcommitted = not resourcenames.is_huge_pages(name) and not resourcenames.is_extended(name)
    if not overcommitted and {"default", "defaultRequest"} <= found.keys():
        if found["default"] == found["defaultRequest"]:
            return causes
        why = "default and defaultRequest must be equal for a resource that can't be overcommitted"
        causes += validation.invalid(f"{path}.defaultRequest[{name}]", limit["defaultRequest"][name], why)
    return causes


def _ratio(found: dict[str, Decimal], path: str) -> Causes:
    ratio = found.get("maxLimitRequestRatio")
    if ratio is None:
        return []
    if ratio < 1:
        return validation.invalid(path, ratio, "ratio is less than 1")
    if "min" in found and "max" in found and found["min"] > 0 and ratio > found["max"] / found["min"]:
        return validation.invalid(path, ratio, "ratio is greater than max/min")
    return []


STRATEGY = Strategy(unnamed=lambda: str(uuid.uuid4()), complete=True, create_on_update=True, validate=validate)
