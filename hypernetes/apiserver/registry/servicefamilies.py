"""Of which families a service's addresses are: what is filled in, and what may become of them (pure).

https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

IPV4, IPV6 = "IPv4", "IPv6"
FAMILIES = (IPV4, IPV6)
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
NONE = "None"  # the address of a headless service
_POLICY = "spec.ipFamilyPolicy"
_LISTS = {"clusterIPs": "multiple clusterIPs", "ipFamilies": "multiple ipFamilies"}


def family_of(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def complete(spec: Object, before: Object | None, configured: Sequence[str]) -> Causes:
    """Fills in policy and families. `configured` are the families the tenant has ranges of, its own first."""
    if spec.get("type") == "ExternalName" or (before is not None and _as_it_was(spec, before)):
        return []
    causes = _without_policy(spec) + _inferred(spec, configured)
    if causes:
        return causes
    anything = spec.get("clusterIP") == NONE and not spec.get("selector")
    spec.setdefault("ipFamilyPolicy", REQUIRE if anything else SINGLE)
    families = list(spec.get("ipFamilies") or ())
    if not anything:
        causes = _configured(spec["ipFamilyPolicy"], families, configured)
        if causes:
            return causes
    families = families or [configured[0]]
    # who makes the endpoints of a headless service without a selector may give it any family
    if spec["ipFamilyPolicy"] != SINGLE and len(families) == 1 and (anything or len(configured) > 1):
        families.append(IPV6 if families[0] == IPV4 else IPV4)
    spec["ipFamilies"] = families
    return []


def _as_it_was(spec: Object, before: Object) -> bool:
    """A service that would like two addresses doesn't get another just because the tenant has a second range by now."""
    named = ("type", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    return spec.get("ipFamilyPolicy") == PREFER and all(spec.get(name) == before.get(name) for name in named)


def _without_policy(spec: Object) -> Causes:
    if spec.get("ipFamilyPolicy", SINGLE) != SINGLE:
        return []
    causes: Causes = []
    for name, what in _LISTS.items():
        if len(spec.get(name) or ()) > 1:
            why = f"must be RequireDualStack or PreferDualStack when {what} are specified"
            causes += validation.invalid(_POLICY, spec.get("ipFamilyPolicy") or "", why)
    return causes


def _inferred(spec: Object, configured: Sequence[str]) -> Causes:
    """Addresses that are asked for say their families."""
    families = list(spec.get("ipFamilies") or ())
    causes: Causes = []
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address == NONE or index < len(families):
            continue
        family = family_of(address)
        if family not in configured:
            why = f"{family} is not configured on this cluster"
            causes += validation.invalid(f"spec.clusterIPs[{index}]", spec["clusterIPs"], why)
        families.append(family)
    if families:
        spec["ipFamilies"] = families
    return causes


def _configured(policy: str, families: Sequence[str], configured: Sequence[str]) -> Causes:
    causes: Causes = []
    if policy == REQUIRE and len(configured) < len(FAMILIES):
        causes += validation.invalid(_POLICY, policy, "this cluster is not configured for dual-stack services")
    for index, family in enumerate(families):
        if family not in configured:
            causes += validation.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
    return causes


def carry_over(spec: Object, before: Object) -> None:
    """An update that doesn't speak of families keeps them; one that wants a single one gives up the second."""
    for name in ("ipFamilies", "ipFamilyPolicy"):
        if name in before and not spec.get(name):
            spec[name] = before[name]
    if spec.get("ipFamilyPolicy") == SINGLE != before.get("ipFamilyPolicy"):
        for name in _LISTS:
            if spec.get(name) == before.get(name):
                spec[name] = (spec.get(name) or [])[:1]


def validate_update(spec: Object, before: Object) -> Causes:
    """The first address and family stay for good; a second may come, and go where the policy says SingleStack."""
    causes = _kept(spec, before, "clusterIPs", "clusterIP")
    if spec.get("clusterIP") == NONE and not spec.get("selector"):
        return causes
    return causes + _kept(spec, before, "ipFamilies", "ipFamily")


def _kept(spec: Object, before: Object, name: str, what: str) -> Causes:
    now, former = list(spec.get(name) or ()), list(before.get(name) or ())
    if not former:
        return []
    if not now:
        return validation.invalid(f"spec.{name}[0]", now, f"primary {what} can not be unset")
    causes: Causes = []
    for index, (value, old) in enumerate(zip(now, former, strict=False)):
        if value != old:
            causes += validation.invalid(f"spec.{name}[{index}]", value, "may not change once set")
    if len(now) < len(former) and spec.get("ipFamilyPolicy") != SINGLE:
        why = f"must be set to 'SingleStack' when releasing the secondary {what}"
        causes += validation.invalid(_POLICY, spec.get("ipFamilyPolicy") or "", why)
    return causes
