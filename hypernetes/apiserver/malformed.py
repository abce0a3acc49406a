"""Answers below HTTP's semantics: to messages that are no HTTP, and to connections beyond what is possible.

A malformed message is its sender's mistake: answered with 400, and no traceback in our log. Its connection is closed,
since nobody knows where the next message would begin.
"""

import logging
from collections.abc import Awaitable, Callable

import orjson
import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from hypernetes.api.status import StatusError
from hypernetes.apiserver.http2.requests import TooLong

log = structlog.get_logger()

LOGGER = logging.getLogger("hypernetes.apiserver.http")  # for `aiohttp.web.Server`


def answer(error: BaseException | None) -> web.Response:
    """The Status for a message that the HTTP library could not read."""
    log.debug("malformed request", error=type(error).__name__)
    why = "its first line or a header is too long" if isinstance(error, LineTooLong | TooLong) else "it is not HTTP"
    status = StatusError("BadRequest", f"the server could not read the request: {why}").to_dict()
    response = web.Response(status=400, body=orjson.dumps(status), headers={"Content-Type": "application/json"})
    response.force_close()
    return response


def answering(error: BaseException) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    """A handler that says so."""

    async def handler(_: web.BaseRequest) -> web.Response:
        return answer(error)

    return handler


def _raw(error: StatusError, line: bytes) -> bytes:
    body = orjson.dumps(error.to_dict())
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d"
    return head % (line, len(body)) + b"\r\n\r\n" + body


TOO_MANY_CONNECTIONS = _raw(
    StatusError(
        "TooManyRequests", "too many connections are open, please try again later", details={"retryAfterSeconds": 1}
    ),
    b"429 Too Many Requests",
)
