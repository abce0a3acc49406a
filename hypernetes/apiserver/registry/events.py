"""Events: stored as those of the core group; `events.k8s.io` names the same things differently."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

# core name -> events.k8s.io name
_NAMES = {
    "involvedObject": "regarding", "message": "note", "reportingComponent": "reportingController",
    "source": "deprecatedSource", "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp", "count": "deprecatedCount",
}  # fmt: skip
_CORE_NAMES = {new: old for old, new in _NAMES.items()}
_TYPES = ("Normal", "Warning")
_MAX_WORD, _MAX_NOTE = 128, 1024  # bytes; upstream's figures


def core_path(path: str) -> str | None:
    """What a field selector of events.k8s.io names, in a stored event; None for what only the core group's may name."""
    first, dot, rest = path.partition(".")
    return None if first in _NAMES or first == "source" else f"{_CORE_NAMES.get(first, first)}{dot}{rest}"


def from_core(event: Object) -> Object:
    """A stored event as one of events.k8s.io/v1."""
    renamed = {_NAMES.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def to_core(event: Object) -> Object:
    """An event of events.k8s.io/v1 in the form it is stored in."""
    renamed = {_CORE_NAMES.get(key, key): value for key, value in event.items()}
    renamed.setdefault("involvedObject", {})
    renamed.setdefault("source", {})
    for name in ("firstTimestamp", "lastTimestamp"):
        renamed.setdefault(name, None)
    return {**renamed, "apiVersion": "v1"}


def validate(event: Object) -> Causes:
    namespace = event.get("involvedObject", {}).get("namespace") or ""
    own = event["metadata"].get("namespace", "")
    if namespace != own and (namespace or own != "default"):
        return validation.invalid("involvedObject.namespace", namespace, "does not match event.namespace")
    return _validate_reporter(event) if event.get("eventTime") else []


def _validate_reporter(event: Object) -> Causes:
    """An event with an eventTime is of the newer kind, which says who reports it and what was done."""
    causes: Causes = []
    controller = event.get("reportingComponent") or ""
    causes += validation.qualified_name(controller, "reportingController") if controller else []
    words = {"reportingController": controller}
    words |= {name: event.get(name) or "" for name in ("reportingInstance", "action", "reason")}
    for path, value in words.items():
        if not value:
            causes += validation.required(path)
        elif len(value.encode()) > _MAX_WORD:
            causes += validation.invalid(path, value, f"can have at most {_MAX_WORD} characters")
    if len((event.get("message") or "").encode()) > _MAX_NOTE:
        causes += validation.invalid("message", "", f"can have at most {_MAX_NOTE} characters")
    return causes


def validate_new_form(event: Object) -> Causes:
    """What must hold for an event that is written through events.k8s.io."""
    causes = validate(event)
    if not event.get("eventTime"):
        causes += validation.required("eventTime")
    if event.get("type") not in _TYPES:
        causes += validation.invalid("type", event.get("type"), f"has invalid value: {event.get('type')}")
    return causes


CORE = Strategy(name_rule=validation.path_segment, create_on_update=True, owns=False, validate=validate)
NEW_FORM = Strategy(name_rule=validation.path_segment, create_on_update=True, owns=False, validate=validate_new_form)
