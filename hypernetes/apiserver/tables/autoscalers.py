"""Cells of horizontal pod autoscalers, of both versions."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.registry import autoscalerversions
from hypernetes.apiserver.tables.ages import UNKNOWN, age_of
from hypernetes.apiserver.tables.labels import NONE

Object = dict[str, Any]

_MOST = 2  # metrics shown
_UNSET = "<unset>"
# a metric's type -> the field that describes it
_FIELDS = {
    "ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods",
    "Resource": "resource",
}  # fmt: skip


def autoscaler(obj: Object, now: datetime) -> list[Any]:
    stored = autoscalerversions.to_v2(obj) if obj.get("apiVersion") == autoscalerversions.V1 else obj
    spec, status = stored.get("spec", {}), stored.get("status", {})
    target = spec.get("scaleTargetRef") or {}
    minimum = spec.get("minReplicas")
    metrics = _metrics(spec.get("metrics") or [], status.get("currentMetrics") or [])
    return [
        obj["metadata"]["name"], f"{target.get('kind', '')}/{target.get('name', '')}", metrics,
        _UNSET if minimum is None else str(minimum),
        spec.get("maxReplicas", 0), status.get("currentReplicas", 0), age_of(obj, now),
    ]  # fmt: skip


def _metrics(metrics: list[Object], statuses: list[Object]) -> str:
    if not metrics:
        return NONE
    shown = []
    for index, metric in enumerate(metrics[:_MOST]):
        field = _FIELDS.get(metric.get("type", ""), "")
        source = metric.get(field) or {}
        current = ((statuses[index] if index < len(statuses) else {}).get(field) or {}).get("current") or {}
        shown.append(_metric(metric.get("type", ""), source, current))
    more = len(metrics) - len(shown)
    return ", ".join(shown) + (f" + {more} more..." if more else "")


def _metric(kind: str, source: Object, current: Object) -> str:
    target = source.get("target") or {}
    if kind in ("Resource", "ContainerResource"):
        name = f"{source.get('name', '')}: "
        if "averageValue" in target:
            return f"{name}{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        now, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        return f"{name}{UNKNOWN if now is None else f'{now}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if "averageValue" in target:
        average = "" if kind == "Pods" else " (avg)"
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', '0')}"
