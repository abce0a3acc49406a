"""HorizontalPodAutoscalers are stored as autoscaling/v2; version 1 reads and writes the same objects.

Version 1 knows one metric, the processors' utilisation. What else there is it carries in annotations, as upstream does,
so that nothing is lost by who reads an object in the one version and writes it in the other. The annotations exist in
version 1 only.
"""

from collections.abc import Iterable
from typing import Any

import orjson

Object = dict[str, Any]

V1, V2 = "autoscaling/v1", "autoscaling/v2"
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS = (_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR)

# a metric's type -> the field that describes it
_FIELDS = {
    "Object": "object", "Pods": "pods", "Resource": "resource", "ContainerResource": "containerResource",
    "External": "external",
}  # fmt: skip
# The fields of a behaviour in its annotation, which upstream writes in its own, capitalised names.
_RULES = ("StabilizationWindowSeconds", "SelectPolicy", "Policies", "Tolerance")
_POLICY = ("Type", "Value", "PeriodSeconds")


def from_v2(autoscaler: Object) -> Object:
    """A stored object as version 1 shows it."""
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    metrics, current = spec.get("metrics") or [], status.get("currentMetrics") or []
    shown: Object = {key: spec[key] for key in ("scaleTargetRef", "minReplicas", "maxReplicas") if key in spec}
    processors = [each for each in metrics if _is_utilization(each, "target")]
    if processors:
        shown["targetCPUUtilizationPercentage"] = processors[0]["resource"]["target"]["averageUtilization"]
    others = [_metric_v1(each, "target") for each in metrics if not _is_utilization(each, "target")]
    carried: Object = {
        _METRICS: others,
        _CURRENT: [_metric_v1(each, "current") for each in current],
        _CONDITIONS: status.get("conditions"),
        _BEHAVIOR: _behavior_v1(spec["behavior"]) if spec.get("behavior") is not None else None,
    }
    found = {key: value for key, value in status.items() if key in ("observedGeneration", "lastScaleTime")}
    found |= {key: status.get(key, 0) for key in ("currentReplicas", "desiredReplicas")}
    used = [each for each in current if _is_utilization(each, "current")]
    if used:
        found["currentCPUUtilizationPercentage"] = used[0]["resource"]["current"]["averageUtilization"]
    metadata = autoscaler["metadata"]
    added = {key: orjson.dumps(value).decode() for key, value in carried.items() if value}
    if added:
        metadata = {**metadata, "annotations": {**(metadata.get("annotations") or {}), **added}}
    return {"apiVersion": V1, "kind": autoscaler["kind"], "metadata": metadata, "spec": shown, "status": found}


def to_v2(autoscaler: Object) -> Object:
    """An object of version 1 in the form it is stored in."""
    metadata = autoscaler["metadata"]
    annotations = metadata.get("annotations") or {}
    if any(key in annotations for key in _ANNOTATIONS):
        kept = {key: value for key, value in annotations.items() if key not in _ANNOTATIONS}
        metadata = {key: value for key, value in metadata.items() if key != "annotations"}
        metadata |= {"annotations": kept} if kept else {}
    stored: Object = {"apiVersion": V2, "kind": autoscaler["kind"], "metadata": metadata}
    if autoscaler.get("spec") is not None:
        stored["spec"] = _spec_v2(autoscaler["spec"], annotations)
    if autoscaler.get("status") is not None:
        stored["status"] = _status_v2(autoscaler["status"], annotations)
    return stored


def _spec_v2(spec: Object, annotations: Object) -> Object:
    made: Object = {key: value for key, value in spec.items() if key != "targetCPUUtilizationPercentage"}
    metrics = [_metric_v2(each, "target") for each in _carried(annotations, _METRICS, list)]
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is not None:
        metrics.append(_utilization("target", {"type": "Utilization", "averageUtilization": percent}))
    if metrics:
        made["metrics"] = metrics
    behavior = _carried(annotations, _BEHAVIOR, dict)
    if behavior:
        made["behavior"] = _behavior_v2(behavior)
    return made


def _status_v2(status: Object, annotations: Object) -> Object:
    made: Object = {key: value for key, value in status.items() if key != "currentCPUUtilizationPercentage"}
    if made.get("currentReplicas") == 0:
        del made["currentReplicas"]
    percent = status.get("currentCPUUtilizationPercentage")
    if percent is not None:
        made["currentMetrics"] = [_utilization("current", {"averageUtilization": percent})]
    current = _carried(annotations, _CURRENT, list)
    if current:
        made["currentMetrics"] = [_metric_v2(each, "current") for each in current]
    conditions = _carried(annotations, _CONDITIONS, list)
    if conditions:
        made["conditions"] = conditions
    made.setdefault("currentMetrics", None)
    return made


def _carried(annotations: Object, name: str, form: type[Any]) -> Any:
    """What an annotation holds; nothing where it holds something else, as upstream."""
    try:
        value = orjson.loads(annotations.get(name) or b"null")
    except orjson.JSONDecodeError:
        return form()
    if not isinstance(value, form) or (form is list and not all(isinstance(each, dict) for each in value)):
        return form()
    return value


def _is_utilization(metric: Object, side: str) -> bool:
    """Whether this is the metric that version 1 has a field for. `side` is "target", or "current" of a status."""
    resource = metric.get("resource") or {}
    utilization = (resource.get(side) or {}).get("averageUtilization")
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and utilization is not None


def _utilization(side: str, value: Object) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", side: value}}


def _metric_v1(metric: Object, side: str) -> Object:
    """A metric as version 1's annotations have it: what is wanted or found lies beside its name."""
    field = _FIELDS.get(metric.get("type", ""), "")
    source = metric.get(field) or {}
    value, named = source.get(side) or {}, source.get("metric") or {}
    name, selector = named.get("name", ""), named.get("selector")
    match field:
        case "resource" | "containerResource":
            made = {
                "name": source.get("name", ""), f"{side}AverageUtilization": value.get("averageUtilization"),
                f"{side}AverageValue": value.get("averageValue"), "container": source.get("container"),
            }  # fmt: skip
        case "pods":
            made = {"metricName": name, f"{side}AverageValue": value.get("averageValue"), "selector": selector}
        case "object":
            made = {
                "target": source.get("describedObject"), "metricName": name, f"{side}Value": value.get("value") or "0",
                "selector": selector, "averageValue": value.get("averageValue"),
            }  # fmt: skip
        case _:
            made = {
                "metricName": name, "metricSelector": selector, f"{side}Value": value.get("value"),
                f"{side}AverageValue": value.get("averageValue"),
            }  # fmt: skip
    return {"type": metric.get("type", ""), **({field: _present(made)} if field else {})}


def _metric_v2(metric: Object, side: str) -> Object:
    field = _FIELDS.get(metric.get("type", ""), "")
    source = metric.get(field) if isinstance(metric.get(field), dict) else {}
    assert source is not None
    value = {
        "value": source.get(f"{side}Value"),
        "averageValue": source.get("averageValue" if field == "object" else f"{side}AverageValue"),
        "averageUtilization": source.get(f"{side}AverageUtilization"),
    }
    if field == "object" and value["averageValue"] is not None and value["value"] == "0":
        value["value"] = None  # which version 1 couldn't leave out
    if side == "target":
        kind = "Value"
        if value["averageUtilization"] is not None:
            kind = "Utilization"
        elif value["averageValue"] is not None:
            kind = "AverageValue"
        value = {"type": kind, **value}
    named = {"name": source.get("metricName", ""), "selector": source.get("selector", source.get("metricSelector"))}
    made: Object = {side: _present(value)}
    if field in ("resource", "containerResource"):
        made |= _present({"name": source.get("name", ""), "container": source.get("container")})
    else:
        made |= _present({"metric": _present(named), "describedObject": source.get("target")})
    return {"type": metric.get("type", ""), **({field: made} if field else {})}


def _present(value: Object) -> Object:
    return {key: each for key, each in value.items() if each is not None}


def _behavior_v1(behavior: Object) -> Object:
    return {name: _rules_v1(behavior.get(_lower(name))) for name in ("ScaleUp", "ScaleDown")}


def _behavior_v2(behavior: Object) -> Object:
    """Names in any case, as Go's decoder takes them."""
    made = {}
    for name, rules in _folded(behavior, ("scaleUp", "scaleDown")).items():
        if isinstance(rules, dict):
            plain = _folded(rules, map(_lower, _RULES))
            policies = plain.get("policies")
            if isinstance(policies, list):
                plain["policies"] = [_folded(p, map(_lower, _POLICY)) for p in policies if isinstance(p, dict)]
            made[name] = _present(plain)
    return made


def _rules_v1(rules: Object | None) -> Object | None:
    if rules is None:
        return None
    made: Object = {name: rules.get(_lower(name)) for name in _RULES}
    if made["Policies"] is not None:
        made["Policies"] = [{name: each.get(_lower(name)) for name in _POLICY} for each in made["Policies"]]
    return made


def _folded(value: Object, names: Iterable[str]) -> Object:
    wanted = {name.lower(): name for name in names}
    return {wanted[key.lower()]: each for key, each in value.items() if key.lower() in wanted}


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
