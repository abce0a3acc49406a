"""EndpointSlices: addresses and ports behind a service."""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ADDRESSES = 100  # of one endpoint; upstream's figure


def validate_slice(endpoint_slice: Object) -> Causes:
    kind = endpoint_slice.get("addressType") or ""
    causes = validation.one_of(kind, _ADDRESS_TYPES, "addressType")
    for index, endpoint in enumerate(endpoint_slice.get("endpoints") or ()):
        causes += _endpoint(endpoint, kind, f"endpoints[{index}]")
    for index, port in enumerate(endpoint_slice.get("ports") or ()):
        at = f"ports[{index}]"
        if port.get("name"):
            causes += validation.dns_label(port["name"], f"{at}.name")
        if port.get("protocol"):
            causes += validation.one_of(port["protocol"], _PROTOCOLS, f"{at}.protocol")
        if port.get("appProtocol"):
            causes += validation.qualified_name(port["appProtocol"], f"{at}.appProtocol")
    return causes


def _endpoint(endpoint: Object, kind: str, path: str) -> Causes:
    addresses = endpoint.get("addresses") or []
    if len(addresses) > _MAX_ADDRESSES:
        return validation.too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES)
    causes: Causes = []
    for index, address in enumerate(addresses):
        causes += _address(address, kind, f"{path}.addresses[{index}]")
    if endpoint.get("nodeName"):
        causes += validation.dns_subdomain(endpoint["nodeName"], f"{path}.nodeName")
    if endpoint.get("hostname"):
        causes += validation.dns_label(endpoint["hostname"], f"{path}.hostname")
    return causes


def _address(address: str, kind: str, path: str) -> Causes:
    if kind == "FQDN":
        return validation.dns_subdomain(address, path)
    if kind not in _ADDRESS_TYPES:
        return []
    causes = validation.ip(address, path)
    if not causes and f"IPv{ipaddress.ip_address(address).version}" != kind:
        causes = validation.invalid(path, address, f"must be an {kind} address")
    return causes


SLICES = Strategy(generation=True, validate=validate_slice)
