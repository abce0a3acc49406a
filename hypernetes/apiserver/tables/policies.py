"""Cells of what rules over other objects: bindings of roles, disruption budgets, quota, priorities, runtime classes."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of

Object = dict[str, Any]


def role_binding(obj: Object, now: datetime) -> list[Any]:
    """Of a namespace or of the cluster."""
    role = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or ()
    accounts = [
        f"{subject.get('namespace', '')}/{subject['name']}"
        for subject in subjects
        if subject["kind"] == "ServiceAccount"
    ]
    return [
        obj["metadata"]["name"], f"{role.get('kind', '')}/{role.get('name', '')}", age_of(obj, now),
        _names(subjects, "User"), _names(subjects, "Group"), ", ".join(accounts),
    ]  # fmt: skip


def _names(subjects: Any, kind: str) -> str:
    return ", ".join(subject["name"] for subject in subjects if subject["kind"] == kind)


def disruption_budget(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    limits = [str(spec[name]) if name in spec else "N/A" for name in ("minAvailable", "maxUnavailable")]
    return [obj["metadata"]["name"], *limits, obj.get("status", {}).get("disruptionsAllowed", 0), age_of(obj, now)]


def resource_quota(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status", {})
    hard, used = status.get("hard") or {}, status.get("used") or {}
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    requests = ", ".join(text for name, text in shown.items() if not name.startswith("limits."))
    limits = ", ".join(text for name, text in shown.items() if name.startswith("limits."))
    return [obj["metadata"]["name"], requests, limits, age_of(obj, now)]


def priority_class(obj: Object, now: datetime) -> list[Any]:
    return [
        obj["metadata"]["name"], obj.get("value", 0), obj.get("globalDefault", False), age_of(obj, now),
        obj.get("preemptionPolicy", "PreemptLowerPriority"),
    ]  # fmt: skip


def runtime_class(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("handler", ""), age_of(obj, now)]
