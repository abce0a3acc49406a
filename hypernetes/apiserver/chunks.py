"""The chunks of a stream, written to its connection by whoever has them, without a task being woken.

A thousand watchers of one event would otherwise be a thousand tasks switched to, each to write the same bytes. What is
written here keeps to HTTP's chunked form, so the response's own `write` can go on in between.
"""

from collections.abc import Callable, Sequence

from aiohttp import hdrs, web

from hypernetes.apiserver.http2.streams import Stream

_AHEAD_BYTES = 64 * 1024  # of encrypted copies that wait for a client; what is behind them is shared between watchers


class Chunks:
    """The answer to `request`, which has been prepared. `written` is told how many pieces were sent."""

    __slots__ = ("_protocol", "_transport", "_written")

    def __init__(self, request: web.BaseRequest, written: Callable[[int], None]) -> None:
        assert request.transport is not None
        self._protocol, self._transport, self._written = request.protocol, request.transport, written

    @property
    def ready(self) -> bool:
        """Whether the client takes what it is sent; its task waits until it does."""
        return not self._protocol.writing_paused and not self._transport.is_closing()

    def write(self, pieces: Sequence[bytes]) -> None:
        """Sends the pieces as one chunk: one TLS record after the other, one system call."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        self._written(len(pieces))


class Frames:
    """The same over HTTP/2, where one turn's writes to all streams of a client go out as one."""

    __slots__ = ("_stream", "_written")

    def __init__(self, stream: Stream, written: Callable[[int], None]) -> None:
        self._stream, self._written = stream, written

    @property
    def ready(self) -> bool:
        return not self._stream.writing_paused and not self._stream.closing

    def write(self, pieces: Sequence[bytes]) -> None:
        self._stream.send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._written(len(pieces))


def of(
    request: web.BaseRequest, response: web.StreamResponse, written: Callable[[int], None]
) -> Chunks | Frames | None:
    """None where the answer isn't chunked (HTTP/1.0), or nobody is there any more."""
    if request.transport is None or response.headers.get(hdrs.TRANSFER_ENCODING) != "chunked":
        return None
    stream: object = request.protocol
    if isinstance(stream, Stream):
        return Frames(stream, written)
    request.transport.set_write_buffer_limits(high=_AHEAD_BYTES)
    return Chunks(request, written)
