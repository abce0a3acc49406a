"""Connections from hn-apiserver to the agents of nodes: TLS both ways.

An agent's certificate must name its node (a DNS name of the certificate), wherever it is reached; it answers only the
certificate of the role apiserver-kubelet-client. Errors that tenants see name the node, never its address.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
import structlog
from yarl import URL

from hypernetes.api.status import StatusError

# Of an answer that comes faster than it is passed on: fewer and larger pieces cost less.
BUFFER_BYTES = 512 * 1024
CONNECT_SECONDS = 10.0
HEARTBEAT_SECONDS = 30.0  # a WebSocket whose other end is gone ends after this, with nothing sent meanwhile
CLOSE_SECONDS = 5.0
MAX_MESSAGE_BYTES = 1 << 20  # of one WebSocket message; kubectl sends at most 32 KiB
MAX_ERROR_BYTES = 64 << 10  # of an agent's answer that is read to learn why it refused
MAX_CONNECTIONS = 4096  # to all agents together
# A node that lost its power says nothing: a followed log ends after these seconds of silence on the wire.
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES = 15, 5, 3
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")

Query = list[tuple[str, str]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Agent:
    """Where a node's agent listens."""

    node: str
    host: str
    port: int

    @classmethod
    def of(cls, node: dict[str, Any] | None, name: str) -> "Agent":
        """From a Node object, None where there is none of that name. StatusError 503 while the node says no address."""
        status = (node or {}).get("status") or {}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 0
        addresses = {entry["type"]: entry["address"] for entry in reversed(status.get("addresses") or ())}
        host = next((addresses[kind] for kind in _ADDRESS_TYPES if kind in addresses), "")
        if not host or not port:
            raise _unreachable(name)
        return cls(name, host, port)

    def url(self, parts: Iterable[str], query: Query) -> URL:
        path = "".join(f"/{quote(part, safe='')}" for part in parts)
        return URL.build(scheme="https", host=self.host, port=self.port, path=path, encoded=True).with_query(query)


class Dialer:
    """One pool of connections to all agents. Use as an async context manager."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS, ssl=self._context, force_close=True, socket_factory=_kept_alive
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            raise_for_status=_raise_refusal,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def get(
        self, agent: Agent, parts: Iterable[str], query: Query, *, silence_seconds: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose body is read as it comes. `silence_seconds` ends it when nothing comes for so long; None: never.

        StatusError: the agent's own, or 503 where it can't be reached.
        """
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        url = agent.url(parts, query)
        try:
            async with asyncio.timeout(CONNECT_SECONDS + (silence_seconds or CONNECT_SECONDS)):
                response = await self._session.get(
                    url, timeout=timeout, server_hostname=agent.node, allow_redirects=False, read_bufsize=BUFFER_BYTES
                )
        except _Refused as refused:
            raise _refusal(agent, refused) from refused
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(agent, error) from error
        async with response:
            yield response

    async def websocket(
        self, agent: Agent, parts: Iterable[str], query: Query, protocol: str
    ) -> aiohttp.ClientWebSocketResponse:
        """An open WebSocket of this subprotocol; the caller closes it. StatusError as for `get`."""
        assert self._session is not None
        url = agent.url(parts, query)
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                socket = await self._session.ws_connect(
                    url, protocols=(protocol,), server_hostname=agent.node, heartbeat=HEARTBEAT_SECONDS,
                    max_msg_size=MAX_MESSAGE_BYTES, compress=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )  # fmt: skip
        except _Refused as refused:
            raise _refusal(agent, refused) from refused
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(agent, error) from error
        if socket.protocol != protocol:
            await socket.close()
            raise StatusError("InternalError", f'the agent of node "{agent.node}" doesn\'t speak {protocol}')
        return socket


def _kept_alive(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    return made


class _Refused(Exception):
    """An agent answered with something else than what was asked for."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


async def _raise_refusal(response: aiohttp.ClientResponse) -> None:
    """Called by the session for every answer; here the body of a failed WebSocket handshake can still be read."""
    if response.status in (101, 200):
        return
    body = b""
    async with asyncio.timeout(CONNECT_SECONDS):
        async for chunk in response.content.iter_chunked(MAX_ERROR_BYTES):
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                break
    response.close()
    raise _Refused(response.status, body)


def _refusal(agent: Agent, refused: _Refused) -> StatusError:
    """The Status that an agent answered with; another body is not shown."""
    try:
        status = orjson.loads(refused.body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status" and 400 <= refused.status < 600:
        return StatusError.from_dict(status, refused.status)
    log.warning("an agent refused a request", node=agent.node, status=refused.status, body=refused.body[:200])
    return StatusError("InternalError", f'the agent of node "{agent.node}" refused the request ({refused.status})')


def _failed(agent: Agent, error: Exception) -> StatusError:
    log.warning("an agent can't be reached", node=agent.node, host=agent.host, port=agent.port, error=str(error))
    return _unreachable(agent.node)


def _unreachable(node: str) -> StatusError:
    return StatusError("ServiceUnavailable", f'the agent of node "{node}" can\'t be reached; try again later')
