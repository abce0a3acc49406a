"""Defaults of limits, priorities, bindings of roles, classes of ingresses, network policies and autoscalers."""

from typing import Any

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"  # version 1 keeps there what it has no fields for
_CPU_PERCENT = 80
_WINDOW_SECONDS = 15  # of a scaling policy


def limit_range(obj: Object) -> None:
    """A container's default is its maximum, and its default request its default, else its minimum."""
    for limit in obj["spec"].get("limits") or ():
        if limit.get("type") != "Container":
            continue
        default = {**(limit.get("max") or {}), **(limit.get("default") or {})}
        request = {**(limit.get("min") or {}), **default, **(limit.get("defaultRequest") or {})}
        for name, amounts in (("default", default), ("defaultRequest", request)):
            if amounts:
                limit[name] = amounts


def priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def role_binding(obj: Object) -> None:
    """Of a namespace or of the cluster."""
    if not obj["roleRef"].get("apiGroup"):
        obj["roleRef"]["apiGroup"] = _RBAC
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)


def ingress_class(obj: Object) -> None:
    if "parameters" in obj["spec"]:
        obj["spec"]["parameters"].setdefault("scope", "Cluster")


def network_policy(obj: Object) -> None:
    spec = obj["spec"]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def autoscaler_v1(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("minReplicas", 1)
    if _METRICS_ANNOTATION not in (obj["metadata"].get("annotations") or {}):
        spec.setdefault("targetCPUUtilizationPercentage", _CPU_PERCENT)


def autoscaler_v2(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is None:
        return
    percent = {"type": "Percent", "value": 100, "periodSeconds": _WINDOW_SECONDS}
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    up.setdefault("policies", [{"type": "Pods", "value": 4, "periodSeconds": _WINDOW_SECONDS}, dict(percent)])
    down = behavior.setdefault("scaleDown", {})
    down.setdefault("policies", [dict(percent)])
    for rules in (up, down):
        rules.setdefault("selectPolicy", "Max")
