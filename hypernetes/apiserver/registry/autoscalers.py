"""HorizontalPodAutoscalers, in the form of version 2: what to watch, and how fast to follow it."""

from collections.abc import Callable
from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_TARGETS = ("AverageValue", "Utilization", "Value")
_SELECT = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_MAX_WINDOW_SECONDS, _MAX_PERIOD_SECONDS = 3600, 1800
_WITHOUT_GROUP = ("ReplicationController",)  # kinds of the core group that can be scaled


def validate(autoscaler: Object) -> Causes:
    spec = autoscaler.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    causes: Causes = []
    if least is not None and least < 1:
        causes += validation.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if not most:
        causes += validation.required("spec.maxReplicas")
    elif most < 0:
        causes += validation.invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        causes += validation.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    causes += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", needs_group=True)
    for index, metric in enumerate(spec.get("metrics") or ()):
        causes += _metric(metric, f"spec.metrics[{index}]")
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        if name in behavior:
            causes += _rules(behavior[name], f"spec.behavior.{name}")
    return causes


def _reference(reference: Object, path: str, *, needs_group: bool = False) -> Causes:
    causes: Causes = []
    for name in ("kind", "name"):
        value, at = reference.get(name) or "", f"{path}.{name}"
        causes += validation.path_segment(value, at) if value else validation.required(at)
    version = reference.get("apiVersion") or ""
    group, slash, _ = version.partition("/")
    if version.count("/") > 1:
        causes += validation.invalid(f"{path}.apiVersion", version, "can't be read as group/version")
    elif needs_group and not slash and reference.get("kind") not in _WITHOUT_GROUP:
        causes += validation.invalid(f"{path}.apiVersion", version, "apiVersion must specify API group")
    elif slash:
        causes += validation.dns_subdomain(group, f"{path}.apiVersion")
    return causes


def _metric(metric: Object, path: str) -> Causes:
    kind = metric.get("type") or ""
    causes = validation.required(f"{path}.type", "must specify a metric source type") if not kind else []
    if kind not in _SOURCES:
        causes += validation.not_supported(f"{path}.type", kind, _SOURCES)
    present = [field for field, _ in _SOURCES.values() if field in metric]
    if present:
        check = next(check for field, check in _SOURCES.values() if field == present[0])
        causes += check(metric[present[0]], f"{path}.{present[0]}")
    if kind not in _SOURCES:
        why = f"must be one of the sources of metrics, not {kind!r}"
        return causes + [{**cause, "message": why} for cause in validation.not_supported(f"{path}.type", kind, ())]
    expected = _SOURCES[kind][0]
    if expected not in metric:
        why = "must populate information for the given metric source"
        causes += validation.required(f"{path}.{expected}", why)
    if len(present) != 1:
        for field in present:
            if field != expected:
                causes += validation.forbidden(f"{path}.{field}", "must populate the given metric source only")
    return causes


def _object(source: Object, path: str) -> Causes:
    causes = _reference(source.get("describedObject") or {}, f"{path}.describedObject")
    causes += _identifier(source, path) + _target(source, path)
    target = source.get("target") or {}
    if "value" not in target and "averageValue" not in target:
        causes += validation.required(f"{path}.target.averageValue", "must set either a target value or averageValue")
    return causes


def _external(source: Object, path: str) -> Causes:
    causes = _identifier(source, path) + _target(source, path)
    target = source.get("target") or {}
    if "value" not in target and "averageValue" not in target:
        why = "must set either a target value for metric or a per-pod target"
        causes += validation.required(f"{path}.target.averageValue", why)
    if "value" in target and "averageValue" in target:
        why = "may not set both a target value for metric and a per-pod target"
        causes += validation.forbidden(f"{path}.target.value", why)
    return causes


def _pods(source: Object, path: str) -> Causes:
    causes = _identifier(source, path) + _target(source, path)
    value = (source.get("target") or {}).get("averageValue")
    if value is None or quantity.parse(value) <= 0:
        causes += validation.required(f"{path}.target.averageValue", "must specify a positive target averageValue")
    return causes


def _resource(source: Object, path: str) -> Causes:
    causes: Causes = []
    if not source.get("name"):
        causes += validation.required(f"{path}.name", "must specify a resource name")
    causes += _target(source, path)
    target = source.get("target") or {}
    if "averageUtilization" not in target and "averageValue" not in target:
        why = "must set either a target raw value or a target utilization"
        causes += validation.required(f"{path}.target.averageUtilization", why)
    if "averageUtilization" in target and "averageValue" in target:
        why = "may not set both a target raw value and a target utilization"
        causes += validation.forbidden(f"{path}.target.averageValue", why)
    return causes


def _container_resource(source: Object, path: str) -> Causes:
    causes = _resource(source, path)
    if not source.get("container"):
        causes += validation.required(f"{path}.container", "must specify a container")
    return causes


def _identifier(source: Object, path: str) -> Causes:
    metric = source.get("metric") or {}
    name, at = metric.get("name") or "", f"{path}.metric.name"
    causes = validation.path_segment(name, at) if name else validation.required(at, "must specify a metric name")
    return causes + validation.label_selector(metric.get("selector"), f"{path}.metric.selector")


def _target(source: Object, path: str) -> Causes:
    target = source.get("target") or {}
    kind, at = target.get("type") or "", f"{path}.target"
    causes: Causes = []
    if not kind:
        causes += validation.required(f"{at}.type", "must specify a metric target type")
    if kind not in _TARGETS:
        causes += validation.invalid(f"{at}.type", kind, "must be either Utilization, Value, or AverageValue")
    for name in ("value", "averageValue"):
        if name in target and quantity.parse(target[name]) <= 0:
            causes += validation.invalid(f"{at}.{name}", target[name], "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        causes += validation.invalid(f"{at}.averageUtilization", utilization, "must be greater than 0")
    return causes


# type -> (the field that describes it, its check), in the order in which upstream looks at them
_SOURCES: dict[str, tuple[str, Callable[[Object, str], Causes]]] = {
    "Object": ("object", _object), "External": ("external", _external), "Pods": ("pods", _pods),
    "Resource": ("resource", _resource), "ContainerResource": ("containerResource", _container_resource),
}  # fmt: skip


def _rules(rules: Object, path: str) -> Causes:
    causes: Causes = []
    window, select, tolerance = (rules.get(key) for key in ("stabilizationWindowSeconds", "selectPolicy", "tolerance"))
    if window is not None and not 0 <= window <= _MAX_WINDOW_SECONDS:
        why = f"must be between 0 and {_MAX_WINDOW_SECONDS}"
        causes += validation.invalid(f"{path}.stabilizationWindowSeconds", window, why)
    if select is not None and select not in _SELECT:
        causes += validation.not_supported(f"{path}.selectPolicy", select, _SELECT)
    policies = rules.get("policies") or []
    if not policies:
        causes += validation.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        causes += _policy(policy, f"{path}.policies[{index}]")
    if tolerance is not None:
        causes += validation.non_negative_quantity(tolerance, f"{path}.tolerance")
    return causes


def _policy(policy: Object, path: str) -> Causes:
    causes: Causes = []
    if policy.get("type") not in _POLICIES:
        causes += validation.not_supported(f"{path}.type", policy.get("type") or "", _POLICIES)
    for name in ("value", "periodSeconds"):
        causes += validation.positive(policy.get(name) or 0, f"{path}.{name}")
    if (policy.get("periodSeconds") or 0) > _MAX_PERIOD_SECONDS:
        why = f"must be less than or equal to {_MAX_PERIOD_SECONDS}"
        causes += validation.invalid(f"{path}.periodSeconds", policy["periodSeconds"], why)
    return causes


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    counts = ("currentReplicas", "desiredReplicas")
    return [cause for name in counts for cause in validation.non_negative(status.get(name), f"status.{name}")]


STRATEGY = Strategy(complete=True, has_status=True, validate=validate, validate_status=validate_status)
