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
_FIXED = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime",
    "action", "related", "reportingComponent", "reportingInstance",
)  # fmt: skip
_MAX_WORD, _MAX_NOTE = 128, 1024  # bytes; upstream's figures


def core_path(path: str) -> str | None:
    """What a field selector of events.k8s.io names, in a stored event; None for what only the core group's may name."""
    first, dot, rest = path.partition(".")
    return None if first in _NAMES or first == "source" else f"{_CORE_NAMES.get(first, first)}{dot}{rest}"


def from_core(event: Object) -> Object:
    """A stored event as one of events.k8s.io/v1."""
    renamed = {
        _NAMES.get(key, key): value
        for key, value in event.items()
        if value or key not in ("reportingComponent", "reportingInstance")  # only the core form says that they're empty
    }
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
    """What holds for an event of either form, as it is stored."""
    namespace, own = event.get("involvedObject", {}).get("namespace") or "", event["metadata"].get("namespace", "")
    if event.get("eventTime"):
        fits = bool(namespace) or own in ("default", "kube-system")
    else:
        fits = namespace == own or (not namespace and own == "default")
    causes: Causes = []
    if not fits:
        causes += validation.invalid("involvedObject.namespace", namespace, "does not match event.namespace")
    return causes + (_reporter(event) if event.get("eventTime") else [])


def _reporter(event: Object) -> Causes:
    """An event with an eventTime is of the newer form, which says who reports it and what was done."""
    controller = event.get("reportingComponent") or ""
    causes: Causes = [] if controller else validation.required("reportingController")
    causes += validation.qualified_name(controller, "reportingController")
    for path in ("reportingInstance", "action", "reason"):
        value = event.get(path) or ""
        if not value:
            causes += validation.required(path)
        elif len(value.encode()) > _MAX_WORD:
            causes += validation.invalid(path, value, f"can have at most {_MAX_WORD} characters")
    if len((event.get("message") or "").encode()) > _MAX_NOTE:
        causes += validation.invalid("message", "", f"can have at most {_MAX_NOTE} characters")
    return causes


def validate_new_form(event: Object) -> Causes:
    """What must hold for a new event that is written through events.k8s.io: nothing of the older form."""
    causes: Causes = []
    if not event.get("eventTime"):
        causes += validation.required("eventTime")
    if event.get("type") not in _TYPES:
        causes += validation.invalid("type", event.get("type"), f"has invalid value: {event.get('type')}")
    for name in ("firstTimestamp", "lastTimestamp", "count"):
        if event.get(name):
            causes += validation.invalid(name, event[name], "needs to be unset")
    if any((event.get("source") or {}).values()):
        causes += validation.invalid("source", event["source"], "needs to be unset")
    return causes


def validate_new_form_update(new: Object, old: Object) -> Causes:
    """Through the newer form, only how often it happened may change."""
    return validation.immutable(new, old, *_FIXED)


CORE = Strategy(name_rule=validation.path_segment, complete=True, create_on_update=True, owns=False, validate=validate)
NEW_FORM = Strategy(
    name_rule=validation.path_segment,
    complete=True,
    create_on_update=True,
    owns=False,
    validate=validate,
    validate_create=validate_new_form,
    validate_update=validate_new_form_update,
)
