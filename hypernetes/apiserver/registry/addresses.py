"""IPAddresses and ServiceCIDRs: who has which service address, and where those come from. (Stored; not yet used.)"""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import conditions
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MOST = 2  # one range of each family


def name_rule(name: str, path: str) -> Causes:
    """An IPAddress is called what it is, in its one canonical form."""
    causes = validation.ip(name, path)
    if not causes and str(ipaddress.ip_address(name)) != name:
        causes = validation.invalid(path, name, f"must be in canonical form ({ipaddress.ip_address(name)})")
    return causes


def validate_address(address: Object) -> Causes:
    parent = (address.get("spec") or {}).get("parentRef")
    if parent is None:
        return validation.required("spec.parentRef")
    causes: Causes = []
    for name in ("resource", "name"):
        path, value = f"spec.parentRef.{name}", parent.get(name) or ""
        causes += validation.path_segment(value, path) if value else validation.required(path)
    if parent.get("namespace"):
        causes += validation.path_segment(parent["namespace"], "spec.parentRef.namespace")
    if parent.get("group"):
        causes += validation.dns_subdomain(parent["group"], "spec.parentRef.group")
    return causes


def validate_address_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "spec.parentRef")


def validate_range(service_cidr: Object) -> Causes:
    cidrs = (service_cidr.get("spec") or {}).get("cidrs") or []
    if not cidrs:
        return validation.required("spec.cidrs", "at least one CIDR required")
    causes: Causes = []
    if len(cidrs) > _MOST:
        causes += validation.invalid("spec.cidrs", cidrs, "may only hold up to 2 values")
    for index, cidr in enumerate(cidrs):
        causes += validation.cidr(cidr, f"spec.cidrs[{index}]")
    if not causes and len({ipaddress.ip_network(cidr).version for cidr in cidrs}) < len(cidrs):
        causes += validation.invalid("spec.cidrs", cidrs, "may specify no more than one IP for each IP family")
    return causes


def validate_range_update(new: Object, old: Object) -> Causes:
    """A range may get one of the other family beside it, and is as it is otherwise."""
    cidrs, before = ((each.get("spec") or {}).get("cidrs") or [] for each in (new, old))
    if len(cidrs) < len(before):
        return validation.invalid("spec.cidrs", cidrs, "field is immutable")
    causes: Causes = []
    for index, (cidr, former) in enumerate(zip(cidrs, before, strict=False)):
        if cidr != former:
            causes += validation.invalid(f"spec.cidrs[{index}]", cidr, "field is immutable")
    return causes


def validate_range_status(new: Object, old: Object) -> Causes:
    return conditions.validate((new.get("status") or {}).get("conditions"), "status.conditions")


ADDRESSES = Strategy(
    name_rule=name_rule,
    complete=True,
    validate=validate_address,
    validate_update=validate_address_update,
)
RANGES = Strategy(
    complete=True,
    has_status=True,
    validate=validate_range,
    validate_update=validate_range_update,
    validate_status=validate_range_status,
)
