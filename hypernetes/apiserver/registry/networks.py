"""Networks of a tenant, and the ports (claimed addresses) on them."""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]


def prepare_create(network: Object) -> None:
    network["status"] = {"phase": "Initializing"}


def validate(network: Object) -> Causes:
    spec = network.get("spec", {})
    subnets = spec.get("subnets") or {}
    causes: Causes = []
    if not subnets and not spec.get("providerNetworkID"):
        causes += validation.required("spec.subnets", "a network has subnets or a providerNetworkID")
    if subnets and spec.get("providerNetworkID"):
        causes += validation.forbidden("spec.subnets", "may not be given together with providerNetworkID")
    known: list[Any] = []
    for name, subnet in subnets.items():
        path = f"spec.subnets[{name}]"
        causes += validation.dns_label(name, path)
        found = validation.cidr(subnet.get("cidr") or "", f"{path}.cidr")
        causes += found
        if not found:
            causes += _subnet(subnet, ipaddress.ip_network(subnet["cidr"]), known, path)
    return causes


def _subnet(subnet: Object, range_: Any, known: list[Any], path: str) -> Causes:
    causes: Causes = []
    if any(range_.version == other.version and range_.overlaps(other) for other in known):
        causes += validation.invalid(f"{path}.cidr", str(range_), "overlaps another subnet of the network")
    known.append(range_)
    gateway = subnet.get("gateway")
    if gateway:
        found = validation.ip(gateway, f"{path}.gateway")
        if not found and ipaddress.ip_address(gateway) not in range_:
            found = validation.invalid(f"{path}.gateway", gateway, f"is not in {range_}")
        causes += found
    for number, text in enumerate(subnet.get("allocationRanges") or ()):
        if not _within(text, range_):
            causes += validation.invalid(
                f"{path}.allocationRanges[{number}]", text, f'must be "FIRST-LAST", both addresses of {range_}'
            )
    return causes


def _within(text: str, range_: Any) -> bool:
    first, _, last = text.partition("-")
    try:
        ends = [ipaddress.ip_address(first), ipaddress.ip_address(last)]
    except ValueError:
        return False
    return all(end in range_ for end in ends) and int(ends[0]) <= int(ends[1])


def validate_update(new: Object, old: Object) -> Causes:
    if new.get("spec", {}) != old.get("spec", {}):
        return validation.forbidden("spec", "a network can't change; make another one")
    return []


def validate_port(port: Object) -> Causes:
    spec = port.get("spec") or {}
    network, address = spec.get("network") or "", spec.get("address") or ""
    causes = validation.required("spec.network") if not network else []
    causes += validation.ip(address, "spec.address") if address else validation.required("spec.address")
    wanted = f"{network}.{address.replace(':', '-')}"
    if not causes and port["metadata"].get("name") != wanted:
        # the name is the claim: a port called otherwise would hold the address against nobody
        causes += validation.invalid("metadata.name", port["metadata"].get("name"), f"must be {wanted}")
    return causes


def validate_port_update(new: Object, old: Object) -> Causes:
    if new.get("spec") != old["spec"]:
        return validation.forbidden("spec", "a port can't change; delete it and claim another")
    return []


NETWORKS = Strategy(
    has_status=True, generation=True, prepare_create=prepare_create, validate=validate, validate_update=validate_update
)
PORTS = Strategy(has_status=True, validate=validate_port, validate_update=validate_port_update)
