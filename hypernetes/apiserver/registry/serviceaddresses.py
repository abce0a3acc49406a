"""Which cluster addresses a service may ask for: one of each family, or none at all. (claims.py gives them.)"""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.servicefamilies import FAMILIES, NONE, PREFER, REQUIRE, SINGLE
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MOST = 2
_POLICIES = (PREFER, REQUIRE, SINGLE)


def validate(spec: Object) -> Causes:
    causes = _addresses(spec) + _families(spec.get("ipFamilies") or [])
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        causes += validation.not_supported("spec.ipFamilyPolicy", policy, _POLICIES)
    return causes


def _addresses(spec: Object) -> Causes:
    listed, path = spec.get("clusterIPs") or [], "spec.clusterIPs"
    causes: Causes = []
    if listed and (spec.get("clusterIP") or "") != listed[0]:
        causes += validation.invalid(path, listed, "first value must match `clusterIP`")
    if listed and listed[0] == NONE and len(listed) > 1:
        return causes + validation.invalid(path, listed, "'None' must be the first and only value")
    wrong: Causes = []
    for index, address in enumerate(listed):
        if index or address != NONE:
            wrong += validation.ip(address, f"{path}[{index}]")
    if len(listed) > _MOST:
        wrong += validation.invalid(path, listed, "may only hold up to 2 values")
    if wrong:
        return causes + wrong
    versions = [ipaddress.ip_address(address).version for address in listed if address != NONE]
    if len(set(versions)) < len(versions):
        causes += validation.invalid(path, listed, "may specify no more than one IP for each IP family")
    for index, (version, family) in enumerate(zip(versions, spec.get("ipFamilies") or (), strict=False)):
        if family in FAMILIES and f"IPv{version}" != family:
            why = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            causes += validation.invalid(f"{path}[{index}]", listed[index], why)
    return causes


def _families(families: list[str]) -> Causes:
    causes: Causes = []
    for index, family in enumerate(families):
        if family not in FAMILIES:
            causes += validation.not_supported(f"spec.ipFamilies[{index}]", family, FAMILIES)
        elif family in families[:index]:
            causes += validation.duplicate(f"spec.ipFamilies[{index}]", family)
    return causes
