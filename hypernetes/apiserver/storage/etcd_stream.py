"""A gRPC stream on a connection of its own, which gives all messages that have arrived at once.

grpc.aio gives one message per several turns of the loop, since each is asked for and announced through another thread.
Behind a loop that is busy with requests, a watch would then fall behind however little its events cost.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

_STREAM = 1  # the only one
_WINDOW_BYTES = 1024 * 1024  # that the peer may send unasked
_AHEAD_BYTES = 1024 * 1024  # of messages that wait to be read; beyond, the peer has to wait: they are read in one turn
_PREFIX_BYTES = 5  # of each message: whether it is compressed, and its length
_QUIET_SECONDS, _ANSWER_SECONDS = 10.0, 5.0  # a silent peer is asked for a sign of life, and has so long for it
_CONNECT_SECONDS = 10.0


class StreamFailed(Exception):
    """The stream is over; the text says why."""


class Stream(asyncio.Protocol):
    """See the module's docstring. Made by `opened`."""

    def __init__(self) -> None:
        self._http = H2Connection(H2Configuration(header_encoding="utf-8", validate_inbound_headers=False))
        self._transport: asyncio.Transport | None = None
        self._partial = bytearray()
        self._messages: list[bytes] = []
        self._waiting_bytes = 0  # of the messages
        self._unacknowledged = 0  # bytes that the peer may not replace yet
        self._failure: str | None = None
        self._news = asyncio.Event()

    def begin(self, authority: str, path: str, metadata: Sequence[tuple[str, str]], message: bytes) -> None:
        """Sends the request: its first and only message."""
        settings = {SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES, SettingCodes.ENABLE_PUSH: 0}
        self._http.local_settings = Settings(client=True, initial_values=settings)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_WINDOW_BYTES)
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority),
            ("te", "trailers"), ("content-type", "application/grpc"), *metadata,
        ]  # fmt: skip
        self._http.send_headers(_STREAM, headers)
        self._http.send_data(_STREAM, b"\0" + len(message).to_bytes(4, "big") + message)
        self._send()

    async def read(self) -> list[bytes]:
        """The messages that have arrived since the last call, at least one. Raises StreamFailed."""
        while not self._messages:
            if self._failure is not None:
                raise StreamFailed(self._failure)
            await self._heard()
        messages, self._messages, self._waiting_bytes = self._messages, [], 0
        self._acknowledge()
        return messages

    def fail(self, reason: str) -> None:
        """Ends the stream, whoever reads it; what has arrived can still be read."""
        if self._failure is None:
            self._failure = reason
        self._news.set()
        if self._transport is not None:
            self._transport.abort()

    async def _heard(self) -> None:
        """Returns when anything has come from the peer, or the stream has failed."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUIET_SECONDS):
                await self._news.wait()
                return
        self._http.ping(b"watching")
        self._send()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._news.wait()
        except TimeoutError:
            self.fail(f"no sign of life within {_ANSWER_SECONDS:.0f} s")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._http.receive_data(data):
                self._take(event)
            self._acknowledge()
            self._send()
        except ProtocolError as error:
            self.fail(f"etcd doesn't keep to HTTP/2: {error}")
        self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(f"the connection was lost: {error or 'closed by the peer'}")

    def _take(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._unacknowledged += event.flow_controlled_length
            self._partial += event.data
            self._split()
        elif isinstance(event, ResponseReceived | TrailersReceived):
            headers: dict[str, str] = {str(name): str(value) for name, value in event.headers or ()}
            if (status := headers.get("grpc-status", "0")) != "0" or headers.get(":status", "200") != "200":
                self.fail(f"gRPC status {status} {headers.get('grpc-message', '')}".rstrip())
        elif isinstance(event, StreamEnded | StreamReset | ConnectionTerminated):
            self.fail("the stream ended")

    def _split(self) -> None:
        """Takes the messages that are complete."""
        start, size = 0, len(self._partial)
        while size - start >= _PREFIX_BYTES:
            end = start + _PREFIX_BYTES + int.from_bytes(self._partial[start + 1 : start + _PREFIX_BYTES], "big")
            if end > size:
                break
            self._messages.append(bytes(self._partial[start + _PREFIX_BYTES : end]))
            self._waiting_bytes += end - start
            start = end
        del self._partial[:start]

    def _acknowledge(self) -> None:
        """Lets the peer send more, unless too much waits already."""
        if self._unacknowledged and self._waiting_bytes < _AHEAD_BYTES and self._failure is None:
            self._http.acknowledge_received_data(self._unacknowledged, _STREAM)
            self._unacknowledged = 0
            self._send()

    def _send(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._http.data_to_send())


@contextlib.asynccontextmanager
async def opened(
    endpoint: str, path: str, metadata: Sequence[tuple[str, str]], message: bytes
) -> AsyncIterator[Stream]:
    """A stream of `host:port` that has been sent its request. Raises StreamFailed."""
    host, _, port = endpoint.rpartition(":")
    stream = Stream()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().create_connection(lambda: stream, host.strip("[]"), int(port))
    except (OSError, TimeoutError) as error:
        raise StreamFailed(f"cannot connect to {endpoint}: {error or 'no answer'}") from error
    try:
        stream.begin(endpoint, path, metadata, message)
        yield stream
    finally:
        stream.fail("closed")
