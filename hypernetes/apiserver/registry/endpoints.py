"""Endpoints and EndpointSlices: addresses and ports behind a service."""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS, _MAX_PORTS, _MAX_ADDRESSES, _MAX_HINTS = 1000, 20_000, 100, 8  # upstream's figures


def validate_endpoints(endpoints: Object) -> Causes:
    causes: Causes = []
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes += validation.required(path, "must specify `addresses` or `notReadyAddresses`")
        for part in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(part) or ()):
                causes += _subset_address(address, f"{path}.{part}[{position}]")
        ports = subset.get("ports") or ()
        for position, port in enumerate(ports):
            causes += _subset_port(port, f"{path}.ports[{position}]", named=len(ports) > 1)
    return causes


def _subset_address(address: Object, path: str) -> Causes:
    number = address.get("ip") or ""
    causes = validation.ip(number, f"{path}.ip")
    if address.get("hostname"):
        causes += validation.dns_label(address["hostname"], f"{path}.hostname")
    if address.get("nodeName") is not None:
        causes += validation.dns_subdomain(address["nodeName"], f"{path}.nodeName")
    return causes + validation.ordinary_ip(number, f"{path}.ip")


def _subset_port(port: Object, path: str, *, named: bool) -> Causes:
    name, protocol = port.get("name") or "", port.get("protocol")
    causes: Causes = []
    if name:
        causes += validation.dns_label(name, f"{path}.name")
    elif named:
        causes += validation.required(f"{path}.name")
    causes += validation.port_number(port.get("port") or 0, f"{path}.port")
    causes += validation.one_of(protocol, _PROTOCOLS, f"{path}.protocol")
    if port.get("appProtocol") is not None:
        causes += validation.qualified_name(port["appProtocol"], f"{path}.appProtocol")
    return causes


def prepare_slice(endpoint_slice: Object) -> None:
    """Where an endpoint lies, it says in fields of their own, and not as it did before there was a version 1."""
    for endpoint in endpoint_slice.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def prepare_slice_update(new: Object, old: Object) -> None:
    if new.get("endpoints") != old.get("endpoints"):
        prepare_slice(new)


def validate_slice(endpoint_slice: Object) -> Causes:
    kind = endpoint_slice.get("addressType") or ""
    causes = validation.one_of(kind, _ADDRESS_TYPES, "addressType")
    endpoints, ports = endpoint_slice.get("endpoints") or (), endpoint_slice.get("ports") or ()
    if len(endpoints) > _MAX_ENDPOINTS:
        causes += validation.too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)
    else:
        for index, endpoint in enumerate(endpoints):
            causes += _endpoint(endpoint, kind, f"endpoints[{index}]")
    if len(ports) > _MAX_PORTS:
        return causes + validation.too_many("ports", len(ports), _MAX_PORTS)
    names: set[str] = set()
    for index, port in enumerate(ports):
        causes += _port(port, f"ports[{index}]")
        name = port.get("name") or ""
        if name in names:
            causes += validation.duplicate(f"ports[{index}].name", name)
        names.add(name)
    return causes


def _port(port: Object, path: str) -> Causes:
    causes = validation.dns_label(port["name"], f"{path}.name") if port.get("name") else []
    causes += validation.one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol")
    if port.get("appProtocol") is not None:
        causes += validation.qualified_name(port["appProtocol"], f"{path}.appProtocol")
    return causes


def _endpoint(endpoint: Object, kind: str, path: str) -> Causes:
    addresses = endpoint.get("addresses") or []
    causes: Causes = []
    if not addresses:
        causes += validation.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > _MAX_ADDRESSES:
        causes += validation.too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES)
    else:
        for index, address in enumerate(addresses):
            causes += _address(address, kind, f"{path}.addresses", index)
    if endpoint.get("nodeName") is not None:
        causes += validation.dns_subdomain(endpoint["nodeName"], f"{path}.nodeName")
    if endpoint.get("hostname") is not None:
        causes += validation.dns_label(endpoint["hostname"], f"{path}.hostname")
    hints = endpoint.get("hints") or {}
    for part in ("forNodes", "forZones"):
        causes += _hints(hints.get(part) or (), f"{path}.hints.{part}")
    return causes


def _address(address: str, kind: str, path: str, index: int) -> Causes:
    at = f"{path}[{index}]"
    if kind == "FQDN":
        return validation.fully_qualified_name(address, at)
    if kind not in _ADDRESS_TYPES:
        return []
    causes = validation.ip(address, at)
    if causes:
        return causes
    if f"IPv{ipaddress.ip_address(address).version}" != kind:
        causes += validation.invalid(path, address, f"must be an {kind} address")
    return causes + validation.ordinary_ip(address, at)


def _hints(hints: Any, path: str) -> Causes:
    if len(hints) > _MAX_HINTS:
        return validation.too_many(path, len(hints), _MAX_HINTS)
    names = [hint.get("name") or "" for hint in hints]
    causes: Causes = []
    for index, name in enumerate(names):
        if name in names[:index]:
            causes += validation.duplicate(f"{path}[{index}].name", name)
    return causes


def validate_slice_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "addressType")


def slice_warnings(endpoint_slice: Object, old: Object | None) -> list[str]:
    if endpoint_slice.get("addressType") == "FQDN":
        return ["addressType: FQDN endpoints are deprecated"]
    return []


ENDPOINTS = Strategy(complete=True, create_on_update=True, validate=validate_endpoints)
SLICES = Strategy(
    complete=True,
    generation=True,
    counts_metadata=("labels",),
    prepare_create=prepare_slice,
    prepare_update=prepare_slice_update,
    validate=validate_slice,
    validate_update=validate_slice_update,
    warnings=slice_warnings,
)
