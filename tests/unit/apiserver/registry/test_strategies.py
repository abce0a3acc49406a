"""Pods, Services and Deployments: one change of a good object, and the causes that it must be refused with."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver import registry, schema
from hypernetes.apiserver.registry import metadata

Object = dict[str, Any]
Causes = list[tuple[str, str]]

INVALID, REQUIRED, FORBIDDEN = "FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden"
DUPLICATE, UNSUPPORTED, NOT_FOUND = "FieldValueDuplicate", "FieldValueNotSupported", "FieldValueNotFound"
NOW = datetime(2026, 1, 2, tzinfo=UTC)

POD: Object = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "web"},
    "spec": {
        "containers": [{"name": "c", "image": "nginx", "ports": [{"name": "http", "containerPort": 80}]}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}  # fmt: skip
SERVICE: Object = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "web"},
    "spec": {"ports": [{"name": "a", "port": 80}], "clusterIP": "10.254.0.9"},
}  # fmt: skip
DEPLOYMENT: Object = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
    },
}  # fmt: skip


def changed(obj: Object, path: str, value: Any) -> Object:
    """A copy with the value at a path such as `spec.ports.0.port`."""
    new = copy.deepcopy(obj)
    at: Any = new
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdecimal() else at.setdefault(part, {})
    at[int(last) if last.isdecimal() else last] = value
    return new


def completed(obj: Object) -> Object:
    kind = schema.for_kind(obj["apiVersion"], obj["kind"])
    decoded, _ = kind.decode(obj)
    strategy = registry.of(scheme.by_kind(obj["apiVersion"], obj["kind"]))
    metadata.fill_new(decoded["metadata"], NOW, generation=strategy.generation)
    kind.default(decoded)
    strategy.prepare_create(decoded)
    return decoded


def creating(obj: Object) -> Causes:
    new = completed(obj)
    strategy = registry.of(scheme.by_kind(obj["apiVersion"], obj["kind"]))
    causes = metadata.validate(new["metadata"], strategy, namespaced=True) + strategy.validate(new)
    return [(cause["field"], cause["reason"]) for cause in causes]


def updating(old: Object, path: str, value: Any) -> Causes:
    before = completed(old)
    new = changed(before, path, value)
    strategy = registry.of(scheme.by_kind(old["apiVersion"], old["kind"]))
    strategy.prepare_update(new, before)
    causes = strategy.validate(new) + strategy.validate_update(new, before)
    return [(cause["field"], cause["reason"]) for cause in causes]


@pytest.mark.parametrize("good", [POD, SERVICE, DEPLOYMENT], ids=lambda good: str(good["kind"]))
def test_a_good_object_is_taken(good: Object) -> None:
    assert creating(good) == []


CONTAINER = "spec.containers.0"
BAD_PODS = [
    ("metadata.name", "Bad", [("metadata.name", INVALID)]),
    ("metadata.labels", {"a b": "c"}, [("metadata.labels", INVALID)]),
    ("spec.containers", [], [("spec.containers", REQUIRED)]),
    (f"{CONTAINER}.name", "c_c", [("spec.containers[0].name", INVALID)]),
    (f"{CONTAINER}.image", "", [("spec.containers[0].image", REQUIRED)]),
    (f"{CONTAINER}.image", " nginx", [("spec.containers[0].image", INVALID)]),
    (f"{CONTAINER}.imagePullPolicy", "Sometimes", [("spec.containers[0].imagePullPolicy", UNSUPPORTED)]),
    (f"{CONTAINER}.ports.0.containerPort", 0, [("spec.containers[0].ports[0].containerPort", REQUIRED)]),
    (f"{CONTAINER}.ports.0.containerPort", 65536, [("spec.containers[0].ports[0].containerPort", INVALID)]),
    (f"{CONTAINER}.ports.0.protocol", "ICMP", [("spec.containers[0].ports[0].protocol", UNSUPPORTED)]),
    (f"{CONTAINER}.env", [{"name": "A=B"}], [("spec.containers[0].env[0].name", INVALID)]),
    (f"{CONTAINER}.volumeMounts", [{"name": "w", "mountPath": "/"}],
     [("spec.containers[0].volumeMounts[0].name", NOT_FOUND)]),
    (f"{CONTAINER}.volumeMounts", [{"name": "v", "mountPath": "/a", "subPath": "x/../.."}],
     [("spec.containers[0].volumeMounts.subPath", INVALID)]),
    (f"{CONTAINER}.resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
     [("spec.containers[0].resources.requests", INVALID)]),
    (f"{CONTAINER}.resources", {"limits": {"memory": "-1"}},
     [(f"spec.containers[0].resources.{part}[memory]", INVALID) for part in ("limits", "requests")]),
    (f"{CONTAINER}.livenessProbe", {"periodSeconds": 1}, [("spec.containers[0].livenessProbe", REQUIRED)]),
    ("spec.initContainers", [{"name": "c", "image": "x"}], [("spec.initContainers[0].name", DUPLICATE)]),
    ("spec.volumes", [{"name": "v", "emptyDir": {}}] * 2, [("spec.volumes[1].name", DUPLICATE)]),
    ("spec.volumes", [{"name": "v", "configMap": {"items": []}}], [("spec.volumes[0].configMap.name", REQUIRED)]),
    ("spec.restartPolicy", "Maybe", [("spec.restartPolicy", UNSUPPORTED)]),
    ("spec.activeDeadlineSeconds", 0, [("spec.activeDeadlineSeconds", INVALID)]),
    ("spec.tolerations", [{"operator": "Exists", "tolerationSeconds": 1}], [("spec.tolerations[0].effect", INVALID)]),
    ("spec.hostname", "a.b", [("spec.hostname", INVALID)]),
]  # fmt: skip
BAD_SERVICES = [
    ("metadata.name", "a.b", [("metadata.name", INVALID)]),
    ("metadata.name", "1a", []),
    ("spec.ports", [], [("spec.ports", REQUIRED)]),
    ("spec.ports.0.port", 0, [("spec.ports[0].port", INVALID), ("spec.ports[0].targetPort", INVALID)]),
    ("spec.ports.0.protocol", "ICMP", [("spec.ports[0].protocol", UNSUPPORTED)]),
    ("spec.ports.0.targetPort", "a--b", [("spec.ports[0].targetPort", INVALID)]),
    ("spec.ports.0.nodePort", 30001, [("spec.ports[0].nodePort", FORBIDDEN)]),
    ("spec.ports", [{"port": 1}, {"name": "a", "port": 2}], [("spec.ports[0].name", REQUIRED)]),
    ("spec.ports", [{"name": "a", "port": 1}, {"name": "a", "port": 2}], [("spec.ports[1].name", DUPLICATE)]),
    ("spec.ports", [{"name": "a", "port": 1}, {"name": "b", "port": 1}], [("spec.ports[1]", DUPLICATE)]),
    ("spec.type", "Anycast", [("spec.type", UNSUPPORTED)]),
    ("spec.sessionAffinity", "Always", [("spec.sessionAffinity", UNSUPPORTED)]),
    ("spec.clusterIP", "10.254.0.300", [("spec.clusterIPs[0]", INVALID)]),
    ("spec.clusterIPs", ["10.254.0.8"], [("spec.clusterIPs", INVALID)]),
    ("spec.ipFamilies", ["IPv6"], [("spec.clusterIPs[0]", INVALID)]),
    ("spec", {"ports": [{"port": 1}], "ipFamilies": ["IPv5"]}, [("spec.ipFamilies[0]", UNSUPPORTED)]),
    ("spec", {"type": "ExternalName", "externalName": "a", "clusterIP": "1.1.1.1"}, [("spec.clusterIPs", FORBIDDEN)]),
    ("spec.externalIPs", ["127.0.0.1"], [("spec.externalIPs[0]", INVALID)]),
    ("spec.externalIPs", ["x"], [("spec.externalIPs[0]", INVALID)]),
    ("spec", {"type": "ExternalName"}, [("spec.externalName", REQUIRED)]),
    ("spec", {"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]}, [("spec.clusterIPs[0]", INVALID)]),
]  # fmt: skip
BAD_DEPLOYMENTS = [
    ("spec.replicas", -1, [("spec.replicas", INVALID)]),
    ("spec.selector", {}, [("spec.selector", INVALID)]),
    ("spec.selector.matchLabels.app", "y", [("spec.template.metadata.labels", INVALID)]),
    ("spec.minReadySeconds", -1, [("spec.minReadySeconds", INVALID)]),
    ("spec.strategy", {"type": "Recreate", "rollingUpdate": {}}, [("spec.strategy.rollingUpdate", FORBIDDEN)]),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
     [("spec.strategy.rollingUpdate.maxUnavailable", INVALID)]),
    ("spec.strategy", {"rollingUpdate": {"maxUnavailable": "101%"}},
     [("spec.strategy.rollingUpdate.maxUnavailable", INVALID)]),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": "many"}}, [("spec.strategy.rollingUpdate.maxSurge", INVALID)]),
    ("spec.progressDeadlineSeconds", 0, [("spec.progressDeadlineSeconds", INVALID)]),
    ("spec.template.spec.restartPolicy", "Never", [("spec.template.spec.restartPolicy", UNSUPPORTED)]),
    ("spec.template.spec.containers.0.image", "", [("spec.template.spec.containers[0].image", REQUIRED)]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "causes"), BAD_PODS)
def test_a_bad_pod_is_refused_with_the_field_that_is_wrong(path: str, value: Any, causes: Causes) -> None:
    assert creating(changed(POD, path, value)) == causes


@pytest.mark.parametrize(("path", "value", "causes"), BAD_SERVICES)
def test_a_bad_service_is_refused_with_the_field_that_is_wrong(path: str, value: Any, causes: Causes) -> None:
    assert creating(changed(SERVICE, path, value)) == causes


@pytest.mark.parametrize(("path", "value", "causes"), BAD_DEPLOYMENTS)
def test_a_bad_deployment_is_refused_with_the_field_that_is_wrong(path: str, value: Any, causes: Causes) -> None:
    assert creating(changed(DEPLOYMENT, path, value)) == causes


UPDATES = [
    (POD, "spec.containers.0.image", "nginx:2", []),
    (POD, "spec.tolerations", [{"key": "a", "operator": "Exists"}], []),
    (POD, "spec.nodeName", "n1", [("spec", FORBIDDEN)]),
    (POD, "spec.containers.0.env", [{"name": "A"}], [("spec", FORBIDDEN)]),
    (SERVICE, "spec.clusterIP", "", []),
    (SERVICE, "spec.selector", {"a": "b"}, []),
    (SERVICE, "spec.clusterIP", "None", [("spec.clusterIPs[0]", INVALID)]),
    (SERVICE, "spec.clusterIP", "10.254.0.10", [("spec.clusterIPs[0]", INVALID)]),
    (DEPLOYMENT, "spec.replicas", 7, []),
    (DEPLOYMENT, "spec.selector", {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
     [("spec.selector", INVALID)]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "path", "value", "causes"), UPDATES)
def test_what_an_update_may_change(old: Object, path: str, value: Any, causes: Causes) -> None:
    assert updating(old, path, value) == causes
