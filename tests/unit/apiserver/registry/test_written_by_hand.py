"""What people get wrong in manifests that they write by hand: the field that is named, and why."""

from typing import Any

import pytest

from hypernetes.apiserver.registry import (
    configs,
    deployments,
    endpoints,
    leases,
    replicasets,
    servicepolicies,
)
from hypernetes.apiserver.registry.podrules import spreads, volumesources

SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
POD = {
    "containers": [{"name": "c", "image": "nginx", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
    "restartPolicy": "Always",
    "dnsPolicy": "Default",
}


def found(causes: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(cause["field"], cause["reason"].removeprefix("FieldValue")) for cause in causes]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, []),
        ({"maxSkew": 0}, [("s[0].maxSkew", "Invalid")]),
        ({"topologyKey": ""}, [("s[0].topologyKey", "Required")]),
        ({"whenUnsatisfiable": "Maybe"}, [("s[0].whenUnsatisfiable", "NotSupported")]),
        ({"minDomains": 0}, [("s[0].minDomains", "Invalid")]),
        ({"minDomains": 2, "whenUnsatisfiable": "ScheduleAnyway"}, [("s[0].minDomains", "Invalid")]),
        ({"nodeTaintsPolicy": "X"}, [("s[0].nodeTaintsPolicy", "NotSupported")]),
        ({"labelSelector": {"matchLabels": {"a b": "c"}}}, [("s[0].labelSelector.matchLabels", "Invalid")]),
    ],
)
def test_spread_constraints(change: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert found(spreads.validate([{**SPREAD, **change}], "s")) == wanted


def test_the_same_spread_twice_is_a_duplicate() -> None:
    assert [reason for _, reason in found(spreads.validate([SPREAD, SPREAD], "s"))] == ["Duplicate"]


@pytest.mark.parametrize(
    ("volume", "wanted"),
    [
        ({"emptyDir": {}}, []),
        ({"secret": {}}, [("v.secret.secretName", "Required")]),
        ({"secret": {"secretName": "s", "defaultMode": 0o1000}}, [("v.secret.defaultMode", "Invalid")]),
        ({"configMap": {"name": "c", "items": [{"key": "k"}]}}, [("v.configMap.items[0].path", "Required")]),
        (
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}},
            [("v.configMap.items[0].path", "Invalid")],
        ),
        ({"hostPath": {"path": "/a/../b"}}, [("v.hostPath.path", "Invalid")]),
        ({"nfs": {"path": "a"}}, [("v.nfs.server", "Required"), ("v.nfs.path", "Invalid")]),
        ({"image": {"reference": "r", "pullPolicy": "X"}}, [("v.image.pullPolicy", "NotSupported")]),
    ],
)
def test_volume_sources(volume: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert found(volumesources.validate({"name": "n", **volume}, "v")) == wanted


@pytest.mark.parametrize(
    ("kind", "data", "wanted"),
    [
        ("Opaque", {}, []),
        ("kubernetes.io/tls", {"tls.crt": ""}, [("data[tls.key]", "Required")]),
        ("kubernetes.io/dockerconfigjson", {}, [("data[.dockerconfigjson]", "Required")]),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": ""}, [("data[ssh-privatekey]", "Required")]),
        ("kubernetes.io/basic-auth", {}, [("data[username]", "Required"), ("data[password]", "Required")]),
        ("kubernetes.io/basic-auth", {"username": "dQ=="}, []),
        (
            "kubernetes.io/service-account-token",
            {},
            [("metadata.annotations[kubernetes.io/service-account.name]", "Required")],
        ),
    ],
)
def test_a_secret_of_a_type_has_what_the_type_is_for(kind: str, data: dict[str, str], wanted: list[Any]) -> None:
    assert found(configs.validate_secret({"metadata": {"name": "s"}, "type": kind, "data": data})) == wanted


def test_a_selector_that_cannot_be_read_is_named_as_a_whole_too() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
    selector = {"matchExpressions": [{"key": "a", "operator": "In"}]}
    for validate in (replicasets.validate, deployments.validate):
        spec = {"selector": selector, "template": template, "strategy": {"type": "Recreate"}}
        assert found(validate({"spec": spec})) == [
            ("spec.selector.matchExpressions[0].values", "Required"), ("spec.selector", "Invalid"),
        ]  # fmt: skip


def test_a_lease_lasts() -> None:
    spec = {"leaseDurationSeconds": 0, "leaseTransitions": -1}
    assert found(leases.validate({"spec": spec})) == [
        ("spec.leaseDurationSeconds", "Invalid"), ("spec.leaseTransitions", "Invalid"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"type": "ClusterIP", "internalTrafficPolicy": "Local"}, []),
        ({"type": "ClusterIP", "internalTrafficPolicy": "X"}, [("spec.internalTrafficPolicy", "NotSupported")]),
        ({"type": "NodePort", "externalTrafficPolicy": "X"}, [("spec.externalTrafficPolicy", "NotSupported")]),
        ({"type": "ClusterIP", "externalTrafficPolicy": "Local"}, [("spec.externalTrafficPolicy", "Invalid")]),
        ({"type": "ClusterIP", "trafficDistribution": "X"}, [("spec.trafficDistribution", "NotSupported")]),
        (
            {"type": "ClusterIP", "allocateLoadBalancerNodePorts": True},
            [("spec.allocateLoadBalancerNodePorts", "Forbidden")],
        ),
        ({"sessionAffinity": "None", "sessionAffinityConfig": {}}, [("spec.sessionAffinityConfig", "Forbidden")]),
        ({"type": "ClusterIP", "loadBalancerClass": "x.io/y"}, [("spec.loadBalancerClass", "Forbidden")]),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1/8"]},
            [("spec.loadBalancerSourceRanges[0]", "Invalid")],
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
            [("spec.sessionAffinityConfig.clientIP.timeoutSeconds", "Invalid")],
        ),
    ],
)
def test_service_policies(spec: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert found(servicepolicies.validate({"sessionAffinity": "None", **spec})) == wanted


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, []),
        ({"addressType": "X"}, [("addressType", "NotSupported")]),
        ({"endpoints": [{"addresses": ["x"]}]}, [("endpoints[0].addresses[0]", "Invalid")]),
        ({"endpoints": [{"addresses": ["fd00::1"]}]}, [("endpoints[0].addresses", "Invalid")]),
        ({"endpoints": [{"addresses": ["127.0.0.1"]}]}, [("endpoints[0].addresses[0]", "Invalid")]),
        ({"endpoints": [{"addresses": ["10.0.0.1"] * 101}]}, [("endpoints[0].addresses", "TooMany")]),
        ({"ports": [{"name": "A b", "protocol": "TCP"}]}, [("ports[0].name", "Invalid")]),
    ],
)
def test_endpoint_slices(change: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    endpoint_slice = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], **change}
    assert found(endpoints.validate_slice(endpoint_slice)) == wanted
