"""What each kind uses of a quota's names, and which objects are in which scopes: upstream's documentation as tables."""

from typing import Any

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver.quota import scopes, usage

Object = dict[str, Any]

PODS, SERVICES = scheme.by_name("v1", "pods"), scheme.by_name("v1", "services")
CLAIMS, DEPLOYMENTS = scheme.by_name("v1", "persistentvolumeclaims"), scheme.by_name("apps/v1", "deployments")


def pod(requests: Object | None = None, limits: Object | None = None, phase: str = "", **spec: Any) -> Object:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"spec": {"containers": [{"name": "c", "resources": resources}], **spec}, "status": {"phase": phase}}


def service(kind: str, *ports: Object, **spec: Any) -> Object:
    return {"spec": {"type": kind, "ports": list(ports), **spec}}


def claim(**spec: Any) -> Object:
    return {"spec": {"resources": {"requests": {"storage": "2Gi"}}, **spec}}


@pytest.mark.parametrize(
    ("resource", "obj", "used"),
    [
        (PODS, pod(), {"count/pods": "1", "pods": "1"}),
        (
            PODS,
            pod({"cpu": "1", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}, {"cpu": "2", "memory": "1Gi"}),
            {
                "count/pods": "1", "pods": "1", "cpu": "1", "requests.cpu": "1", "limits.cpu": "2",
                "limits.memory": "1Gi", "requests.example.com/gpu": "2", "hugepages-2Mi": "4Mi",
                "requests.hugepages-2Mi": "4Mi",
            },
        ),
        (PODS, pod({"cpu": "1"}, phase="Succeeded"), {"count/pods": "1"}),
        (PODS, pod({"cpu": "1"}, phase="Failed"), {"count/pods": "1"}),
        (
            PODS,
            pod({"cpu": "1"}, overhead={"cpu": "250m"}),
            {"count/pods": "1", "pods": "1", "cpu": "1250m", "requests.cpu": "1250m"},
        ),
        (
            SERVICES,
            service("ClusterIP", {}),
            {"count/services": "1", "services": "1", "services.nodeports": "0", "services.loadbalancers": "0"},
        ),
        (
            SERVICES,
            service("NodePort", {}, {}),
            {"count/services": "1", "services": "1", "services.nodeports": "2", "services.loadbalancers": "0"},
        ),
        (
            SERVICES,
            service("LoadBalancer", {}),
            {"count/services": "1", "services": "1", "services.nodeports": "1", "services.loadbalancers": "1"},
        ),
        (
            SERVICES,
            service("LoadBalancer", {}, {"nodePort": 30000}, allocateLoadBalancerNodePorts=False),
            {"count/services": "1", "services": "1", "services.nodeports": "1", "services.loadbalancers": "1"},
        ),
        (
            CLAIMS,
            claim(),
            {"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "2Gi"},
        ),
        (
            CLAIMS,
            claim(storageClassName="gold"),
            {
                "count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "2Gi",
                "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "gold.storageclass.storage.k8s.io/requests.storage": "2Gi",
            },
        ),
        (DEPLOYMENTS, {"spec": {}}, {"count/deployments.apps": "1"}),
        (scheme.by_name("v1", "secrets"), {}, {"count/secrets": "1", "secrets": "1"}),
    ],
)  # fmt: skip
def test_what_an_object_uses(resource, obj, used):
    assert usage.of(resource, obj) == used


@pytest.mark.parametrize(
    ("resource", "name", "concerned"),
    [
        (PODS, "pods", True),
        (PODS, "requests.cpu", True),
        (PODS, "limits.ephemeral-storage", True),
        (PODS, "requests.hugepages-1Gi", True),
        (PODS, "requests.example.com/gpu", True),
        (PODS, "requests.storage", False),
        (PODS, "gold.storageclass.storage.k8s.io/requests.storage", False),
        (PODS, "services", False),
        (SERVICES, "services.nodeports", True),
        (CLAIMS, "requests.storage", True),
        (CLAIMS, "gold.storageclass.storage.k8s.io/persistentvolumeclaims", True),
        (CLAIMS, "requests.cpu", False),
        (DEPLOYMENTS, "count/deployments.apps", True),
        (DEPLOYMENTS, "count/deployments", False),
        (DEPLOYMENTS, "deployments", False),
        (scheme.by_name("v1", "configmaps"), "configmaps", True),
        (scheme.by_name("v1", "events"), "count/events", False),
        (scheme.by_name("v1", "nodes"), "count/nodes", False),
    ],
)
def test_which_names_are_about_which_kind(resource, name, concerned):
    assert usage.names(resource, [name]) == ([name] if concerned else [])


def test_a_pod_must_state_what_is_bounded():
    two = {"spec": {"containers": [{"name": "b"}, {"name": "a"}], "initContainers": [{"name": "i"}]}}
    assert usage.unstated(two, ["requests.cpu", "pods"]) == {"requests.cpu": ["a", "b", "i"]}
    assert usage.unstated(pod({"cpu": "1"}), ["requests.cpu", "limits.cpu"]) == {"limits.cpu": ["c"]}
    assert usage.unstated(pod(), ["requests.ephemeral-storage"]) == {}


AFFINE = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}
LOOSELY = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaceSelector": {}}}]
    }
}
OWN = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x"}]}}


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        ("Terminating", [pod(activeDeadlineSeconds=0), pod(activeDeadlineSeconds=9)], [pod()]),
        ("NotTerminating", [pod()], [pod(activeDeadlineSeconds=0)]),
        ("BestEffort", [pod(), pod({"ephemeral-storage": "1Gi"})], [pod({"cpu": "1"}), pod(limits={"memory": "1"})]),
        ("NotBestEffort", [pod({"cpu": "1"})], [pod(), pod({"cpu": "0"})]),
        ("PriorityClass", [pod(priorityClassName="high")], [pod()]),
        ("CrossNamespacePodAffinity", [pod(affinity=AFFINE), pod(affinity=LOOSELY)], [pod(), pod(affinity=OWN)]),
        ("VolumeAttributesClass", [], [pod()]),
    ],
)
def test_pods_in_a_scope(scope, inside, outside):
    quota = {"spec": {"scopes": [scope]}}
    assert all(scopes.matches(quota, PODS, obj) for obj in inside)
    assert not any(scopes.matches(quota, PODS, obj) for obj in outside)
    assert not scopes.matches(quota, SERVICES, service("ClusterIP"))


@pytest.mark.parametrize(
    ("operator", "values", "high", "none"),
    [
        ("In", ["high"], True, False),
        ("In", ["low"], False, False),
        ("NotIn", ["low"], True, True),
        ("Exists", [], True, False),
        ("DoesNotExist", [], False, True),
    ],
)
def test_a_selector_of_priority_classes(operator, values, high, none):
    expression = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [expression]}}}
    assert scopes.matches(quota, PODS, pod(priorityClassName="high")) is high
    assert scopes.matches(quota, PODS, pod()) is none


def test_claims_by_their_attributes_class():
    expression = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [expression]}}}
    assert scopes.matches(quota, CLAIMS, claim(volumeAttributesClassName="fast"))
    changing = {**claim(), "status": {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "fast"}}}
    assert scopes.matches(quota, CLAIMS, changing)
    assert not scopes.matches(quota, CLAIMS, claim(volumeAttributesClassName="slow"))
    assert not scopes.matches(quota, PODS, pod())


def test_all_scopes_must_hold():
    quota = {"spec": {"scopes": ["BestEffort", "Terminating"]}}
    assert scopes.matches(quota, PODS, pod(activeDeadlineSeconds=1))
    assert not scopes.matches(quota, PODS, pod())
