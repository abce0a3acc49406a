"""Cells of kinds that need no thought."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of

Object = dict[str, Any]


def name_and_age(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], age_of(obj, now)]


def name_and_birth(obj: Object, now: datetime) -> list[Any]:
    """Kinds without columns of their own."""
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp")]


def phase(obj: Object, now: datetime) -> list[Any]:
    """Namespaces."""
    return [obj["metadata"]["name"], obj.get("status", {}).get("phase", ""), age_of(obj, now)]


def component_status(obj: Object, now: datetime) -> list[Any]:
    condition = (obj.get("conditions") or [{}])[0]
    status = "Healthy" if condition.get("status") == "True" else "Unhealthy"
    return [obj["metadata"]["name"], status, condition.get("message", ""), condition.get("error", "")]


def config_map(obj: Object, now: datetime) -> list[Any]:
    entries = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [obj["metadata"]["name"], entries, age_of(obj, now)]


def secret(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), age_of(obj, now)]


def lease(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("spec", {}).get("holderIdentity") or "", age_of(obj, now)]
