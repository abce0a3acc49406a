"""Large answers, sent piece by piece.

What is written to a connection at once is copied as often as there are layers (TLS, its buffers, the socket's), and a
client that doesn't read keeps all of it in memory. A piece is written when the one before it has left.

A piece is some tenths of a millisecond of this process. Were each written as soon as its client is ready, hundreds of
lists would come between any two small requests. So pieces have turns (fairness.py).
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

_PIECE_BYTES = 128 * 1024

Turn = Callable[[], Awaitable[None]]  # returns when a piece may be made and written


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
