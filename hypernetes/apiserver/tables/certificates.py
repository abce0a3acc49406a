"""Cells of certificate signing requests."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of, duration
from hypernetes.apiserver.tables.labels import NONE

Object = dict[str, Any]


def signing_request(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    seconds = spec.get("expirationSeconds")
    return [
        obj["metadata"]["name"], age_of(obj, now), spec.get("signerName") or NONE, spec.get("username", ""),
        NONE if seconds is None else duration(seconds), _state(obj.get("status") or {}),
    ]  # fmt: skip


def _state(status: Object) -> str:
    found = {condition.get("type") for condition in status.get("conditions") or ()}
    state = "Denied" if "Denied" in found else "Approved" if "Approved" in found else "Pending"
    failed = ",Failed" if "Failed" in found else ""
    return f"{state}{failed}{',Issued' if status.get('certificate') else ''}"
