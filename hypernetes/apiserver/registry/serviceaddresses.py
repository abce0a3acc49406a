"""Which cluster addresses a service may ask for: one, of IPv4, or none at all. (claims.py gives them.)"""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_NONE = "None"  # the address of a headless service
_MOST = 2
_FAMILIES = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")


def validate(spec: Object) -> Causes:
    causes = _addresses(spec) + _families(spec.get("ipFamilies") or [])
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        causes += validation.not_supported("spec.ipFamilyPolicy", policy, _POLICIES)
    if not causes:
        causes += _configured(spec, policy)
    return causes


def _addresses(spec: Object) -> Causes:
    listed, path = spec.get("clusterIPs") or [], "spec.clusterIPs"
    causes: Causes = []
    if listed and (spec.get("clusterIP") or "") != listed[0]:
        causes += validation.invalid(path, listed, "first value must match `clusterIP`")
    if listed and listed[0] == _NONE and len(listed) > 1:
        return causes + validation.invalid(path, listed, "'None' must be the first and only value")
    wrong: Causes = []
    for index, address in enumerate(listed):
        if index or address != _NONE:
            wrong += validation.ip(address, f"{path}[{index}]")
    if len(listed) > _MOST:
        wrong += validation.invalid(path, listed, "may only hold up to 2 values")
    if wrong:
        return causes + wrong
    versions = [ipaddress.ip_address(address).version for address in listed if address != _NONE]
    if len(set(versions)) < len(versions):
        causes += validation.invalid(path, listed, "may specify no more than one IP for each IP family")
    for index, (version, family) in enumerate(zip(versions, spec.get("ipFamilies") or (), strict=False)):
        if family in _FAMILIES and f"IPv{version}" != family:
            why = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            causes += validation.invalid(f"{path}[{index}]", listed[index], why)
    return causes


def _families(families: list[str]) -> Causes:
    causes: Causes = []
    for index, family in enumerate(families):
        if family not in _FAMILIES:
            causes += validation.not_supported(f"spec.ipFamilies[{index}]", family, _FAMILIES)
        elif family in families[:index]:
            causes += validation.duplicate(f"spec.ipFamilies[{index}]", family)
    return causes


def _configured(spec: Object, policy: str | None) -> Causes:
    """Services of ours have addresses of IPv4 only; those of a headless one without a selector are nobody's here."""
    if spec.get("clusterIP") == _NONE and not spec.get("selector"):
        return []
    families = spec.get("ipFamilies") or []
    several = len(families) > 1 or len(spec.get("clusterIPs") or ()) > 1
    if policy == "RequireDualStack" or (several and policy != "PreferDualStack"):
        return validation.invalid("spec.ipFamilyPolicy", policy or "", "the cluster has no dual-stack services")
    for index, family in enumerate(families):
        if family != "IPv4":
            return validation.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
    return []
