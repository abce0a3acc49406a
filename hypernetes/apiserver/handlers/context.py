"""What every handler is given: the request, read and authorized, and the parts of the server it may use."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web

from hypernetes.api import times
from hypernetes.api.scheme import Resource
from hypernetes.api.selectors import Labels
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import ALL_TENANTS, SYSTEM_TENANT
from hypernetes.apiserver.aggregation.availability import Aggregation
from hypernetes.apiserver.authn import Authenticator, TokenKeys, User
from hypernetes.apiserver.authn.guessing import Attempts
from hypernetes.apiserver.authn.localusers import LocalUsers
from hypernetes.apiserver.authn.passwords import Hasher
from hypernetes.apiserver.authz import Authorizer, forbidden
from hypernetes.apiserver.authz.asking import attributes
from hypernetes.apiserver.connections import Departures
from hypernetes.apiserver.contents import Contents
from hypernetes.apiserver.dialer import Dialer
from hypernetes.apiserver.fairness import Fairness
from hypernetes.apiserver.freshness import Freshness
from hypernetes.apiserver.health import Health
from hypernetes.apiserver.implied import Implications
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.largebodies import LargeBodies
from hypernetes.apiserver.legacytokens import LegacyTokens
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Match, Mirror
from hypernetes.apiserver.objects import Objects
from hypernetes.apiserver.observing import Observer
from hypernetes.apiserver.quota import Turns
from hypernetes.apiserver.reauthorization import Reauthorization
from hypernetes.apiserver.registry import nodes
from hypernetes.apiserver.routing import Route
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.tenantquota import TenantQuotas
from hypernetes.apiserver.usage import Usage
from hypernetes.apiserver.watchers import Watchers
from hypernetes.pki import Authority

CREATED = web.RequestKey("created", str)  # where a request holds the name of the object that it makes


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one API server, wired by app.py."""

    cluster_id: str
    store: Store
    keys: Keys
    mirror: Mirror
    freshness: Freshness
    watchers: Watchers
    objects: Objects
    lookups: Lookups
    authenticator: Authenticator
    authorizer: Authorizer
    token_keys: TokenKeys
    legacy_tokens: LegacyTokens
    authority: Authority
    contents: Contents
    dialer: Dialer
    departures: Departures
    reauthorization: Reauthorization
    health: Health
    observer: Observer
    tenant_quotas: TenantQuotas
    local_users: LocalUsers
    implied: Implications
    fairness: Fairness
    aggregation: Aggregation
    allows_anonymous: Callable[[str], bool] | None = None  # by path; None: wherever the authorizer lets them
    clock: Callable[[], datetime] = times.now
    turns: Turns = field(default_factory=Turns)
    choices: set[str] = field(default_factory=set)  # claims that requests under way have chosen
    large_bodies: LargeBodies = field(default_factory=LargeBodies)
    usage: Usage = field(default_factory=Usage)
    hasher: Hasher = field(default_factory=Hasher)
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))


def check_allowed(authorizer: Authorizer, user: User, route: Route, name: str, field_selector: str = "") -> None:
    """Raises StatusError (Forbidden). `name` is of the URL, or for a create of the body once it is known."""
    asked = attributes(user, route, name, field_selector)
    decision = authorizer.authorize(user, asked)
    if not decision.allowed:
        raise forbidden(user, asked, decision)


def check_may_create(call: "Call", name: str) -> None:
    """Of an object whose name is known from its body; a PUT that creates is a create, too. Raises StatusError."""
    check_allowed(call.parts.authorizer, call.user, call.route._replace(verb="create"), name)


@dataclass(slots=True)
class Call:
    """One request. `tenant` is None on a `/tenants/*/` path."""

    http: web.BaseRequest
    route: Route
    user: User
    parts: Parts
    tenant: str | None
    who: Callable[[], Awaitable[User]]  # `user`, by the request's credential as it counts now
    warnings: list[str] = field(default_factory=list)  # sent as Warning headers
    choices: list[str] = field(default_factory=list)  # those of this one
    taken_claims: frozenset[str] = frozenset()  # keys that this request found to be another's
    visible: Match | None = None  # where the user may see some of what a list or watch would show; None: all

    @property
    def resource(self) -> Resource:
        assert self.route.resource is not None
        return self.route.resource

    async def turn(self) -> None:
        """Returns when a piece of a large answer may be made and written."""
        await self.parts.fairness.piece(self.user.tenant)

    @property
    def one_tenant(self) -> str:
        """The tenant to write to. Raises StatusError on a path across tenants."""
        if self.tenant is None:
            raise StatusError("MethodNotAllowed", f"objects can't be written on /tenants/{ALL_TENANTS}/ paths")
        return self.tenant

    @property
    def reads_shared(self) -> bool:
        """Whether the objects asked for are those of `system`, shown to another tenant."""
        return self.resource.shared and self.tenant not in (None, SYSTEM_TENANT)

    @property
    def shown_labels(self) -> Callable[[Labels], Labels] | None:
        """What selectors may see of the labels; None for all of them."""
        return nodes.shown_labels if self.reads_shared else None

    def seen(self, match: Match | None) -> Match | None:
        """What a selector matches, of what the user may see."""
        visible = self.visible
        if visible is None or match is None:
            return match or visible
        return lambda entry: visible(entry) and match(entry)

    @property
    def owner(self) -> str | None:
        """The tenant that owns the objects asked for."""
        return SYSTEM_TENANT if self.reads_shared else self.tenant
