"""Large answers, sent piece by piece.

What is written to a connection at once is copied as often as there are layers (TLS, its buffers, the socket's), and a
client that doesn't read keeps all of it in memory. A piece is written when the one before it has left.

A piece is some tenths of a millisecond of this process. Were each written as soon as its client is ready, hundreds of
lists would come between any two small requests. So pieces have turns: one for each round of the event loop, in which
everybody else is served, too; and tenants have their turns by weight, whatever number of lists they ask for.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

_PIECE_BYTES = 128 * 1024

Turn = Callable[[], Awaitable[None]]  # returns when a piece may be made and written


class Weights(Protocol):
    """What Turns asks of Lookups."""

    def tenant_weight(self, tenant: str) -> int: ...


class Turns:
    """Those of all large answers of one server."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # by tenant; the first is next
        self._left = 0  # turns that the first tenant has until the next one's
        self._running = False  # whether a round of the loop has its turn already

    async def turn(self, tenant: str) -> None:
        """Returns when it is the tenant's turn."""
        loop = asyncio.get_running_loop()
        if not self._running:
            self._running = True
            loop.call_soon(self._next)
            return
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(tenant, deque()).append(future)
        await future

    def _next(self) -> None:
        while self._waiting:
            tenant, futures = next(iter(self._waiting.items()))
            if not self._left:
                self._left = self._weights.tenant_weight(tenant)
            future = futures.popleft()
            self._left -= 1
            if not futures:
                del self._waiting[tenant]
                self._left = 0
            elif not self._left:
                self._waiting.move_to_end(tenant)
            if not future.done():  # its client is still there
                future.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._running = False


async def write(response: web.StreamResponse, data: bytes, turn: Turn | None = None) -> None:
    """Writes to a response that has been prepared; what has several pieces waits for its turn with each."""
    if len(data) <= _PIECE_BYTES:
        await response.write(data)
        return
    rest = memoryview(data)
    while rest:
        if turn is not None:
            await turn()
        await response.write(rest[:_PIECE_BYTES])
        rest = rest[_PIECE_BYTES:]


async def send(request: web.BaseRequest, response: web.Response, turn: Turn) -> web.StreamResponse:
    """Sends a whole answer; returns when the client has taken it, but for what a connection's buffer holds."""
    body = response.body
    assert isinstance(body, bytes)
    stream = web.StreamResponse(status=response.status, reason=response.reason, headers=response.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    if request.method != "HEAD":
        await write(stream, body, turn)
    await stream.write_eof()
    return stream
