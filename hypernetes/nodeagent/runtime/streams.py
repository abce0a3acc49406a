"""Flow-controlled streams over the guest link: what exec, attach and forwards are made of.

Each side sends at most STREAM_WINDOW bytes more than the other said by CREDIT to have consumed, so what is buffered
here is bounded whatever the guest does.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.frames import FRAME_MAX, Fields, Frame, MessageBuilder, ProtocolError
from hypernetes.nodeagent.runtime.protocol import STREAM_WINDOW, FrameType, Tag

STDOUT, STDERR = 1, 2
PIECES_MAX = 1024  # received and not read yet, of a stream


class Sender(Protocol):
    """The link's half that a stream writes to."""

    def send(self, type_: FrameType, id_: int, payload: bytes = b"", flags: int = 0) -> None: ...

    async def drained(self) -> None: ...

    def forget_stream(self, id_: int) -> None: ...


class Requester(Protocol):
    async def request(self, type_: FrameType, payload: bytes, *, seconds: float = 30.0) -> Fields: ...


class LinkStream:
    """One stream; a ByteStream of its first channel. Raises MachineError (`LinkLost`, `StreamReset`)."""

    has_process = False

    def __init__(self, sender: Sender, id_: int, credit: int = STREAM_WINDOW) -> None:
        self.id = id_
        self._sender = sender
        self._received: deque[tuple[int, bytearray]] = deque()
        self._unconsumed = 0
        self._credit = credit
        self._ended: set[int] = set()
        self._write_closed = False
        self._over = False
        self._error: MachineError | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._ending = asyncio.Event()
        self.exit_code: int | None = None

    def take(self, frame: Frame) -> None:
        """What the guest sent on this stream. Raises ProtocolError."""
        if frame.type == FrameType.DATA:
            self._unconsumed += len(frame.payload)
            if self._unconsumed > STREAM_WINDOW or frame.flags not in (STDOUT, STDERR) or frame.flags in self._ended:
                raise ProtocolError("stream data beyond what was allowed")
            if not frame.payload:
                raise ProtocolError("stream data without data")
            self._keep(frame.flags, frame.payload)
        elif frame.type == FrameType.EOF:
            self._ended.add(frame.flags)
        elif frame.type == FrameType.CREDIT:
            self._credit = min(STREAM_WINDOW, self._credit + int.from_bytes(frame.payload[:4], "little"))
            self._writable.set()
        elif frame.type == FrameType.ENDED:
            self.exit_code = int.from_bytes(frame.payload[:4], "little", signed=True)
            self._finish()
        elif frame.type == FrameType.RESET:
            self.fail(MachineError("StreamReset", "the guest closed the stream"))
        self._readable.set()

    def fail(self, error: MachineError) -> None:
        if not self._over:
            self._error = error
            self._finish()

    def _keep(self, channel: int, data: bytes) -> None:
        """Joins small pieces: the window bounds bytes, and a piece of one byte takes a hundred. A guest that sends
        turn by turn on both channels loses the order between them, which two pipes don't promise either."""
        crowded = len(self._received) >= PIECES_MAX
        for known, piece in reversed(self._received):
            if known == channel and (crowded or len(piece) + len(data) <= FRAME_MAX):
                piece += data
                return
            if not crowded:
                break
        self._received.append((channel, bytearray(data)))

    def _finish(self) -> None:
        self._over = True
        self._sender.forget_stream(self.id)
        self._readable.set()
        self._writable.set()
        self._ending.set()

    async def next_piece(self) -> tuple[int, bytes] | None:
        """The next (channel, data); None when there will be no more."""
        while not self._received:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            if STDOUT in self._ended and self.exit_code is None and not self.has_process:
                return None
            self._readable.clear()
            await self._readable.wait()
        channel, data = self._received.popleft()
        self._unconsumed -= len(data)
        if not self._over:
            self._sender.send(FrameType.CREDIT, self.id, len(data).to_bytes(4, "little"))
        return channel, bytes(data)

    async def exit(self) -> int:
        """The exit code of the process behind it."""
        while not self._over:
            self._ending.clear()
            await self._ending.wait()
        if self.exit_code is None:
            raise self._error or MachineError("StreamReset", "the process was given up")
        return self.exit_code

    async def read(self) -> bytes:
        piece = await self.next_piece()
        return b"" if piece is None else piece[1]

    async def write(self, data: bytes) -> None:
        """Returns when all of it was handed to the link. A stream that is over raises MachineError."""
        view = memoryview(data)
        while view:
            if self._over or self._write_closed:
                raise self._error or MachineError("StreamClosed", "the stream is closed")
            room = min(self._credit, len(view), FRAME_MAX)
            if room == 0:
                self._writable.clear()
                await self._writable.wait()
                continue
            self._credit -= room
            self._sender.send(FrameType.DATA, self.id, bytes(view[:room]))
            view = view[room:]
            await self._sender.drained()

    async def close_write(self) -> None:
        if not self._write_closed and not self._over:
            self._write_closed = True
            self._sender.send(FrameType.EOF, self.id)

    def refuse(self) -> None:
        """Ends it at once, both ways."""
        if not self._over:
            self._sender.send(FrameType.RESET, self.id)
            self._finish()

    async def close(self) -> None:
        if self._over:
            return
        if STDOUT in self._ended and not self.has_process:
            await self.close_write()
        else:
            self._sender.send(FrameType.RESET, self.id)
        self._finish()


class ProcessStream(LinkStream):
    """A stream that ends with its process, not with its channels."""

    has_process = True


class LinkProcess:
    """A command in a container. `failure` is why it could not be started."""

    def __init__(self, link: Requester, stream: ProcessStream, failure: MachineError | None = None) -> None:
        self.stdin = stream
        self._link = link
        self._stream = stream
        self._failure = failure

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        if self._failure is not None:
            return
        while (piece := await self._stream.next_piece()) is not None:
            yield ("stdout" if piece[0] == STDOUT else "stderr", piece[1])

    async def wait(self) -> int:
        if self._failure is not None:
            raise self._failure
        return await self._stream.exit()

    async def resize(self, columns: int, rows: int) -> None:
        if self._failure is None:
            message = MessageBuilder().number(Tag.STREAM, self._stream.id)
            await self._link.request(
                FrameType.RESIZE, message.number(Tag.COLUMNS, columns).number(Tag.ROWS, rows).build()
            )

    async def signal(self, number: int) -> None:
        if self._failure is None:
            message = MessageBuilder().number(Tag.STREAM, self._stream.id)
            await self._link.request(FrameType.SIGNAL, message.number(Tag.SIGNAL, number).build())
