"""Requests for resources that a server in the tenant's own pods serves: carried there, with who asks."""

from urllib.parse import quote

from aiohttp import web
from yarl import URL

from hypernetes.api.status import StatusError
from hypernetes.apiserver import proxy as carrying
from hypernetes.apiserver.aggregation import identity
from hypernetes.apiserver.aggregation.documents import unavailable
from hypernetes.apiserver.aggregation.offers import Offer
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.routing import not_served

_ANSWER_SECONDS = 60.0  # until it begins to answer


async def serve(call: Call) -> web.StreamResponse:
    """StatusError 404 where the tenant has no such group, 503 where its server can't be reached or doesn't answer."""
    offer = await _offer(call)
    if not offer.verdict.available:
        raise unavailable()
    if call.http.headers.get("Upgrade", "").lower() not in ("", "websocket"):
        raise StatusError("BadRequest", "of all upgrades, WebSockets are carried")
    registered, parts = offer.registered, call.parts
    manner = carrying.Manner(
        parts.aggregation.reach.tls(registered), identity.headers(call.user, registered.tenant), _ANSWER_SECONDS,
        redirects=False,
    )  # fmt: skip
    # Written anew from what was authorized, so that the server reads no other path.
    path = "/".join(quote(part, safe="*:@!$&'()+,;=~") for part in call.route.path.split("/"))
    query = f"?{call.http.rel_url.raw_query_string}" if call.http.rel_url.raw_query_string else ""
    url = URL(f"https://{registered.host}:{registered.port}{path}{query}", encoded=True)
    async with parts.aggregation.reach.connection(registered) as connection:
        return await carrying.relay(call.http, connection, url, "", parts.departures, manner)


async def _offer(call: Call) -> Offer:
    resource, find = call.resource, call.parts.aggregation.find
    if call.tenant is None:
        raise not_served()
    offer = find(call.tenant, resource.group, resource.version)
    if offer is None:
        await call.parts.freshness.now()
        offer = find(call.tenant, resource.group, resource.version)
    if offer is None:
        raise not_served()
    return offer
