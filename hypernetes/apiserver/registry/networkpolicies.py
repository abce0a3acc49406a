"""NetworkPolicies: who may talk to the pods of a selector, and whom they may talk to."""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TYPES = ("Egress", "Ingress")


def validate(policy: Object) -> Causes:
    spec = policy.get("spec") or {}
    causes = validation.label_selector(spec.get("podSelector"), "spec.podSelector")
    for part, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(part) or ()):
            path = f"spec.{part}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                causes += _port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(peers) or ()):
                causes += _peer(peer, f"{path}.{peers}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        return causes + validation.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
    for index, name in enumerate(types):
        if name not in _TYPES:
            causes += validation.not_supported(f"spec.policyTypes[{index}]", name, _TYPES)
    return causes


def _port(port: Object, path: str) -> Causes:
    causes: Causes = []
    protocol, number, last = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        causes += validation.not_supported(f"{path}.protocol", protocol, _PROTOCOLS)
    if number is not None:
        causes += validation.port_number_or_name(number, f"{path}.port")
    if last is None:
        return causes
    at = f"{path}.endPort"
    if number is None:
        causes += validation.invalid(at, last, "may not be specified when `port` is not specified")
    elif isinstance(number, str):
        causes += validation.invalid(at, last, "may not be specified when `port` is non-numeric")
    elif last < number:
        causes += validation.invalid(at, last, "must be greater than or equal to `port`")
    else:
        causes += validation.port_number(last, at)
    return causes


def _peer(peer: Object, path: str) -> Causes:
    causes: Causes = []
    for name in ("podSelector", "namespaceSelector"):
        causes += validation.label_selector(peer.get(name), f"{path}.{name}")
    if "ipBlock" in peer:
        causes += _block(peer["ipBlock"], f"{path}.ipBlock")
    if not peer:
        causes += validation.required(path, "must specify a peer")
    elif len(peer) > 1 and "ipBlock" in peer:
        causes += validation.forbidden(path, "may not specify both ipBlock and another peer")
    return causes


def _block(block: Object, path: str) -> Causes:
    cidr = block.get("cidr") or ""
    if not cidr:
        return validation.required(f"{path}.cidr")
    causes = validation.cidr(cidr, f"{path}.cidr")
    if causes:
        return causes
    whole = ipaddress.ip_network(cidr)
    for index, part in enumerate(block.get("except") or ()):
        at = f"{path}.except[{index}]"
        found = validation.cidr(part, at)
        if not found and not _is_part(ipaddress.ip_network(part), whole):
            found = validation.invalid(at, part, f"must be a strict subset of `cidr` {cidr}")
        causes += found
    return causes


def _is_part(part: Any, whole: Any) -> bool:
    return part.version == whole.version and part != whole and bool(part.subnet_of(whole))


STRATEGY = Strategy(complete=True, generation=True, validate=validate)
