"""What `…/pods/NAME/proxy` and `…/services/NAME/proxy` lead to. Pure: objects in, a pod and its port out."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypernetes.api.status import StatusError

Object = Mapping[str, Any]

_SCHEMES = ("", "http", "https")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Target:
    """The name part of a proxy's URL: `web`, `web:8080`, `https:web:8443`, `https:web:`."""

    scheme: str  # "http" or "https"
    name: str
    port: str  # a number, a port's name, or "" for the only one


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod, by the names that a service's endpoint gives."""

    pod: str
    uid: str
    port: int


def parse(resource: str, word: str) -> Target:
    """StatusError 400 for what is none of the forms. `resource` (pods, services, nodes) is for the message."""
    parts = word.split(":")
    match parts:
        case [name]:
            scheme, port = "", ""
        case [name, port]:
            scheme = ""
        case [scheme, name, port]:
            pass
        case _:
            raise _invalid(resource, word)
    if not name or scheme not in _SCHEMES or (len(parts) == 2 and not port):
        raise _invalid(resource, word)
    return Target(scheme or "http", name, port)


def of_pod(target: Target, pod: Object) -> PodPort:
    """The port asked for by number or by a container port's name; else the first one the pod declares, else the
    scheme's own. StatusError 400, or 503 while the pod has no address."""
    metadata, spec = pod["metadata"], pod["spec"]
    if not spec.get("nodeName") or not (pod.get("status") or {}).get("podIP"):
        raise StatusError("ServiceUnavailable", f'pod "{metadata["name"]}" has no address yet')
    declared = [port for container in spec.get("containers") or () for port in container.get("ports") or ()]
    if not target.port:
        number = declared[0]["containerPort"] if declared else _DEFAULT_PORTS[target.scheme]
    elif target.port.isdecimal():
        number = int(target.port)
    else:
        named = (port["containerPort"] for port in declared if port.get("name") == target.port)
        number = next(named, 0)
    if not 0 < number <= _MAX_PORT:
        raise StatusError("BadRequest", f'pod "{metadata["name"]}" has no port "{target.port[:64]}"')
    return PodPort(metadata["name"], metadata["uid"], number)


def of_service(
    target: Target, service: Object, slices: Iterable[Object], choose: "random.Random | None" = None
) -> PodPort:
    """One of the service's ready pods, at random. StatusError 503 where there is none, or no such port."""
    name, ports = service["metadata"]["name"], service["spec"].get("ports") or ()
    wanted = _service_port(target, name, ports)
    found = [
        PodPort(endpoint["targetRef"]["name"], endpoint["targetRef"].get("uid", ""), port["port"])
        for entry in slices
        for port in entry.get("ports") or ()
        if port.get("name", "") == wanted and port.get("port")
        for endpoint in entry.get("endpoints") or ()
        if _is_ready_pod(endpoint)
    ]
    if not found:
        raise StatusError("ServiceUnavailable", f'no endpoints available for service "{name}"')
    return (choose or random).choice(found)


def _service_port(target: Target, service: str, ports: Sequence[Object]) -> str:
    """The name of the port: by number, by name, or the only one."""
    if target.port.isdecimal():
        names = [port.get("name", "") for port in ports if port["port"] == int(target.port)]
        if not names:
            raise StatusError("ServiceUnavailable", f'no service port {target.port} found for service "{service}"')
        return str(names[0])
    if not target.port and len(ports) == 1:
        return str(ports[0].get("name", ""))
    return target.port


def _is_ready_pod(endpoint: Object) -> bool:
    reference = endpoint.get("targetRef") or {}
    ready = (endpoint.get("conditions") or {}).get("ready")
    return ready is not False and reference.get("kind") == "Pod" and bool(reference.get("name"))


def _invalid(resource: str, word: str) -> StatusError:
    return StatusError("BadRequest", f'invalid {resource.removesuffix("s")} request "{word[:253]}"')
