"""One request and its answer, as aiohttp's request and responses see them: a protocol, a transport, a writer.

handler ─► StreamResponse ─► Writer ─► Stream ─┬─► frames, as far as the client's windows go
                                               └─► a queue behind them, which `drain` waits for
"""

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

if TYPE_CHECKING:
    from hypernetes.apiserver.http2.connection import Connection

Headers = list[tuple[bytes, bytes]]
Data = bytes | bytearray | memoryview

# of one connection, so no concern of a stream (RFC 9113 §8.2.2)
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Stream:
    """Takes the place of a request's protocol and of its transport, with as much of them as handlers use."""

    __slots__ = (
        "_connection", "_news", "_reading_paused", "_unread", "closing", "content", "ended", "ends", "finishing_since",
        "id", "queue", "task",
    )  # fmt: skip

    def __init__(self, connection: "Connection", number: int) -> None:
        self._connection, self.id = connection, number
        self.content: StreamReader | None = None  # the body of the request, where it has one
        self.queue: deque[Data] | None = None  # of the answer, what the client's windows have no room for
        self.ends = False  # nothing comes behind the queue
        self.ended = False  # all of the answer has been sent
        self.closing = False  # nobody is there to be answered
        self.finishing_since = 0.0  # when its handler returned
        self.task: asyncio.Task[None] | None = None  # of its handler
        self._news: asyncio.Future[None] | None = None  # what a full queue waits for
        self._reading_paused = False
        self._unread = 0  # bytes of the body that the client may not replace yet

    # what aiohttp's request takes for its protocol

    @property
    def transport(self) -> "Stream | None":
        return None if self.closing else self

    @property
    def connected(self) -> bool:
        return not self.closing

    @property
    def ssl_context(self) -> Any:
        return self._connection.addresses[0]

    @property
    def peername(self) -> Any:
        return self._connection.addresses[1]

    @property
    def sockname(self) -> Any:
        return self._connection.addresses[2]

    @property
    def writing_paused(self) -> bool:
        return self.queue is not None or self._connection.output.paused

    def pause_reading(self) -> None:
        """The body waits to be read: no more of it is asked for."""
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        if not resume_parser:
            return  # the body has ended, which doesn't say that it has been read
        self._reading_paused = False
        if self._unread:
            unread, self._unread = self._unread, 0
            self._connection.acknowledge(self, unread)

    # what handlers take for its transport

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._connection.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The connection's hold for all of its streams."""

    def abort(self) -> None:
        """Tells the client that no more comes of an answer that isn't whole."""
        self._connection.break_off(self)

    # the body of the request

    def receive(self, data: bytes, window: int) -> None:
        """`window` bytes of the client's were spent on the data, padding included."""
        self._unread += window
        if self.content is not None and data:
            self.content.feed_data(data)
        if not self._reading_paused:
            self.resume_reading()

    # the answer

    def begin(self, headers: Headers, *, end: bool = False) -> None:
        """Raises ConnectionResetError."""
        self._check()
        self._connection.output.send_headers(self, headers, end)

    def send(self, data: Data, *, end: bool = False) -> None:
        """Sends, or queues, and doesn't wait. Raises ConnectionResetError."""
        self._check()
        self._connection.output.send_data(self, data, end)

    async def drain(self) -> None:
        """Returns when the client takes more. Raises ConnectionResetError."""
        self._connection.output.flush_soon()
        while self.writing_paused and not self.closing:
            self._news = asyncio.get_running_loop().create_future()
            self._connection.output.waiting.add(self)
            try:
                await self._news
            finally:
                self._connection.output.waiting.discard(self)
                self._news = None
        self._check()

    def wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def lose(self) -> None:
        """Nobody is there any more."""
        self.closing, self.queue = True, None
        if self.content is not None and not self.content.is_eof():
            self.content.set_exception(ConnectionResetError("the client went away"))
        self.wake()

    def _check(self) -> None:
        if self.closing:
            raise ConnectionResetError("the client went away")


class Writer(AbstractStreamWriter):
    """What a response writes to. Chunks are HTTP/1.1's, here they are frames."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._head: Headers | None = None  # which go with the first piece of the body
        self._eof = False

    def enable_chunking(self) -> None:
        pass

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        raise NotImplementedError("answers are compressed before they are written")

    async def write_headers(self, status_line: str, headers: "CIMultiDict[str]") -> None:
        head = [(b":status", status_line.split(" ", 2)[1].encode())]
        for name, value in headers.items():
            name = name.lower()
            if name in _HOP_BY_HOP:
                continue
            if _FORBIDDEN.search(value) or _FORBIDDEN.search(name):
                raise ValueError(f"a header can't have control characters: {name}")
            head.append((name.encode(), value.encode()))
        self._head = head

    def send_headers(self) -> None:
        self._send_headers(end=False)

    async def write(self, chunk: Data) -> None:
        self.send_headers()
        if len(chunk):
            self.output_size += len(chunk)
            self._stream.send(chunk)
        await self._stream.drain()

    async def write_eof(self, chunk: bytes = b"") -> None:
        if self._eof:
            return
        self._eof = True
        if chunk:
            self.send_headers()
            self.output_size += len(chunk)
            self._stream.send(chunk, end=True)
        elif self._head is not None:
            self._send_headers(end=True)
        else:
            self._stream.send(b"", end=True)
        await self._stream.drain()

    async def drain(self) -> None:
        await self._stream.drain()

    def _send_headers(self, *, end: bool) -> None:
        head, self._head = self._head, None
        if head is not None:
            self.output_size += sum(len(name) + len(value) for name, value in head)
            self._stream.begin(head, end=end)
