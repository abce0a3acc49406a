"""A client that speaks HTTP/2, by another library than the server's: one connection, many requests."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from hypernetes.pki import ADMIN, PkiDirectory, client_context
from tests.integration.api.servers import User

_SECONDS = 20  # for anything that a test waits for


class Exchange:
    """One request and what has come of its answer."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.reset: int | None = None  # with which code

    @property
    def status(self) -> int:
        return int(self.headers.get(":status", 0))


class Client(asyncio.Protocol):
    """Give it to `create_connection`, or take `connected`. Takes what it is sent, unless told to `hold`."""

    def __init__(self) -> None:
        self.http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.exchanges: dict[int, Exchange] = {}
        self.goodbye: int | None = None  # with which code the server said it
        self.closed = False
        self.hold = False
        self._news = asyncio.Event()
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.http.initiate_connection()
        self.send()

    def data_received(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, ConnectionTerminated):
                self.goodbye = event.error_code
                continue
            exchange = self.exchanges.get(getattr(event, "stream_id", None) or 0)
            if exchange is None:
                continue
            if isinstance(event, ResponseReceived):
                exchange.headers = {str(name): str(value) for name, value in event.headers or ()}
            elif isinstance(event, DataReceived):
                exchange.body += event.data or b""
                if not self.hold:
                    self.http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            elif isinstance(event, StreamEnded):
                exchange.ended = True
            elif isinstance(event, StreamReset):
                exchange.reset = event.error_code
        self.send()
        self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._news.set()

    def ask(self, method: str, path: str, body: bytes | None = None, *, end: bool = True, **headers: str) -> Exchange:
        number = self.http.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", "x"), (":path", path)]
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.http.send_headers(number, fields, end_stream=body is None)
        if body is not None:
            self.http.send_data(number, body, end_stream=end)
        self.send()
        exchange = self.exchanges[number] = Exchange()
        return exchange

    def cancel(self, exchange: Exchange) -> None:
        number = next(number for number, each in self.exchanges.items() if each is exchange)
        self.http.reset_stream(number, ErrorCodes.CANCEL)
        self.send()

    def send(self) -> None:
        self._transport.write(self.http.data_to_send())

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(_SECONDS):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def answered(self, exchange: Exchange) -> Exchange:
        await self.until(lambda: exchange.ended or exchange.reset is not None or self.closed)
        return exchange

    def abort(self) -> None:
        self._transport.abort()


def administrators_context(directory: Path) -> ssl.SSLContext:
    """For the administrator of the server whose files are in `directory`."""
    pki = PkiDirectory(directory / "pki", "")
    context = client_context(pki.ca_certificate, pki.certificate(ADMIN), pki.key(ADMIN))
    context.set_alpn_protocols(["h2"])
    return context


@asynccontextmanager
async def connected(user: User, context: ssl.SSLContext) -> AsyncIterator[Client]:
    url = urlsplit(user.url)
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(Client, url.hostname, url.port, ssl=context)
    try:
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        yield client
    finally:
        client.abort()
