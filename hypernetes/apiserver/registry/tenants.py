"""Tenants: the provider's customers, and what a new one starts with."""

import ipaddress
from datetime import datetime
from typing import Any

from hypernetes.api import tenancy, times
from hypernetes.apiserver import validation
from hypernetes.apiserver.quota import whole
from hypernetes.apiserver.registry import resourcenames
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

FINALIZER = "hypernetes.io/contents"  # the tenant's objects go before the tenant
INITIALIZING, ACTIVE, SUSPENDED, TERMINATING = "Initializing", "Active", "Suspended", "Terminating"
DELETION_GRACE_SECONDS = 300  # until what the tenant's people hold back ends all the same
STORED_BYTES, OBJECTS, EVENTS = "storedBytes", "objects", "eventsPerSecond"  # what spec.quota may bound, beside …
NOT_IN_LEDGER = frozenset({STORED_BYTES, OBJECTS, EVENTS})  # … what a ledger counts (tenantledgers.py)
DEFAULT_QUOTA = {STORED_BYTES: "64Mi"}  # since everything is mirrored in memory
EVENTS_PER_SECOND = 50  # unless spec.quota says another number; upstream's example
_MAX_WEIGHT = 100
_MAX_PREFIX = 28  # the smallest range: the API, the DNS and a few services
_MIN_PREFIX = 12


def prepare_create(tenant: Object) -> None:
    tenant["status"] = {"phase": INITIALIZING}
    tenant["metadata"]["finalizers"] = [FINALIZER]
    tenant.setdefault("spec", {}).setdefault("serviceCIDR", tenancy.DEFAULT_SERVICE_CIDR)


def prepare_update(new: Object, old: Object) -> None:
    new.setdefault("spec", {}).setdefault("serviceCIDR", old["spec"]["serviceCIDR"])
    if new.get("status", {}).get("phase") in (ACTIVE, SUSPENDED):
        new["status"]["phase"] = phase(new)


def phase(tenant: Object) -> str:
    """Of a tenant that is complete and isn't being deleted."""
    return SUSPENDED if tenant.get("spec", {}).get("suspended") else ACTIVE


def with_condition(tenant: Object, told: tuple[str, str, str, str], now: datetime) -> Object:
    """The tenant with a condition (type, status, reason, message); its time is that of the last change of status."""
    type, status, reason, message = told
    former = tenant.get("status", {}).get("conditions") or []
    old = next((each for each in former if each["type"] == type), None)
    since = times.format_time(now) if old is None or old["status"] != status else old["lastTransitionTime"]
    wanted = {"type": type, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    kept = [each for each in former if each["type"] != type]
    return {**tenant, "status": {**tenant.get("status", {}), "conditions": [*kept, wanted]}}


def validate(tenant: Object) -> Causes:
    cidr = tenant["spec"]["serviceCIDR"]
    grace = tenant["spec"].get("deletionGracePeriodSeconds")
    causes = validation.non_negative(grace, "spec.deletionGracePeriodSeconds")
    weight = tenant["spec"].get("weight", 1)
    if not 1 <= weight <= _MAX_WEIGHT:
        causes += validation.invalid("spec.weight", weight, f"must be between 1 and {_MAX_WEIGHT}")
    for name, amount in (tenant["spec"].get("quota") or {}).items():
        path = f"spec.quota[{name}]"
        causes += _quota_name(name, path) + validation.non_negative_quantity(amount, path)
    for name, amount in (tenant["spec"].get("podDefaults") or {}).items():
        path = f"spec.podDefaults[{name}]"
        causes += validation.one_of(name, ("cpu", "memory"), path) + validation.non_negative_quantity(amount, path)
    wrong = validation.cidr(cidr, "spec.serviceCIDR")
    if wrong:
        return causes + wrong
    network = ipaddress.ip_network(cidr)
    if network.version != 4 or not _MIN_PREFIX <= network.prefixlen <= _MAX_PREFIX:
        why = f"must be an IPv4 range between /{_MIN_PREFIX} and /{_MAX_PREFIX}"
        causes += validation.invalid("spec.serviceCIDR", cidr, why)
    elif network.overlaps(ipaddress.ip_network(tenancy.DEFAULT_SUBNET_CIDR)):
        why = f"overlaps the default network's {tenancy.DEFAULT_SUBNET_CIDR}"
        causes += validation.invalid("spec.serviceCIDR", cidr, why)
    return causes


def _quota_name(name: str, path: str) -> Causes:
    if name in NOT_IN_LEDGER or name in whole.SHORT or name == whole.FLOATING_IPS:
        return []
    return resourcenames.of_quota(name, path)


def validate_update(new: Object, old: Object) -> Causes:
    if new["spec"]["serviceCIDR"] != old["spec"]["serviceCIDR"]:
        return validation.invalid("spec.serviceCIDR", new["spec"]["serviceCIDR"], "field is immutable")
    return []


def validate_name(name: str, path: str) -> Causes:
    if name == tenancy.SYSTEM_TENANT:
        return validation.forbidden(path, "the tenant `system` is the provider's own")
    return validation.dns_label(name, path)


def begin_deletion(tenant: Object) -> None:
    tenant["status"] = {**tenant.get("status", {}), "phase": TERMINATING}


STRATEGY = Strategy(
    name_rule=validate_name,
    has_status=True,
    generation=True,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    before_delete=begin_deletion,
)
