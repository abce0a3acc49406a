"""One autoscaler in both of its versions: nothing is lost on the way through version 1."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.registry import autoscalerversions
from hypernetes.apiserver.registry.autoscalerversions import from_v2, to_v2

TARGET = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
PREFIX = "autoscaling.alpha.kubernetes.io/"


def autoscaler(spec=None, status=None, **metadata):
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", **metadata},
        "spec": {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 5, **(spec or {})},
        "status": {"desiredReplicas": 0, "currentMetrics": None, **(status or {})},
    }  # fmt: skip


def cpu(percent):
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def test_the_processors_utilisation_has_a_field_of_its_own():
    shown = from_v2(autoscaler({"metrics": [cpu(50)]}, {"currentReplicas": 2, "desiredReplicas": 3}))
    assert shown["spec"] == {
        "scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 5, "targetCPUUtilizationPercentage": 50,
    }  # fmt: skip
    assert shown["status"] == {"currentReplicas": 2, "desiredReplicas": 3}
    assert "annotations" not in shown["metadata"]


def test_what_version_1_cannot_say_is_carried_in_annotations():
    behavior = {"scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    pods = {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "1k"}}
    current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 9}}}]
    shown = from_v2(
        autoscaler(
            {"metrics": [cpu(50), {"type": "Pods", "pods": pods}], "behavior": behavior}, {"currentMetrics": current},
            annotations={"mine": "kept"},
        )
    )  # fmt: skip
    annotations = shown["metadata"]["annotations"]
    assert annotations["mine"] == "kept"
    assert annotations[f"{PREFIX}metrics"] == '[{"type":"Pods","pods":{"metricName":"q","targetAverageValue":"1k"}}]'
    assert annotations[f"{PREFIX}current-metrics"] == (
        '[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":9}}]'
    )
    assert orjson.loads(annotations[f"{PREFIX}behavior"]) == {
        "ScaleUp": None,
        "ScaleDown": {
            "StabilizationWindowSeconds": None, "SelectPolicy": "Max", "Tolerance": None,
            "Policies": [{"Type": "Pods", "Value": 1, "PeriodSeconds": 60}],
        },
    }  # fmt: skip
    assert shown["status"]["currentCPUUtilizationPercentage"] == 9


@pytest.mark.parametrize("text", ["", "{", "5", '"x"', "[5]", "null", '[{"type":"Pods","pods":7}]'])
def test_an_annotation_that_holds_something_else_is_no_error(text):
    shown = from_v2(autoscaler({"metrics": [cpu(50)]}))
    shown["metadata"]["annotations"] = {f"{PREFIX}{name}": text for name in ("metrics", "behavior", "conditions")}
    stored = to_v2(shown)
    assert "annotations" not in stored["metadata"]
    assert stored["spec"]["metrics"][-1] == cpu(50)


_names = st.sampled_from(["cpu", "memory", "queue"])
_values = st.sampled_from(["1", "500m", "2Ki"])
_targets = st.one_of(
    st.builds(lambda value: {"type": "AverageValue", "averageValue": value}, _values),
    st.builds(lambda value: {"type": "Value", "value": value}, _values),
)
_averages = st.builds(lambda value: {"type": "AverageValue", "averageValue": value}, _values)
_utilizations = st.builds(lambda number: {"type": "Utilization", "averageUtilization": number}, st.integers(1, 100))
_metrics = st.builds(lambda name: {"name": name}, _names)


def _source(kind, **fields):
    field = kind[0].lower() + kind[1:]
    return st.fixed_dictionaries({"type": st.just(kind), field: st.fixed_dictionaries(fields)})


_metric = st.one_of(
    _source("Resource", name=st.just("memory"), target=_averages | _utilizations),
    _source("ContainerResource", name=_names, container=st.just("a"), target=_averages | _utilizations),
    _source("Pods", metric=_metrics, target=_averages),
    _source("Object", metric=_metrics, describedObject=st.just(TARGET), target=_targets),
    _source("External", metric=_metrics, target=_targets),
)
_policies = st.builds(
    lambda kind, value: {"type": kind, "value": value, "periodSeconds": 15},
    st.sampled_from(["Pods", "Percent"]), st.integers(1, 100),
)  # fmt: skip
_rules = st.fixed_dictionaries(
    {}, optional={"selectPolicy": st.sampled_from(["Max", "Min"]), "policies": st.lists(_policies, min_size=1),
                  "stabilizationWindowSeconds": st.integers(0, 3600)},
)  # fmt: skip


@given(
    metrics=st.lists(_metric, max_size=4), percent=st.integers(1, 100),
    behavior=st.none() | st.fixed_dictionaries({}, optional={"scaleUp": _rules, "scaleDown": _rules}),
)  # fmt: skip
def test_what_goes_through_version_1_comes_back(metrics, percent, behavior):
    spec = {"metrics": [*metrics, cpu(percent)]} | ({} if not behavior else {"behavior": behavior})
    before = autoscaler(spec, annotations={"mine": "kept"})
    assert to_v2(from_v2(before)) == before


def test_version_1_is_named_as_such():
    assert from_v2(autoscaler())["apiVersion"] == autoscalerversions.V1
    assert to_v2(from_v2(autoscaler()))["apiVersion"] == autoscalerversions.V2
