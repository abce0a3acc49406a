"""HTTP to one API server: connections, deadlines, retries and errors. Knows bytes and status codes, no kinds."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from hypernetes.api.status import StatusError
from hypernetes.client import retries
from hypernetes.client.credentials import ClientConfig, Credentials
from hypernetes.client.errors import Garbled, Interrupted, TransportError, Unreachable

_MAX_CONNECTIONS = 64  # for requests; watches have connections of their own, one per informer
_CONNECT_TIMEOUT = 10.0  # seconds
_MAX_LINE = 16 * 2**20  # bytes of one watch event; objects are far below (1.5 MiB in etcd)
# A peer that vanished without a word is noticed after KEEPIDLE + KEEPCNT * KEEPINTVL = 30 s (Linux).
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    content_type: str


class Transport:
    """One per process and server. An async context manager; connections live until it is left."""

    def __init__(self, config: ClientConfig) -> None:
        self._credentials = Credentials(config)
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    @property
    def config(self) -> ClientConfig:
        return self._credentials.current()[0]

    async def __aenter__(self) -> Self:
        self._requests = _session(_MAX_CONNECTIONS)
        self._streams = _session(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()

    async def send(
        self, method: str, path: str, *, params: Params | None = None, body: bytes | None = None,
        content_type: str = "application/json", accept: str = "application/json", timeout: float | None = None,
        limit: int | None = None,
    ) -> Answer:  # fmt: skip
        """The answer to one request. Raises StatusError for a refusal, TransportError where there was no answer.

        `timeout` (seconds, the configuration's by default) covers all attempts; a body of more than `limit` bytes is
        none.
        """
        allowed = self.config.timeout if timeout is None else timeout
        headers = {"Accept": accept, **({"Content-Type": content_type} if body is not None else {})}
        last: StatusError | TransportError | None = None
        try:
            async with asyncio.timeout(allowed):
                for attempt in range(retries.MAX_ATTEMPTS):
                    try:
                        return await self._attempt(method, path, params, body, headers, limit)
                    except (StatusError, TransportError) as error:
                        last = error
                        delay = retries.next_delay(method, attempt, error)
                        if delay is None:
                            raise
                        await asyncio.sleep(delay)
        except TimeoutError:
            if isinstance(last, (StatusError, Unreachable)):
                raise last from None
            raise Interrupted(f"{method} {self._describe(path)}: no answer within {allowed:g} s") from None
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, method: str, path: str, params: Params | None, body: bytes | None, headers: dict[str, str],
        limit: int | None,
    ) -> Answer:  # fmt: skip
        try:
            return await self._once(method, path, params, body, headers, limit)
        except StatusError as error:
            # The certificate or token was renewed since: the server refused the old one, and did nothing.
            if error.code == 401 and self._credentials.refresh():
                return await self._once(method, path, params, body, headers, limit)
            raise

    async def _once(
        self, method: str, path: str, params: Params | None, body: bytes | None, headers: dict[str, str],
        limit: int | None,
    ) -> Answer:  # fmt: skip
        try:
            async with self._open(self._requests, method, path, params, body, headers) as response:
                content = await response.read() if limit is None else await _read(response, limit)
                if content is None:
                    raise Garbled(f"{method} {self._describe(path)}: an answer of more than {limit} bytes")
                if response.status >= 400:
                    raise _status_error(response.status, response.headers, content)
                return Answer(content, response.content_type)
        except aiohttp.ClientError as error:
            raise self._translated(error, method, path) from error

    async def stream_lines(
        self, path: str, *, params: Params | None = None, silence: float, accept: str = "application/json"
    ) -> AsyncIterator[bytes]:
        """The lines of an answer as they come. Ends when the server ends it; `silence` (seconds) without a byte is
        an interruption. Not retried: only the reader knows where to resume."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=silence)
        headers = {"Accept": accept}
        try:
            async with self._open(self._streams, "GET", path, params, None, headers, timeout) as response:
                if response.status >= 400:
                    raise _status_error(response.status, response.headers, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
                    if len(rest) > _MAX_LINE:
                        raise Interrupted(f"GET {self._describe(path)}: a line of more than {_MAX_LINE} bytes")
                if rest:
                    raise Interrupted(f"GET {self._describe(path)}: the stream ended within a line")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._translated(error, "GET", path) from error

    def _open(
        self, session: aiohttp.ClientSession | None, method: str, path: str, params: Params | None,
        body: bytes | None, headers: dict[str, str], timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.client._RequestContextManager:  # fmt: skip
        if session is None:
            raise RuntimeError("the client is used outside of `async with`")
        config, context = self._credentials.current()
        headers = {**headers, "User-Agent": config.user_agent}
        if config.token is not None:
            headers["Authorization"] = f"Bearer {config.token}"
        return session.request(
            method,
            # encoded=True: names are DNS labels or were quoted by the caller; yarl would decode what was quoted.
            URL(config.server + path, encoded=True),
            params=params,
            data=body,
            headers=headers,
            ssl=True if context is None else context,
            timeout=timeout or aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            allow_redirects=False,
        )

    def _translated(self, error: Exception, method: str, path: str) -> TransportError:
        server = self.config.server
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Unreachable(f"{server} has a certificate we don't trust: {error.certificate_error}")
        if isinstance(error, aiohttp.ClientConnectorError):
            code = error.os_error.errno
            # asyncio's own text says only that "Connect call failed".
            return Unreachable(f"cannot connect to {server}: {os.strerror(code) if code else error.os_error}")
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Unreachable(f"cannot connect to {server}: no answer within {_CONNECT_TIMEOUT:g} s")
        return Interrupted(f"{method} {self._describe(path)}: {error or type(error).__name__}")

    def _describe(self, path: str) -> str:
        return f"{self.config.server}{path}"


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """None for more than `limit` bytes."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def _session(limit: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=limit, socket_factory=_socket)
    # auto_decompress stays on; cookies would only tie us to one replica of the server.
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _socket(address: Any) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _status_error(code: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The Status in the body; where a proxy answered with something else, its code and the start of its text."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"message": f"HTTP {code}: {body[:200].decode(errors='replace').strip() or 'no message'}"}
    error = StatusError.from_dict(status, code)
    after = headers.get("Retry-After", "")
    if after.isdecimal():
        error.details.setdefault("retryAfterSeconds", int(after))
    return error
