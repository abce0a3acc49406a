"""A list of namespaces for who may not list them all: it shows those that they may get."""

from hypernetes.api import scheme
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authz import Attributes
from hypernetes.apiserver.handlers.context import Parts
from hypernetes.apiserver.mirror import Entry, Match
from hypernetes.apiserver.routing import Route

_NAMESPACES = scheme.by_name("v1", "namespaces")


def visible(parts: Parts, user: User, route: Route) -> Match | None:
    """Which namespaces the user may see; None where they may see none, or the request is no such list or watch."""
    if route.resource is not _NAMESPACES or route.name or route.verb not in ("list", "watch"):
        return None
    tenant = route.tenant or user.tenant
    if user.component or tenant != user.tenant:
        return None

    def may_get(entry: Entry) -> bool:
        name = entry.name.name if entry.name is not None else ""
        asked = Attributes(tenant, "get", resource=_NAMESPACES.name, namespace=name, name=name)
        return parts.authorizer.authorize(user, asked).allowed

    present = parts.mirror.range(parts.mirror.keys.range(_NAMESPACES, tenant))
    return may_get if any(may_get(entry) for entry in present) else None
