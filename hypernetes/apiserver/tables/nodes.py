"""Cells of nodes."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import UNKNOWN, age_of
from hypernetes.apiserver.tables.labels import NONE

Object = dict[str, Any]

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def node(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status", {})
    info = status.get("nodeInfo") or {}
    return [
        obj["metadata"]["name"], _readiness(obj), _roles(obj), age_of(obj, now), info.get("kubeletVersion", ""),
        _address(status, "InternalIP"), _address(status, "ExternalIP"), info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN, info.get("containerRuntimeVersion") or UNKNOWN,
    ]  # fmt: skip


def _readiness(obj: Object) -> str:
    ready = "Unknown"
    for condition in obj.get("status", {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            ready = "Ready" if condition.get("status") == "True" else "NotReady"
    return f"{ready},SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else ready


def _roles(obj: Object) -> str:
    roles = set()
    for key, value in (obj["metadata"].get("labels") or {}).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL and value:
            roles.add(value)
    return ",".join(sorted(roles)) or NONE


def _address(status: Object, kind: str) -> str:
    found = (entry.get("address") for entry in status.get("addresses") or () if entry.get("type") == kind)
    return next(found, None) or NONE
