"""Ports of the nodes that services have: which need one, and what becomes of them as a service changes (pure)."""

from collections.abc import Callable
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]


def needed(spec: Object) -> bool:
    """Whether each port of the service has a port of the nodes as well."""
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def held(service: Object) -> list[int]:
    """The ports that a service has; one number may serve several protocols, but is held once."""
    spec = service["spec"]
    found = {port.get("nodePort") or 0 for port in spec.get("ports") or ()} | {spec.get("healthCheckNodePort") or 0}
    return sorted(found - {0})


def assign(service: Object, choose: Callable[[set[int]], int]) -> None:
    """Completes a service with ports that `choose` gives; it is told which the service has already."""
    spec = service["spec"]
    has = set(held(service))
    if needed(spec):
        by_port: dict[int, int] = {}  # the same port in two protocols has one port of the nodes
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                port["nodePort"] = by_port.get(port["port"]) or choose(has)
                has.add(port["nodePort"])
            by_port[port["port"]] = port["nodePort"]
    if needs_health_check(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = choose(has)


def carry_over(spec: Object, before: Object) -> None:
    """An update that doesn't name them keeps them, port by port as they are called; a type without has none."""
    if needed(before) and needed(spec):
        _keep(spec, before)
    elif needed(before) and _numbers(spec) == _numbers(before):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_check(before):
        if needs_health_check(spec):
            spec.setdefault("healthCheckNodePort", before.get("healthCheckNodePort"))
        elif spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
            spec.pop("healthCheckNodePort", None)


def _keep(spec: Object, before: Object) -> None:
    ports = spec.get("ports") or []
    used = set(_numbers(before)) & set(_numbers(spec))
    by_name = {port.get("name", ""): port.get("nodePort") for port in before.get("ports") or ()}
    for port in ports:
        former = by_name.get(port.get("name", ""))
        if not port.get("nodePort") and former and former not in used:
            port["nodePort"] = former
            used.add(former)


def _numbers(spec: Object) -> list[int]:
    return [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]


def validate(spec: Object) -> Causes:
    """Where a service may say ports of the nodes, each once for a protocol."""
    causes: Causes = []
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        number, path = port.get("nodePort"), f"spec.ports[{index}].nodePort"
        if not number:
            continue
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            causes += validation.forbidden(path, f"may not be used when `type` is {spec.get('type')!r}")
        elif (port.get("protocol"), number) in seen:
            causes += validation.duplicate(path, number)
        seen.add((port.get("protocol"), number))
    number = spec.get("healthCheckNodePort")
    if number and not needs_health_check(spec):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes += validation.invalid("spec.healthCheckNodePort", number, why)
    return causes


def path_of(service: Object, number: int) -> str:
    """Which field of a service says this port."""
    for index, port in enumerate(service["spec"].get("ports") or ()):
        if port.get("nodePort") == number:
            return f"spec.ports[{index}].nodePort"
    return "spec.healthCheckNodePort"
