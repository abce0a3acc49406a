"""The request path of hn-apiserver: one function shows who asks, whether they may, and what is done.

request ─► route ─► authenticate ─► tenant ─► authorize ─► handler ─► answer
             └────────────┴────────────┴──────────┴───────────┴─► StatusError ─► Status
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from aiohttp import web

from hypernetes.api.status import StatusError, not_found
from hypernetes.api.tenancy import ALL_TENANTS, SYSTEM_TENANT
from hypernetes.apiserver import deprecations, routing, sharing, tenantstates
from hypernetes.apiserver.authn import User, impersonation
from hypernetes.apiserver.authz import Attributes, forbidden
from hypernetes.apiserver.authz.asking import needed
from hypernetes.apiserver.connections import gone
from hypernetes.apiserver.eventrates import EventRates
from hypernetes.apiserver.handlers import (
    aggregating,
    components,
    deleting,
    documents,
    domains,
    evicting,
    metadata,
    namespaces,
    negotiation,
    patching,
    portforwarding,
    probing,
    proxies,
    reading,
    reviews,
    subresources,
    tokenkeys,
    usage,
    users,
    watching,
    writing,
)
from hypernetes.apiserver.handlers.context import Call, Parts
from hypernetes.apiserver.limits import Limits
from hypernetes.apiserver.mirror import Match
from hypernetes.apiserver.observing import Seen
from hypernetes.apiserver.routing import Route
from hypernetes.apiserver.storage.base import Unavailable

log = structlog.get_logger()

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

_VERBS: dict[str, Handler] = {
    "get": reading.get,
    "list": reading.list_,
    "watch": watching.watch,
    "create": writing.create,
    "update": writing.update,
    "patch": patching.patch_,
    "delete": deleting.delete,
    "deletecollection": deleting.delete_collection,
}
_SUBRESOURCES: dict[tuple[str, str], Handler] = {
    ("status", "get"): reading.get,
    ("status", "update"): writing.update,
    ("status", "patch"): patching.patch_,
    ("approval", "get"): reading.get,
    ("approval", "update"): writing.update,
    ("approval", "patch"): patching.patch_,
    ("ephemeralcontainers", "get"): reading.get,
    ("ephemeralcontainers", "update"): writing.update,
    ("ephemeralcontainers", "patch"): patching.patch_,
    ("resize", "get"): reading.get,
    ("resize", "update"): writing.update,
    ("resize", "patch"): patching.patch_,
    ("scale", "get"): subresources.get_scale,
    ("scale", "update"): subresources.put_scale,
    ("scale", "patch"): subresources.put_scale,
    ("binding", "create"): subresources.bind,
    ("eviction", "create"): evicting.evict,
    ("finalize", "update"): subresources.finalize,
    ("token", "create"): subresources.token,
    ("certificate", "create"): subresources.certificate,
    ("tokenkeys", "create"): tokenkeys.rotate,
    ("log", "get"): subresources.log,
    ("exec", "get"): subresources.execute,
    ("exec", "create"): subresources.execute,
    ("attach", "get"): subresources.attach,
    ("attach", "create"): subresources.attach,
    ("portforward", "get"): portforwarding.forward,
    ("portforward", "create"): portforwarding.forward,
    **{("proxy", verb): proxies.proxy for verb in ("get", "create", "update", "patch", "delete")},
}
_OF_USERS: dict[tuple[str, str], Handler] = {
    ("password", "create"): users.password,
    ("token", "create"): users.token,
    ("token", "delete"): users.revoke,
}
# Of resources of which nothing is stored; reviews have a table of their own.
_NOT_STORED: dict[tuple[str, str], Handler] = {
    ("bindings", "create"): subresources.bind,
    ("componentstatuses", "get"): components.get,
    ("componentstatuses", "list"): components.list_,
    ("nodes.metrics.k8s.io", "get"): usage.get_node,
    ("nodes.metrics.k8s.io", "list"): usage.list_nodes,
    ("pods.metrics.k8s.io", "get"): usage.get_pod,
    ("pods.metrics.k8s.io", "list"): usage.list_pods,
}
_OF_ONE = frozenset({"get", "update", "patch", "delete"})  # verbs on a name
_CHANGES = _OF_ONE - {"get"}


class Application:
    """Answers requests: give `handle` to an `aiohttp.web.Server`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._limits = Limits(parts.fairness)
        self._event_rates = EventRates(parts.lookups, time.monotonic)

    async def handle(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        """The answer to a request, whatever happens: what goes wrong becomes a Status."""
        try:
            response = await self._answer(request, seen)
        except StatusError as error:
            response = negotiation.status_answer(error, request)
        except Unavailable as error:
            log.warning("the store does not answer", path=request.path, error=str(error))
            unavailable = StatusError("ServiceUnavailable", "the store does not answer; try again")
            response = negotiation.status_answer(unavailable, request)
        except Exception as error:  # noqa: BLE001  # a request's life ends here: client and log learn that it failed
            response = _failed(request, seen, error)
        if seen.route is not None and not response.prepared:
            negotiation.warn(response, deprecations.warnings(seen.route))
        return response

    async def _answer(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        if probing.is_probe(request.path):
            return await self._probe(request)
        if request.method == "POST" and (tenant := users.login_tenant(request)) is not None:
            return await users.login(self._parts, request, tenant)
        sender = seen.sender = seen.user = await self._sender(request)
        route = seen.route = routing.parse(request.method, request.rel_url.raw_path, request.query)
        audit = self._parts.observer.audit
        if audit is not None and audit.begins(seen) is not None:
            await audit.received(seen)
        seen.allowed = False
        user = seen.user = self._impersonated(sender, request)
        selector = request.query.get("fieldSelector", "")
        refusal = self._refusal(user, route, selector)
        visible = None if refusal is None else await self._visible(user, route, selector, refusal)
        seen.allowed = True
        tenant = _tenant(user, route)
        if tenant is not None:
            if self._parts.lookups.tenant_uid(tenant) is None:
                await self._check_tenant(tenant)
            if tenantstates.concern(route):
                tenantstates.check(self._parts.lookups.tenant(tenant), user.tenant, route)
            if route.resource is not None and route.name and route.verb in _CHANGES:
                sharing.check_own(self._parts.mirror, route.resource, tenant, route.name)
        call = Call(request, route, user, self._parts, tenant, partial(self._who, request), visible=visible)
        if route.resource is None:
            handler = metadata.serve if metadata.is_asked(route) else documents.serve
            return await self._limits.carry_out(call, handler)
        if route.resource.name == "tenants" and tenant != SYSTEM_TENANT and tenant is not None:
            raise routing.not_served()  # tenants live in `system`
        if request.method == "HEAD" and route.subresource != "proxy":
            raise _not_allowed()
        if visible is not None:
            call.warnings.append(f"the list is filtered: it shows the {_plural(route)} that you may get")
        try:
            return await self._limits.carry_out(call, _handler(route))
        except StatusError as error:  # what was warned of before holds all the same
            refused = negotiation.status_answer(error, request)
            negotiation.warn(refused, call.warnings)
            return refused

    def _check_anonymous(self, request: web.BaseRequest) -> None:
        """Raises StatusError 401 where nobody may ask without a credential."""
        allows = self._parts.allows_anonymous
        if allows is not None and _certificate(request) is None and not allows(request.path):
            raise StatusError("Unauthorized", "Unauthorized")

    async def _who(self, request: web.BaseRequest) -> User:
        """Whom a request comes from. Raises StatusError."""
        return self._impersonated(await self._sender(request), request)

    async def _sender(self, request: web.BaseRequest) -> User:
        """Whose credential a request has. Raises StatusError."""
        shown = request.headers.get("Authorization")
        user = await self._parts.authenticator.authenticate(_certificate(request), shown, request.headers)
        if not user.tenant:
            self._check_anonymous(request)
        return user

    def _impersonated(self, user: User, request: web.BaseRequest) -> User:
        """Whom the request's headers name, if its sender may be taken for them. Raises StatusError."""
        named = impersonation.asked(request.headers)
        if named is None:
            return user
        for each in named.needed():
            asked = Attributes(
                user.tenant, "impersonate", each.group, each.resource, each.subresource, each.namespace, each.name
            )
            decision = self._parts.authorizer.authorize(user, asked)
            if not decision.allowed:
                raise forbidden(user, asked, decision)
        return named.of(user)

    async def _visible(self, user: User, route: Route, field_selector: str, refusal: StatusError) -> Match | None:
        """Which objects somebody may see who was refused all of them; None for all. Raises StatusError (Forbidden).

        A refusal counts once the mirror is known to be up to date: what allows the request may have been written just
        now, through another server.
        """
        if not user.tenant:
            raise refusal
        await self._parts.freshness.now()
        visible = namespaces.visible(self._parts, user, route) or domains.visible(user, route)
        if visible is None and (still := self._refusal(user, route, field_selector)) is not None:
            raise still
        return visible

    def _refusal(self, user: User, route: Route, field_selector: str) -> StatusError | None:
        """Why the user may not do what a request asks for; None: it is allowed."""
        for asked in needed(user, route, field_selector):
            decision = self._parts.authorizer.authorize(user, asked)
            if not decision.allowed:
                return forbidden(user, asked, decision)
        return None

    async def _check_tenant(self, tenant: str) -> None:
        """Of a tenant that the mirror doesn't know: it may be new. Raises StatusError 404."""
        await self._parts.freshness.now()
        if self._parts.lookups.tenant_uid(tenant) is None:
            raise not_found("tenants.hypernetes.io", tenant)

    async def _probe(self, request: web.BaseRequest) -> web.Response:
        """Health is for anybody, but for those with a credential that is none."""
        if "Authorization" in request.headers:
            await self._parts.authenticator.authenticate(_certificate(request), request.headers["Authorization"])
        else:
            self._check_anonymous(request)
        return await probing.probe(self._parts.health, request)


def _failed(request: web.BaseRequest, seen: Seen, error: Exception) -> web.Response:
    """The answer where the mistake is ours, or nobody is there to get one; call it while `error` is handled."""
    if isinstance(error, ConnectionError) and gone(request):
        log.debug("a client went away", method=request.method, path=request.path)
        return web.Response()  # nobody gets it
    seen.panicked = True
    log.exception("request failed", method=request.method, path=request.path)
    if request.writer.output_size and request.transport is not None:
        request.transport.abort()  # an answer that has begun: without its end, the client knows it isn't whole
        return web.Response()
    return negotiation.status_answer(StatusError("InternalError", "an error on the server; see its log"), request)


def _tenant(user: User, route: Route) -> str | None:
    """The tenant that a request is about; None for all."""
    tenant = route.tenant or user.tenant or SYSTEM_TENANT  # who is nobody is told what concerns no tenant
    return None if tenant == ALL_TENANTS else tenant


def _handler(route: Route) -> Handler:
    resource = route.resource
    assert resource is not None
    if route.foreign:
        return aggregating.serve
    if route.subresource:
        handler = _OF_USERS.get((route.subresource, route.verb)) if resource.kind == "User" else None
        handler = handler or _SUBRESOURCES.get((route.subresource, route.verb))
        allowed = resource.subresources[route.subresource].verbs
        if handler is not None and (route.verb in allowed or handler is reading.get):
            return handler
    elif (handler := _NOT_STORED.get((resource.group_resource, route.verb))) is not None:
        if bool(route.name) is (route.verb in _OF_ONE):
            return handler
    elif (review := reviews.HANDLERS.get((resource.group, resource.name))) is not None:
        if route.verb == "create" and not route.name:
            return review
    elif route.verb == "deletecollection" and resource.namespaced and not route.namespace:
        pass  # nobody empties all namespaces in one request
    elif route.verb in resource.verbs and bool(route.name) is (route.verb in _OF_ONE):
        return _VERBS[route.verb]
    elif route.verb == "watch" and route.name and "watch" in resource.verbs:
        return watching.watch
    raise _not_allowed()


def _plural(route: Route) -> str:
    return route.resource.name if route.resource is not None else "objects"


def _not_allowed() -> StatusError:
    return StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")


def _certificate(request: web.BaseRequest) -> bytes | None:
    """The client's certificate in DER, verified when the connection began."""
    if request.transport is None:
        return None
    tls = request.transport.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if tls is not None else None
