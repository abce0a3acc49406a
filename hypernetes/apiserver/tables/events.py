"""Cells of events, of both API groups."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import UNKNOWN, since

Object = dict[str, Any]


def event(obj: Object, now: datetime) -> list[Any]:
    regarding = obj.get("involvedObject") or obj.get("regarding") or {}
    kind, name = regarding.get("kind", "").lower(), regarding.get("name", "")
    series = obj.get("series")
    first = _first_known(obj, now, "firstTimestamp", "deprecatedFirstTimestamp", "eventTime")
    last = _first_known(obj, now, "lastTimestamp", "deprecatedLastTimestamp")
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count", 0)
    return [
        first if last == UNKNOWN else last, obj.get("type", ""), obj.get("reason", ""),
        f"{kind}/{name}" if name else kind, regarding.get("fieldPath", ""), _source(obj),
        (obj.get("message") or obj.get("note") or "").strip(), first, count, obj["metadata"]["name"],
    ]  # fmt: skip


def _first_known(obj: Object, now: datetime, *fields: str) -> str:
    return since(next((obj[field] for field in fields if obj.get(field)), None), now)


def _source(obj: Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else str(component)
