"""One client's HTTP/2 connection: frames in, requests out, and the answers of all of them back in few writes.

What costs us is bounded: streams and handlers at once (a handler goes on when its stream is reset, so it counts until
it ends), bytes of bodies that nobody has read, bytes of answers that no window takes, headers that don't end, frames
that bring nothing. Who takes no answers isn't listened to, either. A client beyond its bounds gets GOAWAY.
"""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.tcp_helpers import tcp_keepalive, tcp_nodelay
from jh2.errors import ErrorCodes
from jh2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from jh2.exceptions import NoSuchStreamError, ProtocolError

from hypernetes.apiserver import malformed
from hypernetes.apiserver.http2 import requests
from hypernetes.apiserver.http2.allowances import Allowance
from hypernetes.apiserver.http2.output import Output
from hypernetes.apiserver.http2.requests import Malformed
from hypernetes.apiserver.http2.states import MAX_HEADER_LIST_BYTES, MAX_STREAMS, States
from hypernetes.apiserver.http2.streams import Stream, Writer

log = structlog.get_logger()

CONNECTION_WINDOW_BYTES = 1024 * 1024  # of all bodies
QUEUED_BYTES = 1024 * 1024  # of answers that no window takes: beyond, new requests are refused
_HEADER_BLOCK_BYTES = MAX_HEADER_LIST_BYTES + 32 * 1024  # that may come and complete nothing
_PREFACE_WINDOW_BYTES = 65_535  # RFC 9113 §6.9.2
_RESETS, _RESETS_PER_SECOND = 1000, 33  # of requests by their client; nghttp2's figures
_EMPTY, _EMPTY_PER_SECOND = 2000, 100  # frames that bring nothing: PING, SETTINGS, WINDOW_UPDATE, empty DATA, …
_REQUEST_EARNS = 4  # of those

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
MakeRequest = Callable[[Any, Any, Any, Any, Any], web.BaseRequest]  # of message, body, protocol, writer, task

_UNANSWERED = frozenset({RequestReceived, StreamEnded})  # which the library acknowledges by nothing


class Owner(Protocol):
    """The server that a connection belongs to."""

    def arrived(self, connection: "Connection", transport: asyncio.Transport) -> None: ...

    def busy(self, connection: "Connection") -> None:
        """It has a request."""

    def rests(self, connection: "Connection") -> None:
        """It has none any more."""

    def departed(self, stream: Stream) -> None:
        """The client doesn't wait for this one's answer any more."""

    def lost(self, connection: "Connection") -> None:
        """It is closed. Its handlers may still be at work: `done` tells."""

    def done(self, connection: "Connection") -> None:
        """It is closed, and no handler is at work."""


class Connection(asyncio.Protocol):
    """See the module's docstring. `max_line_bytes` is for the path, and for each header; `make` is as aiohttp's."""

    def __init__(self, owner: Owner, handler: Handler, max_line_bytes: int, make: MakeRequest) -> None:
        self._owner, self._handler, self._max_line_bytes, self._make = owner, handler, max_line_bytes, make
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._http = States()
        self._streams: dict[int, Stream] = {}  # whose handler is at work
        self._leaving = False
        self._incomplete = 0  # bytes received that completed nothing
        now = self._loop.time()
        self._resets = Allowance(_RESETS, _RESETS_PER_SECOND, now)
        self._empty = Allowance(_EMPTY, _EMPTY_PER_SECOND, now)
        self.output = Output(self._http, self._empty)

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self.output.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        tcp_nodelay(self._transport, True)
        tcp_keepalive(self._transport)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(CONNECTION_WINDOW_BYTES - _PREFACE_WINDOW_BYTES)
        self.output.flush()
        self._owner.arrived(self, self._transport)

    def data_received(self, data: bytes) -> None:
        if not self.output.open:
            return
        try:
            events = self._http.receive_data(data)
        except ProtocolError as error:  # its GOAWAY is written already
            log.debug("a client does not keep to HTTP/2", error=str(error))
            self._end()
            return
        if not self._in_bounds(events, len(data)):
            self._give_up(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        more_room = False
        for event in events:
            more_room |= self._take(event)
        if more_room:
            self.output.send_queued()
        if any(event.__class__ not in _UNANSWERED for event in events):
            self.output.flush_soon()

    def eof_received(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self.output.transport = None
        for stream in list(self._streams.values()):
            self._lose(stream)
        self._owner.lost(self)
        if not self._streams:
            self._owner.done(self)

    def pause_writing(self) -> None:
        self.output.paused = True
        if self._transport is not None:
            self._transport.pause_reading()  # its answers, acknowledgements among them, would have no bound

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
        self.output.resume()

    # for its owner

    def close(self) -> None:
        """No more requests: what comes after those under way is to be asked of another connection."""
        if not self._leaving:
            self._leaving = True
            self.output.say_goodbye(ErrorCodes.NO_ERROR)
        if not self._streams:
            self._end()

    def refuse(self) -> None:
        """There is no room for it."""
        self.output.say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
        self._end()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Lets requests under way end within `timeout` seconds, and ends those that don't."""
        self.close()
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._end()

    def cut_stalled(self, latest: float) -> int:
        """Resets streams whose client has not taken the rest of an answer since `latest`; returns how many."""
        stalled = [stream for stream in self._streams.values() if 0 < stream.finishing_since < latest]
        for stream in stalled:
            self.break_off(stream)
        if stalled and self.output.paused and self._transport is not None:
            self._transport.abort()  # it doesn't even take what is written already
        return len(stalled)

    @functools.cached_property
    def addresses(self) -> tuple[Any, Any, Any]:
        """The TLS context, the client's address and ours: each request keeps them, and they are made once."""
        look = self.get_extra_info
        return look("sslcontext"), look("peername"), look("sockname")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    # for its streams

    def acknowledge(self, stream: Stream, size: int) -> None:
        """The client may send as many bytes of bodies again."""
        if self.output.open:
            self._http.acknowledge_received_data(size, stream.id)
            self.output.flush_soon()

    def break_off(self, stream: Stream) -> None:
        """Resets a stream whose answer isn't whole."""
        if not stream.closing:
            self._reset(stream.id, ErrorCodes.INTERNAL_ERROR)
            self._lose(stream)

    # what comes

    def _in_bounds(self, events: list[Event], size: int) -> bool:
        now = self._loop.time()
        self._incomplete = 0 if events else self._incomplete + size
        empty = resets = 0
        for event in events:
            kind = event.__class__
            if kind is RequestReceived:
                self._empty.earn(_REQUEST_EARNS)
            elif kind is StreamReset:
                resets += 1
            elif kind is not StreamEnded and not (kind is DataReceived and event.data):
                empty += 1
        return (
            self._incomplete <= _HEADER_BLOCK_BYTES
            and (not empty or self._empty.take(empty, now))
            and (not resets or self._resets.take(resets, now))
        )

    def _take(self, event: Event) -> bool:
        """Does what a frame asks for; returns whether it makes room for what is queued."""
        kind = event.__class__
        if kind is RequestReceived:
            self._begin(event)
        elif kind is DataReceived:
            stream = self._streams.get(event.stream_id)
            if stream is None:
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            else:
                stream.receive(event.data, event.flow_controlled_length)
        elif kind is StreamEnded:
            stream = self._streams.get(event.stream_id)
            if stream is not None and stream.content is not None:
                stream.content.feed_eof()
        elif kind is StreamReset:
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                self._lose(stream)
        elif kind is WindowUpdated:
            return True
        elif kind is RemoteSettingsChanged:
            self._http.keep_table_small()
            return True
        elif kind is ConnectionTerminated:
            self._end()  # the library sends nothing after a client's GOAWAY, and clients say it when they are done
        return False

    def _begin(self, event: RequestReceived) -> None:
        number: int = event.stream_id
        if self._leaving or len(self._streams) >= MAX_STREAMS or self.output.queued > QUEUED_BYTES:
            self._reset(number, ErrorCodes.REFUSED_STREAM)  # which says that it may be asked again
            return
        stream = Stream(self, number)
        if event.stream_ended is None:
            stream.content = StreamReader(stream, 1, loop=self._loop)  # type: ignore[arg-type]  # as much of a protocol
        handler = self._handler
        try:
            message = requests.message(event.headers, self._max_line_bytes)
        except Malformed as error:
            message, handler = requests.NONE, malformed.answering(error)
        # the stream has as much of a protocol as handlers use, and the task is for WebSockets alone
        request = self._make(message, stream.content or EMPTY_PAYLOAD, stream, Writer(stream), None)
        if not self._streams:
            self._owner.busy(self)
        self._streams[number] = stream
        stream.task = self._loop.create_task(self._answer(stream, request, handler))

    # what is answered

    async def _answer(self, stream: Stream, request: web.BaseRequest, handler: Handler) -> None:
        try:
            response = await handler(request)
            stream.finishing_since = self._loop.time()
            await response.prepare(request)
            await response.write_eof()
            if response.status == 401:
                self.close()  # as upstream: who has no credential doesn't get a connection for hundreds of requests
        except ConnectionError:
            log.debug("a client went away", path=request.path)
        except Exception:  # the request's life ends here
            log.exception("request failed", method=request.method, path=request.path)
        finally:
            self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        del self._streams[stream.id]
        if not stream.closing:
            if not stream.ended:
                self._reset(stream.id, ErrorCodes.INTERNAL_ERROR)
            elif stream.content is not None and not stream.content.is_eof():
                self._reset(stream.id, ErrorCodes.NO_ERROR)  # the rest of the body is of no use (RFC 9113 §8.1)
            self._lose(stream)
        if self._streams:
            return
        self.output.flush()  # nobody else is about to say anything
        if self._transport is None:
            self._owner.done(self)
        elif self._leaving:
            self._end()
        else:
            self._owner.rests(self)

    def _lose(self, stream: Stream) -> None:
        if stream.closing:
            return
        self.output.forget(stream)
        stream.lose()
        stream.resume_reading()  # what it hasn't read is the other streams' room
        self._owner.departed(stream)

    def _reset(self, number: int, code: ErrorCodes) -> None:
        if not self.output.open:
            return
        with contextlib.suppress(NoSuchStreamError):  # the client has reset it in the same breath
            self._http.reset_stream(number, code)
        self.output.flush_soon()

    # how it ends

    def _give_up(self, code: ErrorCodes) -> None:
        log.info("a client sends too much that asks for nothing", client=self.get_extra_info("peername"))
        self.output.say_goodbye(code)
        self._end()

    def _end(self) -> None:
        """What is written still goes out, if the client takes it."""
        self._leaving = True
        for stream in list(self._streams.values()):
            self._lose(stream)
        self.output.flush()
        if self._transport is not None:
            self._transport.close()
