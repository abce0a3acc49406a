"""A request's URL and method, read as the Kubernetes API means them."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import ALL_TENANTS

METADATA_PATH = "/metadata"  # below /tenants/*: of all objects of all kinds
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
# What lies below /namespaces/NAME and is no resource in it.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
# What follows is the other server's path: it may hold anything, empty parts too.
_PROXIED = re.compile(
    r"((?:/tenants/[^/]+)?/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy)((?:/.*)?)\Z"
)


class Route(NamedTuple):  # one is made for each request, in a third of the time that a frozen dataclass takes
    """What a request is about. Without `resource` it is about `path` itself (discovery, health, …)."""

    path: str  # below the tenant's root
    verb: str  # of the API where there is a resource, else the method in lower case
    tenant: str | None = None  # as the URL says: None means the credential's own, "*" all
    resource: Resource | None = None
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    rest: str = ""  # of a proxy subresource: the path behind it as it came, still percent-encoded
    foreign: bool = False  # of a group that isn't ours: whether the tenant has it, and who serves it, routing can't say


def not_served() -> StatusError:
    """The answer for a path that leads nowhere."""
    return StatusError("NotFound", "the server could not find the requested resource")


def parse(method: str, path: str, query: Mapping[str, str]) -> Route:
    """`path` as it came, percent-encoded. Raises StatusError 404 for a resource that isn't served."""
    if "/proxy" in path and (proxied := _PROXIED.match(path)):
        return _parse(method, proxied[1], {})._replace(rest=proxied[2])
    return _parse(method, path, query)


def _parse(method: str, path: str, query: Mapping[str, str]) -> Route:
    parts = path.split("/")[1:]
    if "%" in path:
        parts = [unquote(part) for part in parts]
    tenant = None
    if parts[0] == "tenants" and len(parts) > 1:
        tenant, parts = parts[1], parts[2:]
    below = f"/{'/'.join(parts)}"
    if parts and not parts[-1]:
        parts = parts[:-1]
    match parts:
        case ["api", version, _, *_]:
            group, rest = "", parts[2:]
        case ["apis", group, version, _, *_]:
            rest = parts[3:]
        case ["metadata"] if tenant == ALL_TENANTS and method == "GET":
            return Route(METADATA_PATH, _verb(method, "", _true(query.get("watch"))), tenant)
        case _:
            return Route(below, method.lower(), tenant)
    if any(not part for part in rest):
        raise not_served()
    if group not in scheme.groups():
        return _foreign(method, below, tenant, group, version, rest, query)
    watch = rest[0] == "watch" and len(rest) > 1
    namespace, rest = _namespace(rest[1:] if watch else rest)
    resource = scheme.find(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise not_served()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in resource.subresources:
        raise not_served()
    if "/" in name or (name and resource.namespaced and not namespace):
        raise not_served()
    if name in (".", "..") or "%" in name:
        raise StatusError("BadRequest", f"no object can be called {name!r}")
    if watch and (method != "GET" or subresource):
        raise StatusError("MethodNotAllowed", "below /watch/ there is nothing but watches of resources")
    verb = _verb(method, name, watch or (not name and _true(query.get("watch"))))
    return Route(below, verb, tenant, resource, subresource, namespace, name)


def _foreign(
    method: str, path: str, tenant: str | None, group: str, version: str, rest: list[str], query: Mapping[str, str]
) -> Route:
    """By upstream's conventions alone. What is behind the subresource belongs to it."""
    if any(part in (".", "..") or "/" in part or "%" in part for part in rest):
        raise StatusError("BadRequest", "no object can be called so")  # else who serves it might read another path
    namespace, rest = _namespace(rest)
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    resource = Resource(group, version, rest[0], "", "", bool(namespace), ())
    verb = _verb(method, name, not name and _true(query.get("watch")))
    return Route(path, verb, tenant, resource, subresource, namespace, name, foreign=True)


def _namespace(rest: list[str]) -> tuple[str, list[str]]:
    """What names a namespace, and what follows: `namespaces/NAME` itself is an object."""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        return rest[1], rest[2:]
    return "", rest


def _verb(method: str, name: str, watch: bool) -> str:
    match method:
        case "GET" | "HEAD":
            if watch:
                return "watch"
            return "get" if name else "list"
        case "DELETE":
            return "delete" if name else "deletecollection"
    return _VERBS.get(method, method.lower())


def _true(value: str | None) -> bool:
    """A flag of a query string: upstream takes anything but these for true."""
    return value is not None and value.lower() not in ("false", "0")
