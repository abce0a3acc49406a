"""Events: stored as those of the core group; `events.k8s.io` names the same things differently."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

# core name -> events.k8s.io name
_NAMES = {
    "involvedObject": "regarding", "message": "note", "reportingComponent": "reportingController",
    "source": "deprecatedSource", "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp", "count": "deprecatedCount",
}  # fmt: skip
_CORE_NAMES = {new: old for old, new in _NAMES.items()}


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
    return []
