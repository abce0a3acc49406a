"""IPAddresses and ServiceCIDRs: who has which service address, and where those come from.

An IPAddress is the claim itself: it is written with its service (handlers/claims.py), and who makes one first has the
address. https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.servicefamilies import family_of
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

ALLOCATOR = "ipallocator.k8s.io"
MANAGED_BY, FAMILY_LABEL = "ipaddress.kubernetes.io/managed-by", "ipaddress.kubernetes.io/ip-family"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"  # of a range that services have addresses of
DEFAULT_RANGE = "kubernetes"  # the ServiceCIDR that a tenant begins with
READY = "Ready"
_MOST = 2  # one range of each family


def claimed(address: str, service: Object) -> Object:
    """The IPAddress of an address that the server gives to a service."""
    metadata = service["metadata"]
    labels = {FAMILY_LABEL: family_of(address), MANAGED_BY: ALLOCATOR}
    parent = {"resource": "services", "namespace": metadata["namespace"], "name": metadata["name"]}
    return {"kind": "IPAddress", "metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}}


def is_claim_of(address: Object, service: Object) -> bool:
    """Whether an IPAddress is a service's, and not somebody's who made it by hand for something else."""
    parent, metadata = address["spec"]["parentRef"], service["metadata"]
    names = (parent.get("namespace"), parent.get("name"))
    return is_service(parent) and names == (metadata["namespace"], metadata["name"])


def is_service(parent: Object) -> bool:
    return not parent.get("group") and parent.get("resource") == "services"


def default_range(service_cidr: str) -> Object:
    """The ServiceCIDR that a tenant begins with, ready."""
    return {
        "kind": "ServiceCIDR", "metadata": {"name": DEFAULT_RANGE, "finalizers": [FINALIZER]},
        "spec": {"cidrs": [service_cidr]},
    }  # fmt: skip


def ready(since: str) -> Object:
    """The condition of a range that addresses may be given from."""
    return {
        "type": READY, "status": "True", "lastTransitionTime": since, "reason": "",
        "message": "Kubernetes Service CIDR is ready",
    }  # fmt: skip


def is_ready(service_cidr: Object) -> bool:
    told = ((service_cidr.get("status") or {}).get("conditions")) or ()
    return "deletionTimestamp" not in service_cidr["metadata"] and any(
        condition["type"] == READY and condition["status"] == "True" for condition in told
    )


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


ADDRESSES = Strategy(
    name_rule=name_rule,
    complete=True,
    owns=False,
    validate=validate_address,
    validate_update=validate_address_update,
)
RANGES = Strategy(
    complete=True,
    has_status=True,
    validate=validate_range,
    validate_update=validate_range_update,
)
