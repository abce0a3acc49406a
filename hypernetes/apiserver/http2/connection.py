"""One client's HTTP/2 connection: frames in, requests out, and the answers of all of them back in few writes.

What costs us is bounded: streams and handlers at once (a handler goes on when its stream is reset, so it counts until
it ends), bytes of bodies that nobody has read, bytes of answers that no window takes, headers that don't end, frames
that bring nothing. Who takes no answers isn't listened to, either. A client beyond its bounds gets GOAWAY.
"""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import hpack
import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.tcp_helpers import tcp_keepalive, tcp_nodelay
from jh2.config import H2Configuration
from jh2.connection import H2Connection, HPACKError, OversizedHeaderListError
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
from jh2.hyperframe.frame import GoAwayFrame
from jh2.settings import SettingCodes, Settings

from hypernetes.apiserver import malformed
from hypernetes.apiserver.http2 import requests
from hypernetes.apiserver.http2.allowances import Allowance
from hypernetes.apiserver.http2.requests import Malformed
from hypernetes.apiserver.http2.streams import Data, Headers, Stream, Writer

log = structlog.get_logger()

MAX_STREAMS = 250  # at once, and as many handlers; upstream's figure
STREAM_WINDOW_BYTES = 256 * 1024  # of a body that wait to be read; upstream's figure
CONNECTION_WINDOW_BYTES = 1024 * 1024  # of all bodies
MAX_HEADER_LIST_BYTES = 64 * 1024
QUEUED_BYTES = 1024 * 1024  # of answers that no window takes: beyond, new requests are refused
_HEADER_BLOCK_BYTES = MAX_HEADER_LIST_BYTES + 32 * 1024  # that may come and complete nothing
_PREFACE_WINDOW_BYTES = 65_535  # RFC 9113 §6.9.2
_TABLE_BYTES = 4096  # of headers we sent that are kept, whatever the client allows
_CLOSED_STREAMS = 512  # that are remembered, for frames that were under way
_FRAME_BYTES = 32 * 1024  # of a stream before another has its turn
_PENDING_BYTES = 64 * 1024  # that wait for the end of the turn
_RESETS, _RESETS_PER_SECOND = 1000, 33  # of requests by their client; nghttp2's figures
_EMPTY, _EMPTY_PER_SECOND = 2000, 100  # frames that bring nothing: PING, SETTINGS, WINDOW_UPDATE, empty DATA, …
_REQUEST_EARNS, _BYTES_EARN_ONE = 4, 512  # of those for a request, and for what is sent

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_CONFIGURATION = H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
    validate_inbound_headers=False, normalize_inbound_headers=False,
)  # fmt: skip  # `requests` and `streams` see to that
_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
}
_UNANSWERED = frozenset({RequestReceived, StreamEnded})  # which the library acknowledges by nothing


class _Http(H2Connection):  # type: ignore[misc]  # the library has no types
    """The library's state machine, with the decoder of h2: its own, in Rust, panics at some blocks that are none."""

    MAX_CLOSED_STREAMS = _CLOSED_STREAMS

    def __init__(self) -> None:
        super().__init__(_CONFIGURATION)
        self.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self.decoder = _Decoder(MAX_HEADER_LIST_BYTES)
        self.decoder.max_allowed_table_size = self.local_settings.header_table_size


class _Decoder(hpack.Decoder):
    """Its errors are those that the library expects."""

    def decode(self, data: bytes, raw: bool = False) -> Any:
        try:
            return super().decode(data, raw=raw)
        except hpack.OversizedHeaderListError as error:
            raise OversizedHeaderListError(str(error)) from error
        except hpack.HPACKError as error:
            raise HPACKError(str(error)) from error


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


def _request(message: RawRequestMessage, stream: Stream, loop: asyncio.AbstractEventLoop) -> web.BaseRequest:
    protocol = cast(web.RequestHandler, stream)  # it has as much of one as handlers use
    no_task = cast("asyncio.Task[None]", None)  # which only WebSockets ask for
    return web.BaseRequest(message, stream.content or EMPTY_PAYLOAD, protocol, Writer(stream), no_task, loop)


class Connection(asyncio.Protocol):
    """See the module's docstring. `max_line_bytes` is for the path, and for each header."""

    def __init__(self, owner: Owner, handler: Handler, max_line_bytes: int) -> None:
        self._owner, self._handler, self._max_line_bytes = owner, handler, max_line_bytes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._http = _Http()
        self._streams: dict[int, Stream] = {}  # whose handler is at work
        self._blocked: dict[Stream, None] = {}  # with a queue, in the order of their turns
        self._queued = 0  # bytes in those queues
        self.waiting: set[Stream] = set()
        self.writing_paused = False
        self._flushing: asyncio.Handle | None = None
        self._written: list[Data] = []  # frames that go before those which the library holds
        self._pending = 0  # bytes of bodies in both
        self._leaving = False
        self._incomplete = 0  # bytes received that completed nothing
        now = self._loop.time()
        self._resets = Allowance(_RESETS, _RESETS_PER_SECOND, now)
        self._empty = Allowance(_EMPTY, _EMPTY_PER_SECOND, now)

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        tcp_nodelay(self._transport, True)
        tcp_keepalive(self._transport)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(CONNECTION_WINDOW_BYTES - _PREFACE_WINDOW_BYTES)
        self._flush()
        self._owner.arrived(self, self._transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
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
            self._send_queued()
        if any(event.__class__ not in _UNANSWERED for event in events):
            self.flush_soon()

    def eof_received(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._flushing is not None:
            self._flushing.cancel()
        for stream in list(self._streams.values()):
            self._lose(stream)
        self._owner.lost(self)
        if not self._streams:
            self._owner.done(self)

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self._transport is not None:
            self._transport.pause_reading()  # its answers, acknowledgements among them, would have no bound

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._transport is not None:
            self._transport.resume_reading()
        self._send_queued()
        for stream in list(self.waiting):
            stream.wake()

    # for its owner

    def close(self) -> None:
        """No more requests: what comes after those under way is to be asked of another connection."""
        if not self._leaving:
            self._leaving = True
            self._say_goodbye(ErrorCodes.NO_ERROR)
        if not self._streams:
            self._end()

    def refuse(self) -> None:
        """There is no room for it."""
        self._say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
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
        if stalled and self.writing_paused and self._transport is not None:
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

    def send_headers(self, stream: Stream, headers: Headers, end: bool) -> None:
        self._http.send_headers(stream.id, headers, end_stream=end)
        stream.ended = end
        self.flush_soon()

    def send_data(self, stream: Stream, data: Data, end: bool) -> None:
        stream.ends = end
        if stream.queue is not None:
            stream.queue.append(data)
            self._queued += len(data)
            return
        rest = self._send(stream, data)
        while rest is not None and self._room(stream) > 0:
            rest = self._send(stream, rest)
        if rest is not None:
            stream.queue = deque((rest,))
            self._queued += len(rest)
            self._blocked[stream] = None
        self.flush_soon()

    def acknowledge(self, stream: Stream, size: int) -> None:
        """The client may send as many bytes of bodies again."""
        if self._transport is not None and not self._transport.is_closing():
            self._http.acknowledge_received_data(size, stream.id)
            self.flush_soon()

    def break_off(self, stream: Stream) -> None:
        """Resets a stream whose answer isn't whole."""
        if not stream.closing:
            self._reset(stream.id, ErrorCodes.INTERNAL_ERROR)
            self._lose(stream)

    def flush_soon(self) -> None:
        """Sends what the library has put together: at the end of this turn of the loop, all of it at once."""
        if self._flushing is None and self._transport is not None:
            self._flushing = self._loop.call_soon(self._flush)

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
            self._http.encoder.header_table_size = min(self._http.encoder.header_table_size, _TABLE_BYTES)
            return True
        elif kind is ConnectionTerminated:
            self._end()  # the library sends nothing after a client's GOAWAY, and clients say it when they are done
        return False

    def _begin(self, event: RequestReceived) -> None:
        number: int = event.stream_id
        if self._leaving or len(self._streams) >= MAX_STREAMS or self._queued > QUEUED_BYTES:
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
        request = _request(message, stream, self._loop)
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
        self._flush()  # nobody else is about to say anything
        if self._transport is None:
            self._owner.done(self)
        elif self._leaving:
            self._end()
        else:
            self._owner.rests(self)

    def _lose(self, stream: Stream) -> None:
        if stream.closing:
            return
        if stream.queue is not None:
            self._queued -= sum(map(len, stream.queue))
            del self._blocked[stream]
        stream.lose()
        stream.resume_reading()  # what it hasn't read is the other streams' room
        self._owner.departed(stream)

    def _reset(self, number: int, code: ErrorCodes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(NoSuchStreamError):  # the client has reset it in the same breath
            self._http.reset_stream(number, code)
        self.flush_soon()

    # what is sent

    def _room(self, stream: Stream) -> int:
        window: int = self._http.local_flow_control_window(stream.id)
        frame: int = self._http.max_outbound_frame_size
        return min(window, frame, _FRAME_BYTES)

    def _send(self, stream: Stream, data: Data) -> Data | None:
        """One frame, as far as there is room; gives the rest."""
        last = stream.ends and stream.queue is None
        if not len(data):  # which takes no room
            if last:
                self._http.end_stream(stream.id)
                stream.ended = True
            return None
        room = self._room(stream)
        if room <= 0:
            return data
        rest = None if len(data) <= room else memoryview(data)[room:]
        stream.ended = last and rest is None
        if stream.ended:
            self._http.send_data(stream.id, data, end_stream=True)
        else:
            self._write(stream.id, data if rest is None else memoryview(data)[:room])
        sent = min(len(data), room)
        self._empty.earn(sent / _BYTES_EARN_ONE)
        self._pending += sent
        if self._pending > _PENDING_BYTES:
            self._flush()
        return rest

    def _write(self, number: int, data: Data) -> None:
        """A frame from the middle of an answer, which changes nothing but windows: most of a watch, and of a list.

        The library would copy it twice, and take as long as TLS does.
        """
        size = len(data)
        self._http.outbound_flow_control_window -= size
        self._http.streams[number].outbound_flow_control_window -= size
        before = self._http.data_to_send()  # its headers, among others
        if before:
            self._written.append(before)
        self._written += ((size << 48 | number).to_bytes(9, "big"), data)  # RFC 9113 §4.1: DATA is type 0

    def _send_queued(self) -> None:
        """A frame of each stream in turn, until the windows are full or the client's connection is."""
        turns = deque(self._blocked)
        while turns and not self.writing_paused:
            stream = turns.popleft()
            if stream.queue is not None and self._send_next(stream):
                turns.append(stream)

    def _send_next(self, stream: Stream) -> bool:
        """One frame of a queue; returns whether it can have another."""
        queue = stream.queue
        assert queue is not None
        data = queue.popleft()
        if not queue:
            stream.queue = None
        before = len(data)
        rest = self._send(stream, data)
        self._queued -= before - (0 if rest is None else len(rest))
        if rest is not None:
            queue.appendleft(rest)
            stream.queue = queue
            return len(rest) < before
        if queue:
            return True
        del self._blocked[stream]
        stream.wake()
        return False

    def _flush(self) -> None:
        self._flushing, self._pending = None, 0
        if self._transport is None or self._transport.is_closing():
            return
        last, written = self._http.data_to_send(), self._written
        if written:
            written.append(last)
            self._written = []
            self._transport.write(b"".join(written))
        elif last:
            self._transport.write(last)

    # how it ends

    def _say_goodbye(self, code: ErrorCodes) -> None:
        """GOAWAY behind what is written so far. The library's own would let it send nothing any more."""
        if self._transport is None or self._transport.is_closing():
            return
        self._flush()
        frame = GoAwayFrame(0, last_stream_id=self._http.highest_inbound_stream_id, error_code=code)
        self._transport.write(frame.serialize())

    def _give_up(self, code: ErrorCodes) -> None:
        log.info("a client sends too much that asks for nothing", client=self.get_extra_info("peername"))
        self._say_goodbye(code)
        self._end()

    def _end(self) -> None:
        """What is written still goes out, if the client takes it."""
        self._leaving = True
        for stream in list(self._streams.values()):
            self._lose(stream)
        self._flush()
        if self._transport is not None:
            self._transport.close()
