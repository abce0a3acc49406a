"""One event, as a line of JSON (pure). Times are seconds since 1970."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from hypernetes.apiserver.audit.policy import API_VERSION, LEVELS
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.routing import Route

Object = dict[str, Any]

DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"
DEPRECATED = "k8s.io/deprecated"
TENANT, USER_TENANT = "hypernetes.io/tenant", "hypernetes.io/user-tenant"
_MAX_AGENT = 1024  # characters; as upstream
_MAX_FORWARDED = 16  # addresses that a header may name
_MAX_ADDRESS = 45  # characters

_second: tuple[int, str] = (-1, "")


def micro_time(seconds: float) -> str:
    """RFC 3339 with microseconds. Most events are of a second that one was of before."""
    global _second
    whole = int(seconds)
    if _second[0] != whole:
        _second = whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{_second[1]}.{int((seconds - whole) * 1e6):06d}Z"


def head(
    audit_id: str, level: int, uri: str, verb: str, user: User | None, sources: Iterable[str], agent: str,
    received: float,
) -> Object:  # fmt: skip
    """What all events of a request have in common."""
    found: Object = {
        "kind": "Event", "apiVersion": API_VERSION, "level": LEVELS[level], "auditID": audit_id, "stage": "",
        "requestURI": uri, "verb": verb, "user": user.to_dict() if user is not None else {},
        "sourceIPs": list(sources),
    }  # fmt: skip
    if agent:
        found["userAgent"] = agent if len(agent) <= _MAX_AGENT else f"{agent[:_MAX_AGENT]}...TRUNCATED"
    found["requestReceivedTimestamp"] = micro_time(received)
    return found


def sources(headers: Mapping[str, str], remote: str) -> list[str]:
    """Where a request says that it came from, and at last from where it did."""
    forwarded, real = headers.get("X-Forwarded-For", ""), headers.get("X-Real-Ip", "")
    if not forwarded and not real:
        return [remote]
    named = [part.strip() for part in (*forwarded.split(",")[:_MAX_FORWARDED], real)]
    return [*(part for part in named if part and len(part) <= _MAX_ADDRESS and part != remote), remote]


def reference(route: Route, name: str) -> Object:
    """The object, or the collection, that a request is about. `name` of a new object is known from its body."""
    resource = route.resource
    assert resource is not None
    found = {"resource": resource.name}
    namespace = name if (resource.group, resource.name) == ("", "namespaces") else route.namespace
    for key, value in (
        ("namespace", namespace), ("name", name), ("apiGroup", resource.group), ("apiVersion", resource.version),
        ("subresource", route.subresource),
    ):  # fmt: skip
        if value:
            found[key] = value
    return found


def status(code: int, told: Any = None, *, hidden: bool) -> Object:
    """How a request ended; `told` is the answer of one that failed, where that is known."""
    found: Object = {"metadata": {}, "code": code}
    if isinstance(told, dict) and told.get("kind") == "Status":
        for key in ("status", "reason") if hidden else ("status", "message", "reason", "details"):
            if told.get(key):
                found[key] = told[key]
    return found


def one_line(body: bytes) -> orjson.Fragment:
    """JSON that is known to be such, as a part of a line: its line ends can only be between values."""
    return orjson.Fragment(body.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in body or b"\r" in body else body)


def without_managed_fields(value: Any) -> Any:
    """An object, or a list of such, without what says who changed which field."""
    if isinstance(value, dict):
        metadata = value.get("metadata")
        if isinstance(metadata, dict):
            metadata.pop("managedFields", None)
        for item in value.get("items") or () if isinstance(value.get("items"), list) else ():
            without_managed_fields(item)
    return value


def line(event: Object) -> bytes:
    return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
