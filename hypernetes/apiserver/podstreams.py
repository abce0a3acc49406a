"""What a request for a pod's log, or for a shell in it, asks for: pure checks before anything is dialled."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multidict import MultiMapping

from hypernetes.api.status import StatusError, invalid
from hypernetes.api.times import parse_time
from hypernetes.apiserver import validation

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")  # best first
_FINISHED = ("Succeeded", "Failed")
_STREAMS = ("stdin", "stdout", "stderr")
_INTEGER = re.compile(r"[+-]?\d{1,19}\Z")
_LEAST = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
_INIT, _EPHEMERAL = "initContainers", "ephemeralContainers"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream to open: to a container of a pod on a node, with the query for the agent."""

    node: str  # "" while the pod isn't scheduled
    container: str
    query: list[tuple[str, str]]
    follow: bool = False


def log(pod: Mapping[str, Any], query: Mapping[str, str]) -> Stream:
    """Of `GET …/log`. StatusError 400 for no or another container, 422 for options out of range."""
    name = pod["metadata"]["name"]
    causes: validation.Causes = []
    passed: list[tuple[str, str]] = []
    for key, least in _LEAST.items():
        if key in query:
            number = _integer(key, query[key])
            passed.append((key, str(number)))
            if number < least:
                causes += validation.invalid(key, number, f"must be greater than or equal to {least}")
    if "sinceTime" in query:
        passed.append(("sinceTime", _time(query["sinceTime"])))
        if "sinceSeconds" in query:
            causes += validation.forbidden("sinceTime", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    if causes:
        raise invalid("", "PodLogOptions", name, causes)
    flags = [key for key in ("follow", "previous", "timestamps") if _true(query.get(key))]
    container = choose_container(pod, query.get("container", ""))
    return Stream(
        pod["spec"].get("nodeName", ""), container, [*((key, "true") for key in flags), *passed], "follow" in flags
    )


def execution(pod: Mapping[str, Any], query: MultiMapping[str]) -> Stream:
    """Of `…/exec`. StatusError 400 for what can't be run, or not in this pod now."""
    command = query.getall("command", [])
    if not command:
        raise StatusError("BadRequest", "you must specify at least 1 command for exec")
    return _attached(pod, query, [("command", word) for word in command])


def attachment(pod: Mapping[str, Any], query: MultiMapping[str]) -> Stream:
    """Of `…/attach`: the same for the container's own process."""
    return _attached(pod, query, [])


def _attached(pod: Mapping[str, Any], query: MultiMapping[str], passed: list[tuple[str, str]]) -> Stream:
    name = pod["metadata"]["name"]
    streams = [key for key in _STREAMS if _true(query.get(key))]
    if not streams:
        raise StatusError("BadRequest", "you must specify at least 1 of stdin, stdout, stderr")
    tty = _true(query.get("tty"))
    if tty and "stderr" in streams:
        streams.remove("stderr")  # a terminal has one output
    container = choose_container(pod, query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        raise StatusError("BadRequest", f"pod {name} does not have a host assigned")
    phase = (pod.get("status") or {}).get("phase")
    if phase in _FINISHED:
        raise StatusError(
            "BadRequest", f"cannot exec into a container in a completed pod; current phase of pod {name} is {phase}"
        )
    flags = [*streams, "tty"] if tty else streams
    return Stream(pod["spec"]["nodeName"], container, [*passed, *((flag, "true") for flag in flags)])


def choose_container(pod: Mapping[str, Any], asked: str) -> str:
    """The container asked for, or the only one there is. StatusError 400 where that doesn't name one."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    plain: list[str] = [container["name"] for container in spec.get("containers") or ()]
    others = [container["name"] for part in (_INIT, _EPHEMERAL) for container in spec.get(part) or ()]
    if asked:
        if asked not in plain and asked not in others:
            raise StatusError("BadRequest", f"container {asked} is not valid for pod {name}")
        return asked
    if len(plain) == 1:
        return plain[0]
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(plain)}]"
    inits = [container["name"] for container in spec.get(_INIT) or ()]
    if inits:
        message += f" or one of the init containers: [{' '.join(inits)}]"
    raise StatusError("BadRequest", message)


def choose_protocol(offered: str) -> str:
    """The best that we know of the client's Sec-WebSocket-Protocol header; StatusError 400 for none."""
    asked = [protocol.strip() for protocol in offered.split(",")]
    for protocol in PROTOCOLS:
        if protocol in asked:
            return protocol
    raise StatusError("BadRequest", f"none of the offered subprotocols is known; known are {', '.join(PROTOCOLS)}")


def _true(value: str | None) -> bool:
    """As upstream reads a boolean of a query."""
    return value is not None and value.lower() not in ("false", "0")


def _integer(key: str, value: str) -> int:
    if not _INTEGER.match(value):
        raise StatusError("BadRequest", f'unable to read {key}: "{value[:64]}" is not a number')
    return int(value)


def _time(value: str) -> str:
    try:
        parse_time(value)
    except ValueError as error:
        raise StatusError("BadRequest", f"unable to read sinceTime: {error}") from error
    return value
