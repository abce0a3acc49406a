"""How much may be under way at once, and for how long: requests, bytes of bodies, answers that nobody takes.

    body ─► a place among the requests under way ─► handler ─► answer taken by the client ─► place free
    (a tenant's bodies: so many bytes)   (429 where there is none)   (so many seconds)

Figures are upstream's, and beyond them no tenant takes more than its share: what one does must not stop the others. The
body comes before the place, so that who sends slowly holds none. Watches, logs, exec and the like last as long as they
last and have no place there: of them a tenant has so many for each unit of its weight.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeGuard

from aiohttp import web

from hypernetes.api.durations import parse_duration
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import sending
from hypernetes.apiserver.authn.users import User
from hypernetes.apiserver.authz.asking import needed
from hypernetes.apiserver.compression import compressed, may_be_compressed
from hypernetes.apiserver.fairness import Fairness, TooManyWait, cost
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.largebodies import is_large
from hypernetes.apiserver.reauthorization import Stream
from hypernetes.apiserver.routing import Route

READING_PLACES, WRITING_PLACES = 400, 200  # --max-requests-inflight and --max-mutating-requests-inflight of upstream
_SHARE = 2  # a tenant has at most one part in so many of the places
WATCHES_PER_WEIGHT, STREAMS_PER_WEIGHT = (
    1_000,
    200,
)  # that a tenant of weight 1 has open; some 10 KB each, or two sockets
BODY_BYTES_PER_TENANT = 64 * 1024 * 1024
REQUEST_SECONDS = 60.0  # --request-timeout of upstream; a client may ask for less
_WHOLE_BYTES = 128 * 1024  # an answer up to this size waits in the connection's buffer, and its request is over
_RETRY_SECONDS = 1

_BODIES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_ENDLESS_SUBRESOURCES = frozenset({"attach", "exec", "log", "portforward", "proxy"})

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Places:
    """Requests of one class that are under way, by tenant."""

    def __init__(self, total: int) -> None:
        self._total, self._share = total, total // _SHARE
        self._taken: Counter[str] = Counter()
        self._sum = 0

    def take(self, tenant: str) -> None:
        """Raises StatusError 429 where no place is free."""
        if self._sum >= self._total or self._taken[tenant] >= self._share:
            raise _too_many("too many requests are under way, please try again later")
        self._taken[tenant] += 1
        self._sum += 1

    def leave(self, tenant: str) -> None:
        self._sum -= 1
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]


class Open:
    """Watches or streams that are open, by tenant."""

    def __init__(self, each: int, what: str) -> None:
        self._each, self._what = each, what
        self._open: Counter[str] = Counter()

    def take(self, tenant: str, weight: int) -> None:
        """Raises StatusError 429 where the tenant has as many as its weight allows."""
        if self._open[tenant] >= self._each * weight:
            raise _too_many(f"the tenant has {self._open[tenant]} {self._what} open, which is as many as it may have")
        self._open[tenant] += 1

    def leave(self, tenant: str) -> None:
        self._open[tenant] -= 1
        if not self._open[tenant]:
            del self._open[tenant]


class Bodies:
    """Bytes of request bodies that are held, by tenant."""

    def __init__(self, limit: int = BODY_BYTES_PER_TENANT) -> None:
        self._limit = limit
        self._held: Counter[str] = Counter()

    def take(self, tenant: str, size: int) -> None:
        """Raises StatusError 429 where they would be too many."""
        if self._held[tenant] + size > self._limit:
            raise _too_many("too many bytes of requests are under way, please try again later")
        self._held[tenant] += size

    def leave(self, tenant: str, size: int) -> None:
        self._held[tenant] -= size
        if not self._held[tenant]:
            del self._held[tenant]


class Limits:
    """The limits of one server."""

    def __init__(
        self, fairness: Fairness, *, reading: int = READING_PLACES, writing: int = WRITING_PLACES,
        watches: int = WATCHES_PER_WEIGHT, streams: int = STREAMS_PER_WEIGHT,
    ) -> None:  # fmt: skip
        self._fairness = fairness
        self._reading, self._writing, self._bodies = Places(reading), Places(writing), Bodies()
        self._watches, self._streams = Open(watches, "watches"), Open(streams, "streams")

    def carry_out(self, call: Call, handler: Handler) -> Awaitable[web.StreamResponse]:
        """What `handler` answers, within the limits. Raises StatusError: 429 over them, 408 or 504 after its time."""
        route = call.route
        if route.verb in _BODIES and not is_endless(route):
            return self._with_body(call, handler)
        wait = self._wait(call)
        return self._without_body(call, handler) if wait is None else self._later(wait, call, handler)

    def _wait(self, call: Call) -> asyncio.Future[None] | None:
        """What a request waits for until it is its tenant's turn; None: nothing. Raises StatusError 429."""
        user = call.user
        if _is_exempt(user):
            return None
        try:
            return self._fairness.begin(user.tenant, cost(call.route.verb))
        except TooManyWait:
            raise _too_many("too many requests are waiting, please try again later") from None

    async def _later(self, wait: asyncio.Future[None], call: Call, handler: Handler) -> web.StreamResponse:
        await wait
        return await self._without_body(call, handler)

    def _without_body(self, call: Call, handler: Handler) -> Awaitable[web.StreamResponse]:
        route = call.route
        if route.verb == "watch" and not route.foreign:  # looks after itself; is to cost no more memory than it must
            return handler(call) if _is_exempt(call.user) else self._counted(call, handler)
        if is_endless(route):
            return self._endless(call, handler)
        return self._in_place(call, handler, self._reading, seconds_for(call.http.query.get("timeout", "")))

    async def _with_body(self, call: Call, handler: Handler) -> web.StreamResponse:
        size, seconds = _body_size(call.http), seconds_for(call.http.query.get("timeout", ""))
        self._bodies.take(call.user.tenant, size)
        try:
            if size and call.http.content.is_eof():  # it is all there
                await negotiation.receive(call.http)
            elif size:
                await _receive(call.http, seconds)
            body = await negotiation.read_body(call.http) if size else b""
            wait = self._wait(call)
            if wait is not None:
                await wait
            if is_large(size, call.http.headers.get("Content-Type", ""), body):
                async with _turn(call, seconds):
                    return await self._in_place(call, handler, self._writing, seconds)
            return await self._in_place(call, handler, self._writing, seconds)
        finally:
            self._bodies.leave(call.user.tenant, size)

    async def _endless(self, call: Call, handler: Handler) -> web.StreamResponse:
        asked = needed(call.user, call.route)
        with call.parts.reauthorization.of(call.user, asked, Stream(call.http), call.who):
            return await self._counted(call, handler)

    async def _counted(self, call: Call, handler: Handler) -> web.StreamResponse:
        if _is_exempt(call.user):
            return await handler(call)
        tenant = call.user.tenant
        opened = self._watches if call.route.verb == "watch" else self._streams
        opened.take(tenant, call.parts.lookups.tenant_weight(tenant))
        try:
            return await handler(call)
        finally:
            opened.leave(tenant)

    def _in_place(
        self, call: Call, handler: Handler, places: Places, seconds: float
    ) -> Awaitable[web.StreamResponse]:  # fmt: skip
        return _answered(call, handler, seconds) if _is_exempt(call.user) else _placed(call, handler, places, seconds)


def is_endless(route: Route) -> bool:
    """Whether a request lasts as long as its client wants."""
    return route.verb == "watch" or route.foreign or route.subresource in _ENDLESS_SUBRESOURCES


def seconds_for(timeout: str) -> float:
    """How long a request may take that came with `?timeout=`. Raises StatusError 400."""
    if not timeout:
        return REQUEST_SECONDS
    try:
        asked = parse_duration(timeout)
    except ValueError as error:
        raise StatusError("BadRequest", f"invalid timeout specified in the request URL: {error}") from error
    return asked if 0 < asked < REQUEST_SECONDS else REQUEST_SECONDS


def _is_exempt(user: User) -> bool:
    """Our own processes and the provider's people: without them an overload would never end."""
    return user.tenant == SYSTEM_TENANT


def _body_size(request: web.BaseRequest) -> int:
    """The bytes that a request's body may come to; what says more, or nothing, is read up to the most that is taken."""
    if not request.body_exists:
        return 0
    said = request.content_length
    return negotiation.MAX_BODY_BYTES if said is None else min(said, negotiation.MAX_BODY_BYTES)


@asynccontextmanager
async def _turn(call: Call, seconds: float) -> AsyncIterator[None]:
    """The tenant's turn among its large bodies. Raises StatusError 429 where it doesn't come in time."""
    lock = call.parts.large_bodies.turn(call.user.tenant)
    try:
        async with asyncio.timeout(seconds):
            await lock.acquire()
    except TimeoutError as error:
        raise _too_many("too many large requests are under way, please try again later") from error
    try:
        yield
    finally:
        lock.release()


async def _receive(request: web.BaseRequest, seconds: float) -> None:
    """Reads the body ahead, for `negotiation.read_body`. Raises StatusError 413; 408 where the client is too slow."""
    try:
        async with asyncio.timeout(seconds):
            await negotiation.receive(request)
    except TimeoutError as error:
        raise StatusError("Timeout", "the body of the request did not come in time", code=408) from error


async def _placed(call: Call, handler: Handler, places: Places, seconds: float) -> web.StreamResponse:
    tenant = call.user.tenant
    places.take(tenant)
    try:
        return await _answered(call, handler, seconds)
    finally:
        places.leave(tenant)


async def _answered(call: Call, handler: Handler, seconds: float) -> web.StreamResponse:
    """What is read is given up when its time is over. A write is carried out: all that it waits for has a deadline."""
    verb = call.route.verb
    if verb in _BODIES or (verb == "get" and seconds == REQUEST_SECONDS):
        response = await handler(call)
        if may_be_compressed(response):
            response = await compressed(call.http, response)
        if _is_large(response):
            return await _within(call.http, REQUEST_SECONDS, sending.send(call.http, response, call.turn))
        return response

    async def read() -> web.StreamResponse:
        response = await handler(call)
        if may_be_compressed(response):
            response = await compressed(call.http, response)
        return await sending.send(call.http, response, call.turn) if _is_large(response) else response

    return await _within(call.http, seconds, read())


async def _within(request: web.BaseRequest, seconds: float, work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        if not request.writer.output_size:
            raise StatusError("Timeout", "the request did not complete within the allotted time") from error
        if request.transport is not None:
            request.transport.abort()  # without its end, the client knows that the answer isn't whole
        return web.Response()


def _is_large(response: web.StreamResponse) -> TypeGuard[web.Response]:
    if not isinstance(response, web.Response) or response.prepared:
        return False
    return isinstance(response.body, bytes) and len(response.body) > _WHOLE_BYTES


def _too_many(message: str) -> StatusError:
    return StatusError("TooManyRequests", message, details={"retryAfterSeconds": _RETRY_SECONDS})
