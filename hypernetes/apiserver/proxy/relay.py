"""A request carried to a server behind a socket, and its answer back, as it comes.

What is about one hop stays there: connection headers, and above all the client's credentials, which are for
hn-apiserver and not for whom it asks. The server is a stranger's: its head is bounded by the HTTP parser, its body is
never held, and no redirect of its is followed.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from hypernetes.api.status import StatusError
from hypernetes.apiserver.connections import Departures
from hypernetes.apiserver.proxy.connection import TLS, OneConnection
from hypernetes.apiserver.streaming import relay_messages

log = structlog.get_logger()

HEAD_SECONDS = 60.0  # a server that doesn't begin to answer
MAX_MESSAGE_BYTES = 1 << 20  # of a WebSocket
_PIECE_BYTES = 64 << 10
_ONE_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_CREDENTIALS = ("authorization", "impersonate-", "x-remote-")
_WEBSOCKET = "sec-websocket-"


@dataclass(frozen=True, slots=True)
class Manner:
    """What is different from a proxy subresource, which this is without more said."""

    tls: TLS | None = None  # None: whatever certificate the server shows
    added: Sequence[tuple[str, str]] = ()  # headers
    head_seconds: float = HEAD_SECONDS
    redirects: bool = True  # whether a redirect is passed on to the client


_PLAIN = Manner()


async def relay(
    request: web.BaseRequest, connection: socket.socket, target: URL, prefix: str, departures: Departures,
    manner: Manner = _PLAIN,
) -> web.StreamResponse:  # fmt: skip
    """`target` is what the server sees; `prefix` is the path of ours that its `/` is under. Takes the socket over.

    StatusError 503 where no answer comes.
    """
    connector = OneConnection(connection, manner.tls)
    session = aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )  # fmt: skip
    headers = _forwarded(request, target)
    headers.extend(manner.added)
    try:
        async with session, asyncio.timeout(None) as until_departure:
            now = asyncio.get_running_loop().time
            with departures.told(request, lambda: until_departure.reschedule(now())):
                if request.headers.get("Upgrade", "").lower() == "websocket":
                    return await _websocket(request, session, target, headers)
                return await _http(request, session, target, headers, prefix, manner)
    except TimeoutError:
        log.debug("the client of a proxied request went away")
        return web.Response()  # nobody gets it
    finally:
        connector.abandon()


async def _http(
    request: web.BaseRequest, session: aiohttp.ClientSession, target: URL, headers: CIMultiDict[str], prefix: str,
    manner: Manner,
) -> web.StreamResponse:  # fmt: skip
    body = request.content.iter_chunked(_PIECE_BYTES) if request.body_exists else None
    try:
        async with asyncio.timeout(manner.head_seconds):
            answer = await session.request(
                request.method, target, headers=headers, data=body, allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )  # fmt: skip
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unanswered(error) from error
    async with answer:
        if "Location" in answer.headers and 300 <= answer.status < 400 and not manner.redirects:
            raise StatusError("ServiceUnavailable", "error trying to reach service: it answers with a redirect")
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer.headers))
        if "Location" in answer.headers:
            response.headers["Location"] = relocated(answer.headers["Location"], target, prefix)
        if "Content-Length" not in answer.headers and request.method != "HEAD":
            response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                await response.write(piece)
            await response.write_eof()
        except (aiohttp.ClientError, OSError) as error:
            log.debug("a proxied answer broke off", error=str(error))
            if request.transport is not None:
                request.transport.abort()  # without its end, the client knows that it isn't whole
        return response


async def _websocket(
    request: web.BaseRequest, session: aiohttp.ClientSession, target: URL, headers: CIMultiDict[str]
) -> web.StreamResponse:
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if word.strip()]
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            far = await session.ws_connect(
                target, protocols=offered, headers=headers, max_msg_size=MAX_MESSAGE_BYTES, autoping=True, compress=0
            )
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unanswered(error) from error
    async with far:
        chosen = (far.protocol,) if far.protocol else ()
        near = web.WebSocketResponse(protocols=chosen, max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        await near.prepare(request)
        async with asyncio.TaskGroup() as group:
            group.create_task(relay_messages(near, far))
            group.create_task(relay_messages(far, near))
        return near


def _forwarded(request: web.BaseRequest, target: URL) -> CIMultiDict[str]:
    """The client's headers for the server: without its credentials and what is about its own connection."""
    headers = _kept(request.headers, _CREDENTIALS)
    for name in [name for name in headers if name.lower().startswith(_WEBSOCKET)]:
        headers.popall(name)
    headers["X-Forwarded-Uri"] = request.rel_url.raw_path
    headers["X-Forwarded-Host"] = request.headers.get("Host", "")
    headers["X-Forwarded-Proto"] = "https"
    headers.setdefault("Host", target.host or "")
    return headers


def _kept(headers: Any, refused: tuple[str, ...] = ()) -> CIMultiDict[str]:
    """What isn't about one connection, by the standard's list or by the sender's own `Connection` header."""
    own = {word.strip().lower() for value in headers.getall("Connection", ()) for word in value.split(",")}
    dropped = _ONE_HOP | own
    return CIMultiDict(
        (name, value)
        for name, value in _pairs(headers)
        if name.lower() not in dropped and not name.lower().startswith(refused)
    )


def _pairs(headers: Any) -> Iterable[tuple[str, str]]:
    pairs: Iterable[tuple[str, str]] = headers.items()
    return pairs


def relocated(location: str, target: URL, prefix: str) -> str:
    """A redirect to somewhere on the same server leads below `prefix` again; any other is left as it is."""
    parts = urlsplit(location)
    if parts.netloc and parts.netloc not in (target.authority, target.host):
        return location
    if not parts.netloc and not parts.path.startswith("/"):
        return location
    tail = "".join((f"?{parts.query}" if parts.query else "", f"#{parts.fragment}" if parts.fragment else ""))
    return f"{prefix}{parts.path or '/'}{tail}"


def unanswered(error: Exception) -> StatusError:
    """The text names what went wrong, and no address of the node's."""
    kind = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return StatusError("ServiceUnavailable", f"error trying to reach service: {kind}")
