"""Services: their addresses and ports."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import nodeports, serviceaddresses, servicefamilies, servicepolicies
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

HEADLESS = servicefamilies.NONE  # as a clusterIP
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "NetworkProvider")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_KUBELET_PORT = 10250
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
_BALANCED = ("NodePort", "LoadBalancer")
_REACHED = ("LoadBalancer", "NetworkProvider")  # types with addresses outside, in their status
# fields that only services of these types have
_OF_TYPES = {
    "allocateLoadBalancerNodePorts": ("LoadBalancer",),
    "loadBalancerClass": ("LoadBalancer",), "externalName": ("ExternalName",),
}  # fmt: skip


def addresses(service: Object) -> list[str]:
    """The cluster addresses that a service holds."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return []
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [address for address in listed if address and address != HEADLESS]


def without_address(service: Object) -> list[str]:
    """The families of which an address is still to be chosen, in the order of `clusterIPs`."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") == HEADLESS:
        return []
    families: list[str] = spec["ipFamilies"]
    return families[len(addresses(service)) :]


def assign(service: Object, address: str) -> None:
    """Gives a service one more address."""
    listed = [*addresses(service), address]
    service["spec"]["clusterIP"], service["spec"]["clusterIPs"] = listed[0], listed


def is_kubernetes(service: Object) -> bool:
    """The one service that may have the first address of the range."""
    return (service["metadata"]["namespace"], service["metadata"]["name"]) == ("default", "kubernetes")


def prepare_create(service: Object) -> None:
    service["status"] = {"loadBalancer": {}}
    spec = service["spec"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def prepare_update(new: Object, old: Object) -> None:
    """What the server once chose stays chosen where an update doesn't speak of it, and goes where it makes no sense."""
    spec, before = new["spec"], old["spec"]
    nodeports.carry_over(spec, before)
    _drop_what_other_types_have(spec, before)
    if spec.get("type") not in _REACHED:
        new["status"] = {**(new.get("status") or {}), "loadBalancer": {}}
    if spec.get("type") == "ExternalName":
        return
    if before.get("type") != "ExternalName":
        _keep_addresses(spec, before)
    elif spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    servicefamilies.carry_over(spec, before)


def _drop_what_other_types_have(spec: Object, before: Object) -> None:
    """A field that only the former type had goes, unless the client changed it: then it is to be told."""
    for name, types in _OF_TYPES.items():
        if before.get("type") in types and spec.get("type") not in types and spec.get(name) == before.get(name):
            spec.pop(name, None)
    policy = "externalTrafficPolicy"
    outside = servicepolicies.reached_from_outside
    if outside(before) and not outside(spec) and spec.get(policy) == before.get(policy):
        spec.pop(policy, None)
    if spec.get("type") == "ExternalName" != before.get("type"):
        for name in (*_ALLOCATED, "internalTrafficPolicy"):
            if spec.get(name) == before.get(name):
                spec.pop(name, None)


def _keep_addresses(spec: Object, before: Object) -> None:
    for name in ("clusterIP", "clusterIPs"):
        if not spec.get(name) and before.get(name):
            spec[name] = before[name]
    if spec.get("clusterIP") != before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]  # whoever changes the one means the other


def validate(service: Object) -> Causes:
    spec = service["spec"]
    kind, headless = spec.get("type"), spec.get("clusterIP") == HEADLESS
    causes = validation.one_of(kind, _TYPES, "spec.type")
    causes += validation.labels(spec.get("selector"), "spec.selector")
    if kind == "ExternalName":
        causes += _external_name(spec)
    elif not spec.get("ports") and not headless:
        causes += validation.required("spec.ports")
    if kind in _BALANCED and headless:
        causes += validation.invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {kind} services")
    causes += _ports(spec) + nodeports.validate(spec) + servicepolicies.validate(spec)
    if kind != "ExternalName":
        causes += serviceaddresses.validate(spec)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        causes += validation.ip(address, path) or validation.ordinary_ip(address, path)
    return causes


def _external_name(spec: Object) -> Causes:
    """A name elsewhere has no address here."""
    causes: Causes = []
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(name):
            causes += validation.forbidden(f"spec.{name}", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    return causes + (
        validation.dns_subdomain(name, "spec.externalName") if name else validation.required("spec.externalName")
    )


def _ports(spec: Object) -> Causes:
    causes: Causes = []
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    ports = spec.get("ports") or []
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name")
        if name:
            causes += validation.dns_label(name, f"{path}.name")
            if name in names:
                causes += validation.duplicate(f"{path}.name", name)
            names.add(name)
        elif len(ports) > 1:
            causes += validation.required(f"{path}.name")
        causes += validation.port_number(port.get("port") or 0, f"{path}.port")
        causes += validation.one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol")
        if port.get("targetPort") is not None:
            causes += validation.port_number_or_name(port["targetPort"], f"{path}.targetPort")
        if port.get("appProtocol") is not None:
            causes += validation.qualified_name(port["appProtocol"], f"{path}.appProtocol")
        if spec.get("type") == "LoadBalancer" and port.get("port") == _KUBELET_PORT:
            causes += validation.invalid(path, _KUBELET_PORT, "may not expose port externally: the kubelet uses it")
        number = (port.get("protocol"), port.get("port"))
        if number in numbers:
            causes += validation.duplicate(path, f"{number[1]}/{number[0]}")
        numbers.add(number)
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    """The address stays as long as the service has one, and so does what balances its load."""
    spec, before = new["spec"], old["spec"]
    causes: Causes = []
    balanced = spec.get("type") == before.get("type") == "LoadBalancer"
    if balanced and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        path = "spec.loadBalancerClass"
        causes += validation.invalid(path, spec.get("loadBalancerClass") or "", "may not change once set")
    path, both = "spec.healthCheckNodePort", nodeports.needs_health_check(spec) and nodeports.needs_health_check(before)
    if both and spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        causes += validation.invalid(path, spec.get("healthCheckNodePort"), "field is immutable")
    if "ExternalName" in (spec.get("type"), before.get("type")) or not before.get("clusterIP"):
        return causes
    return causes + servicefamilies.validate_update(spec, before)


def validate_status(new: Object, old: Object) -> Causes:
    entries = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    path = "status.loadBalancer.ingress"
    if entries and new["spec"].get("type") not in _REACHED:
        return validation.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
    return validation.balancer_addresses(entries, path)


def warnings(service: Object, old: Object | None) -> list[str]:
    spec, found = service["spec"], list[str]()
    if spec.get("clusterIP") == HEADLESS:
        for name in ("loadBalancerIP", "externalIPs"):
            if spec.get(name):
                found.append(f"spec.{name} is ignored when spec.clusterIP is 'None'")
        if spec.get("sessionAffinity") not in (None, "None"):
            found.append("spec.SessionAffinity is ignored for headless services")
    elif spec.get("externalIPs"):
        found.append("spec.externalIPs: deprecated since v1.36; use a load balancer's address instead")
    if spec.get("trafficDistribution") == "PreferClose":
        found.append("spec.trafficDistribution: PreferClose is deprecated; use PreferSameZone")
    return found


STRATEGY = Strategy(
    name_rule=validation.dns_label,
    complete=True,
    has_status=True,
    create_on_update=True,
    returns_deleted=True,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
)
