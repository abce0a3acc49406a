"""What a check finds, and the words it is told in: upstream's, since people search for them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """`reason` is short and always the same; `detail` names the containers and values."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def containers(spec: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def security(holder: Object) -> Object:
    """The security context of a pod or a container."""
    return holder.get("securityContext") or {}


def offending(spec: Object, wrong: Callable[[Object], bool]) -> list[str]:
    """The names of the containers of which something is wrong."""
    return [container["name"] for container in containers(spec) if wrong(container)]


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def named(what: str, names: Iterable[str]) -> str:
    """`container "a"`, `containers "a", "b"`."""
    names = list(names)
    return f"{plural(what, names)} {quoted(names)}"


def plural(word: str, things: Iterable[object]) -> str:
    return word if len(list(things)) == 1 else f"{word}s"


def setters(pod_too: bool, names: list[str]) -> str:
    """Who has set something: `pod and containers "a", "b"`."""
    return " and ".join([*(["pod"] if pod_too else []), *([named("container", names)] if names else [])])
