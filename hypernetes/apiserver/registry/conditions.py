"""Conditions of a status, in the form that newer kinds have them."""

import re
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_STATUSES = ("False", "True", "Unknown")
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?\Z")
_MAX_REASON_BYTES, _MAX_MESSAGE_BYTES = 1024, 32 * 1024


def validate(conditions: Any, path: str) -> Causes:
    causes: Causes = []
    kinds: set[str] = set()
    for index, condition in enumerate(conditions or ()):
        at, kind = f"{path}[{index}]", condition.get("type") or ""
        if kind in kinds:
            causes += validation.duplicate(f"{at}.type", kind)
        kinds.add(kind)
        causes += _condition(condition, at)
    return causes


def _condition(condition: Object, path: str) -> Causes:
    kind, status, reason = (condition.get(name) or "" for name in ("type", "status", "reason"))
    causes = validation.qualified_name(kind, f"{path}.type") if kind else validation.required(f"{path}.type")
    if status not in _STATUSES:
        causes += validation.not_supported(f"{path}.status", status, _STATUSES)
    causes += validation.non_negative(condition.get("observedGeneration"), f"{path}.observedGeneration")
    if not condition.get("lastTransitionTime"):
        causes += validation.required(f"{path}.lastTransitionTime")
    if not reason:
        causes += validation.required(f"{path}.reason")
    elif not _REASON.match(reason):
        causes += validation.invalid(
            f"{path}.reason", reason, "must start and end with an alphanumeric or an underscore"
        )
    elif len(reason.encode()) > _MAX_REASON_BYTES:
        causes += validation.too_long(f"{path}.reason", _MAX_REASON_BYTES)
    if len((condition.get("message") or "").encode()) > _MAX_MESSAGE_BYTES:
        causes += validation.too_long(f"{path}.message", _MAX_MESSAGE_BYTES)
    return causes
