"""Roles, quotas, budgets, classes, autoscalers, requests, nodes: one change of a good object, and its causes."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hypernetes.apiserver.registry import leases, limitranges, priorityclasses, signingrequests
from tests.unit.apiserver.registry.changes import Found, Object, changed, completed, creating, updating

_RBAC = "rbac.authorization.k8s.io"


def made(api_version: str, kind: str, **parts: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "web"}, **parts}


def requested() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
ROLE = made(f"{_RBAC}/v1", "Role", rules=[RULE])
CLUSTER_ROLE = made(f"{_RBAC}/v1", "ClusterRole", rules=[{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}])
BINDING = made(
    f"{_RBAC}/v1", "RoleBinding", roleRef={"apiGroup": _RBAC, "kind": "Role", "name": "r"},
    subjects=[{"kind": "ServiceAccount", "name": "a", "namespace": "web"}, {"kind": "User", "name": "anna"}],
)  # fmt: skip
QUOTA = made("v1", "ResourceQuota", spec={"hard": {"pods": "5", "requests.cpu": "2", "count/jobs.batch": "3"}})
LIMITS = made("v1", "LimitRange", spec={"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]})
BUDGET = made("policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}})
PRIORITY = made("scheduling.k8s.io/v1", "PriorityClass", value=5)
RUNTIME = made("node.k8s.io/v1", "RuntimeClass", handler="vm", overhead={"podFixed": {"memory": "64Mi"}})
METRIC = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}}
SCALER = made(
    "autoscaling/v2", "HorizontalPodAutoscaler",
    spec={
        "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "metrics": [METRIC], "behavior": {"scaleUp": {}},
    },
)  # fmt: skip
REQUEST = made(
    "certificates.k8s.io/v1", "CertificateSigningRequest",
    spec={"request": requested(), "signerName": "example.com/s", "usages": ["client auth"]},
)  # fmt: skip
NODE = made("v1", "Node", spec={"podCIDR": "10.0.0.0/24", "providerID": "p://x"})
NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
ALL = [ROLE, CLUSTER_ROLE, BINDING, QUOTA, LIMITS, BUDGET, PRIORITY, RUNTIME, SCALER, REQUEST, NODE, NAMESPACE]

SELECTOR, EXPRESSIONS = "spec.scopeSelector", "spec.scopeSelector.matchExpressions"
TARGET = "spec.metrics[0].resource.target"
CREATES: list[tuple[Object, str, Any, Found]] = [
    (ROLE, "rules.0.verbs", [], [("rules[0].verbs", "Required")]),
    (ROLE, "rules", [{"nonResourceURLs": ["/x"], "verbs": ["get"]}], [("rules[0].nonResourceURLs", "Invalid")]),
    (CLUSTER_ROLE, "rules.0.resourceNames", ["a"], [("rules[0].nonResourceURLs", "Invalid")]),
    (CLUSTER_ROLE, "aggregationRule", {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}, []),
    (BINDING, "subjects.0.apiGroup", _RBAC, [("subjects[0].apiGroup", "NotSupported")]),
    (BINDING, "subjects.1.name", "", [("subjects[1].name", "Required")]),
    (BINDING, "roleRef.name", "a/b", [("roleRef.name", "Invalid")]),
    (QUOTA, "spec.hard", {"example.com/gpu": "1"}, []),
    (QUOTA, "spec.hard", {"services.nodeports": "1500m"}, [("spec.hard[services.nodeports]", "Invalid")]),
    (QUOTA, "spec.scopes", ["BestEffort"], [("spec.scopes", "Invalid")]),  # no CPU to count there
    (changed(QUOTA, "spec.hard", {"pods": "1"}), "spec.scopes", ["Terminating", "NotTerminating"],
     [("spec.scopes", "Invalid")]),
    (QUOTA, SELECTOR, {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]}, []),
    (QUOTA, SELECTOR, {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]}]},
     [(f"{EXPRESSIONS}.values", "Invalid")]),
    (QUOTA, SELECTOR, {"matchExpressions": [{"scopeName": "X", "operator": "Y"}]},
     [(f"{EXPRESSIONS}.scopeName", "Invalid"), (f"{EXPRESSIONS}.operator", "Invalid")]),
    (LIMITS, "spec.limits.0.max", {"cpu": "500m"},
     [("spec.limits[0].min[cpu]", "Invalid"), ("spec.limits[0].defaultRequest[cpu]", "Invalid"),
      ("spec.limits[0].default[cpu]", "Invalid")]),
    (LIMITS, "spec.limits.0", {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}, []),
    (LIMITS, "spec.limits.0", {"type": "Pod", "max": {"disk": "1"}},
     [("spec.limits[0].max[disk]", "Invalid"), ("spec.limits[0].max[disk]", "Invalid")]),
    (LIMITS, "spec.limits.0", {"type": "Container", "default": {"a.io/b": "2"}, "defaultRequest": {"a.io/b": "1"}},
     [("spec.limits[0].defaultRequest[a.io/b]", "Invalid")]),
    (BUDGET, "spec.maxUnavailable", "10%", [("spec", "Invalid")]),
    (BUDGET, "spec.minAvailable", "101%", [("spec.minAvailable", "Invalid")]),
    (BUDGET, "spec.minAvailable", "half", [("spec.minAvailable", "Invalid")]),
    (PRIORITY, "metadata.name", "system-cluster-critical", [("metadata.name", "Forbidden")]),
    (changed(PRIORITY, "value", 2_000_000_000), "metadata.name", "system-cluster-critical", []),
    (PRIORITY, "value", -(2**31), []),
    (RUNTIME, "overhead.podFixed", {"hugepages-2Mi": "2Mi"}, [("overhead", "Forbidden")]),
    (RUNTIME, "scheduling", {"tolerations": [{"key": "a", "operator": "Odd"}]},
     [("scheduling.tolerations[0].operator", "NotSupported")]),
    (SCALER, "spec.scaleTargetRef.apiVersion", "v1", [("spec.scaleTargetRef.apiVersion", "Invalid")]),
    (changed(SCALER, "spec.scaleTargetRef.apiVersion", "v1"), "spec.scaleTargetRef.kind", "ReplicationController", []),
    (SCALER, "spec.metrics.0.pods", {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}},
     [("spec.metrics[0].pods", "Forbidden")]),
    (SCALER, "spec.metrics.0.resource.target", {"type": "Odd", "averageUtilization": 0},
     [(f"{TARGET}.type", "Invalid"), (f"{TARGET}.averageUtilization", "Invalid")]),
    (SCALER, "spec.metrics.0.resource.target.averageValue", "1", [(f"{TARGET}.averageValue", "Forbidden")]),
    (SCALER, "spec.metrics", [{"type": "External"}], [("spec.metrics[0].external", "Required")]),
    (SCALER, "spec.behavior.scaleDown", {"policies": [{"type": "Odd", "value": 1, "periodSeconds": 1}]},
     [("spec.behavior.scaleDown.policies[0].type", "NotSupported")]),
    (SCALER, "spec.behavior.scaleUp.selectPolicy", "Odd", [("spec.behavior.scaleUp.selectPolicy", "NotSupported")]),
    (REQUEST, "spec.request", "eA==", [("spec.request", "Invalid")]),
    (REQUEST, "spec.usages", ["client auth", "client auth"], [("spec.usages[1]", "Duplicate")]),
    (REQUEST, "spec.signerName", "example.com", [("spec.signerName", "Invalid")]),
    (NODE, "spec.taints", [{"key": "a", "effect": "NoSchedule"}] * 2, [("metadata.taints[1]", "Duplicate")]),
    (NODE, "spec.podCIDRs", ["x"], [("spec.podCIDRs[0]", "Invalid")]),
    (NODE, "status", {"capacity": {"pods": "1500m"}, "allocatable": {"cpu": "1500m"}},
     [("status.capacity.pods", "Invalid")]),
    (NAMESPACE, "spec", {"finalizers": ["example.com/a"]}, []),
    (NAMESPACE, "spec", {"finalizers": ["a"]}, [("spec.finalizers", "Invalid")]),
]  # fmt: skip
UPDATES: list[tuple[Object, str, Any, Found]] = [
    (ROLE, "rules", [], []),
    (BINDING, "subjects", [], []),
    (BINDING, "roleRef.name", "other", [("roleRef", "Invalid")]),
    (QUOTA, "spec.hard.pods", "9", []),
    (changed(QUOTA, "spec.scopes", ["NotBestEffort"]), "spec.scopes", ["Terminating"], [("spec.scopes", "Invalid")]),
    (PRIORITY, "value", 6, [("value", "Forbidden")]),
    (PRIORITY, "preemptionPolicy", "Never", [("preemptionPolicy", "Invalid")]),
    (PRIORITY, "description", "d", []),
    (RUNTIME, "handler", "other", [("handler", "Invalid")]),
    (RUNTIME, "overhead.podFixed.memory", "1Gi", []),
    (REQUEST, "spec.usages", ["server auth"], []),  # and stays as it is
    (NODE, "spec.unschedulable", True, []),
    (NODE, "spec.podCIDRs", ["10.0.1.0/24"], [("spec.podCIDRs", "Forbidden")]),
    (changed(NODE, "spec", {}), "spec.podCIDRs", ["10.0.1.0/24"], []),
    (NODE, "spec.providerID", "p://y", [("spec.providerID", "Forbidden")]),
]  # fmt: skip
CONDITION = {"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R", "message": ""}
STATUSES: list[tuple[Object, Any, Found]] = [
    (QUOTA, {"hard": {"pods": "5"}, "used": {"pods": "-1"}}, [("status.used[pods]", "Invalid")]),
    (BUDGET, {"disruptionsAllowed": -1}, [("status.disruptionsAllowed", "Invalid")]),
    (BUDGET, {"conditions": [CONDITION]}, []),
    (BUDGET, {"conditions": [CONDITION, CONDITION]}, [("status.conditions[1].type", "Duplicate")]),
    (
        BUDGET,
        {"conditions": [{**CONDITION, "status": "Maybe", "reason": "a b"}]},
        [("status.conditions[0].status", "NotSupported"), ("status.conditions[0].reason", "Invalid")],
    ),
    (
        BUDGET,
        {"conditions": [{"type": "A"}]},
        [
            ("status.conditions[0].status", "NotSupported"),
            ("status.conditions[0].lastTransitionTime", "Required"),
            ("status.conditions[0].reason", "Required"),
        ],
    ),
    (SCALER, {"desiredReplicas": -1}, [("status.desiredReplicas", "Invalid")]),
    (NODE, {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}] * 2}, [("status.addresses[1]", "Duplicate")]),
    (NAMESPACE, {"phase": "Terminating"}, [("status.Phase", "Invalid")]),
    (NAMESPACE, {"phase": "Active"}, []),
]


@pytest.mark.parametrize("good", ALL, ids=lambda good: str(good["kind"]))
def test_a_good_object_is_taken_and_may_stay_as_it_is(good: Object) -> None:
    assert creating(good) == []
    assert updating(good) == []


@pytest.mark.parametrize(("obj", "path", "value", "causes"), CREATES)
def test_a_bad_object_is_refused_with_what_is_wrong(obj: Object, path: str, value: Any, causes: Found) -> None:
    assert creating(changed(obj, path, value)) == causes


@pytest.mark.parametrize(("obj", "path", "value", "causes"), UPDATES)
def test_what_is_fixed_stays(obj: Object, path: str, value: Any, causes: Found) -> None:
    assert updating(obj, (path, value)) == causes


@pytest.mark.parametrize(("obj", "status", "causes"), STATUSES)
def test_a_bad_status_is_refused(obj: Object, status: Any, causes: Found) -> None:
    assert updating(obj, ("status", status), subresource="status") == causes


def test_what_was_asked_of_a_signer_cannot_be_changed_and_says_who_asked() -> None:
    request = completed(REQUEST)
    request["spec"]["username"] = "somebody else"
    signingrequests.STRATEGY.asked_by(request, {"username": "anna", "groups": ["g"]})
    assert (request["spec"]["username"], request["spec"]["groups"]) == ("anna", ["g"])
    changed_usage = changed(request, "spec.usages", ["server auth"])
    signingrequests.STRATEGY.prepare_update(changed_usage, request)
    assert changed_usage["spec"] == request["spec"]


def test_a_limit_range_without_a_name_gets_one() -> None:
    unnamed = limitranges.STRATEGY.unnamed
    assert unnamed is not None
    assert unnamed() != unnamed()


def test_what_is_behind_a_gate_is_dropped() -> None:
    lease = made("coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "a", "strategy": "S"})
    assert completed(lease)["spec"] == {"holderIdentity": "a"}
    assert leases.validate(completed(lease)) == []


def test_a_priority_class_has_one_generation() -> None:
    old = completed(PRIORITY)
    assert old["metadata"]["generation"] == 1
    assert not priorityclasses.STRATEGY.generation
