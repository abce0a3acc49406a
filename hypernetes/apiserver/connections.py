"""Connections: how many there may be, when one is closed, and who is told that a client has gone.

* A stream to a client that goes away ends at once, a write for one is carried out all the same. So nothing is cancelled
  when a connection is lost: who serves a stream asks to be told, and ends it.
* Connections cost memory, and anybody may open them. One without a request, or with half a request's headers, is closed
  after a while; one that doesn't take its answers, too. Beyond a number the one that has been idle for longest goes.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import web

from hypernetes.apiserver import malformed
from hypernetes.apiserver.http2.connection import Connection
from hypernetes.apiserver.http2.streams import Stream

log = structlog.get_logger()

IDLE_SECONDS = 90.0  # upstream's figure
STALLED_SECONDS = 60.0  # for the rest of an answer
HANDSHAKE_SECONDS = 10.0
CLOSING_SECONDS = 5.0  # for the other side to say that it has closed, too
_LINGERING_SECONDS = 2.0  # for the rest of a body that nobody reads, so that its sender sees the answer
_BUFFER_BYTES = 128 * 1024  # of an answer that its client hasn't taken yet
_SWEEP_SECONDS = 15.0
_MAX_CONNECTIONS = 20_000
_LINE_BYTES = 8190  # of a request's path or a header, where nobody says more; aiohttp's figure
_OTHER_FILES = 512  # file descriptors that are no client's connection

_Waiting = dict[asyncio.BaseProtocol | Stream, list[Callable[[], None]]]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Where a request holds what is told, and may add headers, as an answer to it begins: an async function of the response.
PREPARING: web.RequestKey[Any] = web.RequestKey("preparing", object)


class _Told:
    """See Departures.told. There is one for each watch, so it is small."""

    __slots__ = ("_callback", "_request", "_waiting")

    def __init__(self, waiting: "_Waiting", request: web.BaseRequest, callback: Callable[[], None]) -> None:
        self._waiting, self._request, self._callback = waiting, request, callback

    def __enter__(self) -> None:
        if gone(self._request):
            self._callback()
        self._waiting.setdefault(self._request.protocol, []).append(self._callback)

    def __exit__(self, *_: object) -> None:
        callbacks = self._waiting[self._request.protocol]
        callbacks.remove(self._callback)
        if not callbacks:
            del self._waiting[self._request.protocol]


class Departures:
    """Who wants to know when the connection of a request is lost."""

    def __init__(self) -> None:
        self._waiting: _Waiting = {}

    def told(self, request: web.BaseRequest, callback: Callable[[], None]) -> "_Told":
        """While it is entered: calls `callback` if the client of `request` goes, or has gone before."""
        return _Told(self._waiting, request, callback)

    def lost(self, connection: asyncio.BaseProtocol | Stream) -> None:
        for callback in list(self._waiting.get(connection, ())):
            callback()


def gone(request: web.BaseRequest) -> bool:
    """Whether nobody is there to be answered."""
    return request.transport is None or request.transport.is_closing()


def max_connections() -> int:
    """How many clients' connections this process may have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(_MAX_CONNECTIONS, files - _OTHER_FILES))


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        preparing = self.get(PREPARING)
        if preparing is not None:
            await preparing(response)


class _Connection(web.RequestHandler):
    """aiohttp's connection, whose complaints about messages that are no HTTP are a Status."""

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if status == 400:
            return malformed.answer(exc)
        return super().handle_error(request, status, exc, message)


class _Arrival(asyncio.Protocol):
    """A connection until it is known what its client speaks, which its TLS handshake has settled."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        tls = transport.get_extra_info("ssl_object")
        multiplexed = tls is not None and tls.selected_alpn_protocol() == "h2"
        protocol = self._server.multiplexed() if multiplexed else self._server.plain()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class Server(web.Server):
    """aiohttp's server with HTTP/2 beside it, and the limits of the module's docstring; run `sweep()` in a task."""

    def __init__(self, handler: Handler, departures: Departures, *, limit: int | None = None, **options: Any) -> None:
        super().__init__(self._handle, request_factory=self._request)
        closing = {"keepalive_timeout": IDLE_SECONDS, "lingering_time": _LINGERING_SECONDS}
        self._options: dict[str, Any] = {**closing, "auto_decompress": False, **options}
        self._handler, self._departures = handler, departures
        self._limit = limit or max_connections()
        self._multiplexed: dict[Connection, asyncio.Transport] = {}
        # connections without a request, by when that began: so the first is idle for longest
        self._idle: dict[web.RequestHandler | Connection, float] = {}

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # it becomes one of the two
        return _Arrival(self)

    def plain(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._options)

    def multiplexed(self) -> Connection:
        return Connection(self, self._handler, self._options.get("max_line_size", _LINE_BYTES), self._request)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return _Request(message, payload, protocol, writer, task, self._loop)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._idle.pop(connection, None)
        try:
            return await self._handler(request)
        finally:
            if request.transport is not None:
                self._idle[connection] = self._loop.time()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._welcome(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._idle.pop(handler, None)
        self._departures.lost(handler)

    def arrived(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._multiplexed[connection] = transport
        self._welcome(connection, transport)

    def busy(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def rests(self, connection: Connection) -> None:
        self._idle[connection] = self._loop.time()

    def departed(self, stream: Stream) -> None:
        self._departures.lost(stream)

    def lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def done(self, connection: Connection) -> None:
        self._multiplexed.pop(connection, None)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Lets requests under way end within `timeout` seconds; connections without one are closed at once."""
        self.pre_shutdown()
        await asyncio.gather(super().shutdown(timeout), *(each.shutdown(timeout) for each in list(self._multiplexed)))

    async def sweep(self) -> None:
        """Until cancelled: cuts off who doesn't take the rest of an answer, or asks for nothing."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.cut_stalled()
            self.close_idle()

    def cut_stalled(self) -> None:
        latest = self._loop.time() - STALLED_SECONDS
        cut = sum(connection.cut_stalled(latest) for connection in list(self._multiplexed))
        stalled = []
        for connection, since in self._idle.items():
            if since > latest:
                break  # the others are younger
            transport = self._transport(connection)
            if transport is not None and transport.get_write_buffer_size():
                stalled.append(transport)
        for transport in stalled:
            transport.abort()
        if stalled or cut:
            log.info("clients did not take their answers", connections=len(stalled), streams=cut)

    def close_idle(self) -> None:
        """Those with HTTP/2; aiohttp's close themselves."""
        latest = self._loop.time() - IDLE_SECONDS
        for connection, since in list(self._idle.items()):
            if since > latest:
                break
            if isinstance(connection, Connection):
                connection.close()

    def _welcome(self, connection: web.RequestHandler | Connection, transport: asyncio.Transport) -> None:
        if len(self._connections) + len(self._multiplexed) > self._limit:
            self._make_room(connection, transport)
        self._idle[connection] = self._loop.time()
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)

    def _make_room(self, newest: web.RequestHandler | Connection, newest_transport: asyncio.Transport) -> None:
        oldest = next(iter(self._idle), None)
        transport = None if oldest is None else self._transport(oldest)
        if oldest is None or transport is None:
            if isinstance(newest, Connection):
                newest.refuse()
            else:
                newest_transport.write(malformed.TOO_MANY_CONNECTIONS)
                newest_transport.close()
            return
        del self._idle[oldest]
        transport.abort()

    def _transport(self, connection: web.RequestHandler | Connection) -> asyncio.Transport | None:
        if isinstance(connection, Connection):
            return self._multiplexed.get(connection)
        return self._connections.get(connection)
