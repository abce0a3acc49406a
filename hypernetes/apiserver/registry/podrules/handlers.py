"""How a container is asked or told something: probes, and the hooks of its life cycle."""

import re
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HEADER = re.compile(r"[-A-Za-z0-9]+\Z")
_SCHEMES = ("HTTP", "HTTPS")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_OF_PROBES = ("exec", "httpGet", "tcpSocket", "grpc")
_OF_HOOKS = ("exec", "httpGet", "tcpSocket", "sleep")


def validate(container: Object, grace: int | None, path: str) -> Causes:
    """All probes and hooks of a container; `grace` is the pod's terminationGracePeriodSeconds."""
    causes: Causes = []
    lifecycle = container.get("lifecycle")
    if lifecycle is not None:
        for hook in ("postStart", "preStop"):
            if hook in lifecycle:
                causes += _handler(lifecycle[hook], _OF_HOOKS, grace, f"{path}.lifecycle.{hook}")
    for name in PROBES:
        if name in container:
            causes += _probe(container[name], name, f"{path}.{name}")
    return causes


def _probe(probe: Object, name: str, path: str) -> Causes:
    causes = _handler(probe, _OF_PROBES, None, path)
    for number in _NUMBERS:
        if (probe.get(number) or 0) < 0:
            causes += validation.non_negative(probe[number], f"{path}.{number}")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None:
        at = f"{path}.terminationGracePeriodSeconds"
        causes += validation.positive(grace, at)
        if name == "readinessProbe":
            causes += validation.invalid(at, grace, "must not be set for readinessProbes")
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        causes += validation.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    return causes


def _handler(holder: Object, kinds: tuple[str, ...], grace: int | None, path: str) -> Causes:
    found = [kind for kind in kinds if kind in holder]
    if not found:
        return validation.required(path, "must specify a handler type")
    kind = found[0]
    causes = _CHECKS[kind](holder[kind], grace, f"{path}.{kind}")
    for other in found[1:]:
        causes += validation.forbidden(f"{path}.{other}", "may not specify more than 1 handler type")
    return causes


def _exec(action: Object, grace: int | None, path: str) -> Causes:
    return [] if action.get("command") else validation.required(f"{path}.command")


def _http_get(action: Object, grace: int | None, path: str) -> Causes:
    causes = [] if action.get("path") else validation.required(f"{path}.path")
    causes += validation.port_number_or_name(action.get("port") or 0, f"{path}.port")
    if action.get("scheme") not in _SCHEMES:
        causes += validation.not_supported(f"{path}.scheme", action.get("scheme") or "", _SCHEMES)
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        if not _HEADER.match(name):
            why = "a valid HTTP header must consist of alphanumeric characters or '-'"
            causes += validation.invalid(f"{path}.httpHeaders", name, why)
    return causes


def _port(action: Object, grace: int | None, path: str) -> Causes:
    """Of tcpSocket and grpc."""
    return validation.port_number_or_name(action.get("port") or 0, f"{path}.port")


def _sleep(action: Object, grace: int | None, path: str) -> Causes:
    seconds = action.get("seconds") or 0
    if grace is None or 0 <= seconds <= grace:
        return []
    why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
    return validation.invalid(path, seconds, why)


_CHECKS = {"exec": _exec, "httpGet": _http_get, "tcpSocket": _port, "grpc": _port, "sleep": _sleep}
