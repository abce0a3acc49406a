"""Ingresses, policies, addresses and endpoints: one change of a good object, and the causes it is refused with."""

from typing import Any

import pytest

from hypernetes.apiserver.registry import endpoints, ingresses, services
from tests.unit.apiserver.registry.changes import Found, Object, changed, completed, creating, updating


def made(api_version: str, kind: str, **parts: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "web"}, **parts}


SERVICE = {"service": {"name": "s", "port": {"number": 80}}}
INGRESS = made(
    "networking.k8s.io/v1", "Ingress",
    spec={"rules": [{"host": "a.example.com", "http": {
        "paths": [{"path": "/", "pathType": "Prefix", "backend": SERVICE}]}}]},
)  # fmt: skip
CLASS: Object = {
    "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "x"},
    "spec": {"controller": "example.com/c"},
}  # fmt: skip
POLICY = made(
    "networking.k8s.io/v1", "NetworkPolicy",
    spec={"podSelector": {}, "ingress": [{"ports": [{"port": 80}], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
)  # fmt: skip
ADDRESS: Object = {
    "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": "10.0.0.1"},
    "spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "web"}},
}  # fmt: skip
RANGE: Object = {
    "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "x"},
    "spec": {"cidrs": ["10.0.0.0/16"]},
}  # fmt: skip
ENDPOINTS = made("v1", "Endpoints", subsets=[{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}])
SLICE = made("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"]}])
ALL = [INGRESS, CLASS, POLICY, ADDRESS, RANGE, ENDPOINTS, SLICE]

RULE, PATH = "spec.rules.0", "spec.rules.0.http.paths.0"
AT = "spec.rules[0].http.paths[0]"
FROM, PORT = "spec.ingress.0.from", "spec.ingress.0.ports.0"
CREATES: list[tuple[Object, str, Any, Found]] = [
    (INGRESS, "spec", {}, [("spec", "Invalid")]),
    (INGRESS, "spec.rules", [{"host": "*.example.com"}], []),
    (INGRESS, "spec.rules", [{"host": "*.*.example.com"}], [("spec.rules[0].host", "Invalid")]),
    (INGRESS, "spec.rules", [{"http": {"paths": []}}], [("spec.rules[0].http.paths", "Required")]),
    (INGRESS, f"{PATH}.pathType", "Regex", [(f"{AT}.pathType", "NotSupported")]),
    (INGRESS, f"{PATH}.path", "/a//b", [(f"{AT}.path", "Invalid")]),
    (INGRESS, f"{PATH}.path", "/a/..", [(f"{AT}.path", "Invalid")]),
    (INGRESS, PATH, {"pathType": "ImplementationSpecific", "backend": SERVICE}, []),
    (INGRESS, f"{PATH}.backend", {}, [(f"{AT}.backend", "Invalid")]),
    (INGRESS, f"{PATH}.backend.service.name", "s.t", [(f"{AT}.backend.service.name", "Invalid")]),
    (INGRESS, f"{PATH}.backend.service.port", {"number": 80, "name": "http"}, [(f"{AT}.backend", "Invalid")]),
    (INGRESS, f"{PATH}.backend", {"resource": {"apiGroup": "A_b", "kind": "K", "name": "n"}},
     [(f"{AT}.backend.resource.apiGroup", "Invalid")]),
    (INGRESS, "spec.tls", [{"hosts": ["*.a.b", "a_b"], "secretName": "A"}],
     [("spec.tls[0].hosts[1]", "Invalid"), ("spec.tls[0].secretName", "Invalid")]),
    (INGRESS, "spec.ingressClassName", "A", [("spec.ingressClassName", "Invalid")]),
    (changed(INGRESS, "spec.ingressClassName", "a"), "metadata.annotations", {"kubernetes.io/ingress.class": "b"},
     [("annotations.kubernetes.io/ingress.class", "Invalid")]),
    (CLASS, "spec.controller", "", [("spec.controller", "Required")]),
    (CLASS, "spec.controller", "example.com/" + "x" * 240, [("spec.controller", "TooLong")]),
    (CLASS, "spec.parameters", {"kind": "K", "name": "n"}, []),
    (POLICY, f"{FROM}.0.podSelector", {}, [("spec.ingress[0].from[0]", "Forbidden")]),
    (POLICY, FROM, [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "fd00::/8"]}}],
     [("spec.ingress[0].from[0].ipBlock.except[1]", "Invalid")]),
    (POLICY, "spec.egress", [{"to": [{}]}], [("spec.egress[0].to[0]", "Required")]),
    (POLICY, f"{PORT}.endPort", 90, []),
    (POLICY, f"{PORT}.endPort", 70000, [("spec.ingress[0].ports[0].endPort", "Invalid")]),
    (POLICY, "spec.policyTypes", ["Ingress", "Egress", "Ingress"], [("spec.policyTypes", "Invalid")]),
    (ADDRESS, "spec.parentRef", None, [("spec.parentRef", "Required")]),
    (ADDRESS, "spec.parentRef.group", "A_b", [("spec.parentRef.group", "Invalid")]),
    (RANGE, "spec.cidrs", ["10.0.0.0/16", "fd00::/112"], []),
    (RANGE, "spec.cidrs", ["10.0.0.0/16", "10.1.0.0/16"], [("spec.cidrs", "Invalid")]),
    (RANGE, "spec.cidrs", ["10.0.0.0"], [("spec.cidrs[0]", "Invalid")]),
    (ENDPOINTS, "subsets.0.addresses.0.ip", "169.254.1.1", [("subsets[0].addresses[0].ip", "Invalid")]),
    (ENDPOINTS, "subsets.0.addresses.0.nodeName", "A", [("subsets[0].addresses[0].nodeName", "Invalid")]),
    (ENDPOINTS, "subsets.0.ports.0.protocol", "ICMP", [("subsets[0].ports[0].protocol", "NotSupported")]),
    (SLICE, "endpoints", [], []),
    (SLICE, "ports", [{"name": "a", "port": 1}, {"name": "a", "port": 2}], [("ports[1].name", "Duplicate")]),
    (SLICE, "endpoints.0.hints", {"forNodes": [{"name": str(n)} for n in range(9)]},
     [("endpoints[0].hints.forNodes", "TooMany")]),
    (changed(SLICE, "endpoints", []), "addressType", "FQDN", []),
    (changed(SLICE, "addressType", "FQDN"), "endpoints.0.addresses", ["local"],
     [("endpoints[0].addresses[0]", "Invalid")]),
]  # fmt: skip
UPDATES: list[tuple[Object, str, Any, Found]] = [
    (INGRESS, "spec.rules.0.host", "b.example.com", []),
    (CLASS, "spec.controller", "example.com/d", [("spec.controller", "Invalid")]),
    (ADDRESS, "spec.parentRef.name", "t", [("spec.parentRef", "Invalid")]),
    (RANGE, "spec.cidrs", ["10.0.0.0/16", "fd00::/112"], []),
    (RANGE, "spec.cidrs", ["10.1.0.0/16"], [("spec.cidrs[0]", "Invalid")]),
    (changed(RANGE, "spec.cidrs", ["10.0.0.0/16", "fd00::/112"]), "spec.cidrs", ["10.0.0.0/16"],
     [("spec.cidrs", "Invalid")]),
    (SLICE, "addressType", "IPv6", [("endpoints[0].addresses", "Invalid"), ("addressType", "Invalid")]),
]  # fmt: skip


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


@pytest.mark.parametrize(
    ("entry", "causes"),
    [
        ({"ip": "1.2.3.4"}, []),
        ({"hostname": "lb.example.com"}, []),
        ({"ip": "x"}, [("status.loadBalancer.ingress[0].ip", "Invalid")]),
        ({"hostname": "1.2.3.4"}, [("status.loadBalancer.ingress[0].hostname", "Invalid")]),
    ],
)
def test_what_an_ingress_is_reached_by_is_an_address_or_a_name(entry: Object, causes: Found) -> None:
    status = ("status", {"loadBalancer": {"ingress": [entry]}})
    assert updating(INGRESS, status, subresource="status") == causes


@pytest.mark.parametrize(
    ("kind", "entry", "causes"),
    [
        ("LoadBalancer", {"ip": "1.2.3.4", "ipMode": "VIP"}, []),
        ("LoadBalancer", {"ip": "1.2.3.4", "ipMode": "Odd"}, [("ipMode", "NotSupported")]),
        ("LoadBalancer", {"hostname": "a", "ipMode": "VIP"}, [("ipMode", "Forbidden")]),
        ("ClusterIP", {"ip": "1.2.3.4"}, [("", "Forbidden")]),
    ],
)
def test_only_a_balanced_service_is_reached_from_outside(kind: str, entry: Object, causes: Found) -> None:
    service = made("v1", "Service", spec={"type": kind, "ports": [{"port": 80}]})
    found = updating(service, ("status", {"loadBalancer": {"ingress": [entry]}}), subresource="status")
    path = "status.loadBalancer.ingress"
    assert found == [(f"{path}[0].{field}" if field else path, reason) for field, reason in causes]


def test_a_service_that_is_balanced_no_longer_loses_what_it_was_reached_by() -> None:
    old = completed(made("v1", "Service", spec={"type": "LoadBalancer", "ports": [{"port": 80}]}))
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    new = changed(changed(old, "spec.type", "ClusterIP"), "spec.selector", {"a": "b"})
    services.prepare_update(new, old)
    assert new["status"] == {"loadBalancer": {}}
    assert not new["spec"].keys() & {"allocateLoadBalancerNodePorts", "externalTrafficPolicy"}
    same = changed(old, "spec.selector", {"a": "b"})
    services.prepare_update(same, old)
    assert same["status"] == old["status"]


def test_the_port_for_health_checks_stays() -> None:
    spec = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 31000,
        "clusterIP": "1.1.1.1",
    }
    balanced = made("v1", "Service", spec={**spec, "ports": [{"port": 80}]})
    assert updating(balanced, ("spec.healthCheckNodePort", 31001)) == [("spec.healthCheckNodePort", "Invalid")]
    assert updating(balanced, ("spec.externalTrafficPolicy", "Cluster")) == []


def test_a_slice_says_where_its_endpoints_lie_in_the_new_way_only() -> None:
    old_way = changed(SLICE, "endpoints.0.deprecatedTopology", {"topology.kubernetes.io/zone": "a"})
    assert completed(old_way)["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {}}]
    moved = changed(changed(old_way, "endpoints.0.addresses", ["10.0.0.2"]), "endpoints.0.zone", "a")
    endpoints.SLICES.prepare_update(moved, completed(SLICE))
    assert moved["endpoints"] == [{"addresses": ["10.0.0.2"], "zone": "a"}]


def test_an_ingress_that_names_its_class_in_the_old_way_is_warned_of() -> None:
    old_way = completed(changed(INGRESS, "metadata.annotations", {"kubernetes.io/ingress.class": "b"}))
    assert len(ingresses.warnings(old_way, None)) == 1
    assert ingresses.warnings(old_way, old_way) == ingresses.warnings(completed(INGRESS), None) == []
