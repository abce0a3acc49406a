"""Defaults that depend on what else an object says."""

from typing import Any

import pytest

from hypernetes.apiserver import schema


def completed(api_version: str, kind: str, **parts: Any) -> dict[str, Any]:
    kind_schema = schema.for_kind(api_version, kind)
    return kind_schema.default(kind_schema.decode({"metadata": {"name": "x"}, **parts})[0])


@pytest.mark.parametrize(
    ("limit", "default", "requested"),
    [
        ({"max": {"cpu": "2"}}, {"cpu": "2"}, {"cpu": "2"}),
        ({"min": {"cpu": "1"}}, None, {"cpu": "1"}),
        ({"max": {"cpu": "4"}, "default": {"cpu": "3"}, "min": {"cpu": "1"}}, {"cpu": "3"}, {"cpu": "3"}),
        ({"max": {"cpu": "4"}, "defaultRequest": {"cpu": "2"}}, {"cpu": "4"}, {"cpu": "2"}),
        ({}, None, None),
    ],
)
def test_a_containers_default_is_its_maximum_and_its_request_the_default(
    limit: dict[str, Any], default: Any, requested: Any
) -> None:
    made = completed("v1", "LimitRange", spec={"limits": [{"type": "Container", **limit}]})["spec"]["limits"][0]
    assert (made.get("default"), made.get("defaultRequest")) == (default, requested)


def test_other_limits_have_no_defaults() -> None:
    made = completed("v1", "LimitRange", spec={"limits": [{"type": "Pod", "max": {"cpu": "2"}}]})["spec"]["limits"][0]
    assert not made.keys() & {"default", "defaultRequest"}


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_a_network_policy_is_about_incoming_traffic_and_more_if_it_says_more(
    spec: dict[str, Any], types: list[str]
) -> None:
    assert completed("networking.k8s.io/v1", "NetworkPolicy", spec=spec)["spec"]["policyTypes"] == types


def test_an_autoscaler_without_metrics_watches_the_processors() -> None:
    target = {"scaleTargetRef": {"kind": "D", "name": "d"}, "maxReplicas": 3}
    metrics = completed("autoscaling/v2", "HorizontalPodAutoscaler", spec=target)["spec"]["metrics"]
    assert [metric["resource"]["target"]["averageUtilization"] for metric in metrics] == [80]
    old = completed("autoscaling/v1", "HorizontalPodAutoscaler", spec=target)["spec"]
    assert (old["minReplicas"], old["targetCPUUtilizationPercentage"]) == (1, 80)


def test_an_autoscalers_behaviour_is_completed_where_there_is_one() -> None:
    spec = {"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}
    behavior = completed("autoscaling/v2", "HorizontalPodAutoscaler", spec=spec)["spec"]["behavior"]
    assert behavior["scaleDown"]["selectPolicy"] == "Disabled"
    assert [policy["type"] for policy in behavior["scaleUp"]["policies"]] == ["Pods", "Percent"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert "stabilizationWindowSeconds" not in behavior["scaleDown"]
    assert "behavior" not in completed("autoscaling/v2", "HorizontalPodAutoscaler", spec={"maxReplicas": 3})["spec"]


def test_subjects_are_of_the_group_that_their_kind_is_of() -> None:
    subjects = [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "b", "namespace": "n"}]
    made = completed("rbac.authorization.k8s.io/v1", "RoleBinding", roleRef={"kind": "Role"}, subjects=subjects)
    assert made["roleRef"]["apiGroup"] == made["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    assert "apiGroup" not in made["subjects"][1]


def test_what_upstream_writes_as_null_or_zero_is_written_so() -> None:
    assert completed("rbac.authorization.k8s.io/v1", "Role")["rules"] is None
    assert completed("storage.k8s.io/v1", "CSINode", spec={"drivers": []})["spec"] == {"drivers": None}
    assert completed("scheduling.k8s.io/v1", "PriorityClass")["value"] == 0
    assert completed("policy/v1", "PodDisruptionBudget")["status"]["disruptionsAllowed"] == 0
