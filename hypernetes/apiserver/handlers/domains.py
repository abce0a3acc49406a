"""A list of tenants for who administers a domain of Keystone's: it shows those of the domain's projects."""

from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.mirror import Entry, Match
from hypernetes.apiserver.routing import Route

DOMAIN_EXTRA = "keystone.hypernetes.io/domain"  # of who administers one: its id, as the provider `keystone` says
_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")


def visible(user: User, route: Route) -> Match | None:
    """Which tenants the user may see; None where they administer no domain, or the request is no such list or watch."""
    if route.resource is not _TENANTS or route.name or route.verb not in ("list", "watch"):
        return None
    domains = user.extra.get(DOMAIN_EXTRA, ())
    if not domains or user.tenant != SYSTEM_TENANT or (route.tenant or user.tenant) != SYSTEM_TENANT:
        return None
    return lambda entry: _domain(entry) in domains


def _domain(entry: Entry) -> str | None:
    if b'"domainID"' not in entry.data:
        return None
    identity: dict[str, Any] = orjson.loads(entry.data)["spec"].get("identity") or {}
    return (identity.get("keystone") or {}).get("domainID")
