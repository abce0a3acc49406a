"""The host's end of the guest link: one connection to one hn-init.

Requests and their answers, streams, output and exits, DNS questions and connections to the API. Whatever the guest
does, what is buffered here is bounded: streams and output by their windows, questions and connections by a count, log
lines by a count per connection. A guest that breaks the protocol loses its link.
"""

import asyncio
import os
from pathlib import Path
from typing import Protocol, cast

import structlog

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.frames import (
    EPOCH_SIZE,
    FRAME_MAX,
    Fields,
    Frame,
    FrameParser,
    ProtocolError,
    encode,
    greeting,
    seed_of,
)
from hypernetes.nodeagent.runtime.protocol import (
    FLAG_MORE,
    GUEST_STREAM,
    PROTOCOL_VERSION,
    QUESTION_UDP,
    SPOOL_WINDOW,
    STREAM_WINDOW,
    FrameType,
    Tag,
)
from hypernetes.nodeagent.runtime.streams import LinkStream, ProcessStream

log = structlog.get_logger(__name__)

REQUEST_SECONDS = 30.0
GUEST_STREAMS_MAX = 128
LOG_LINES_MAX = 2000  # per connection
# Frames overshoot the windows by heads and by the one that was cut smaller.
EVENT_BYTES_MAX = 2 * SPOOL_WINDOW


class LinkHandler(Protocol):
    """Who the link tells of what the guest does on its own. Called from the event loop; must not block."""

    def on_event(self, frame: Frame) -> None:
        """OUTPUT or EXITED. Raises ProtocolError."""

    def on_question(self, id_: int, question: bytes, *, udp: bool) -> None: ...

    def on_connection(self, stream: LinkStream) -> None: ...

    def on_lost(self, error: MachineError) -> None: ...


class GuestLink(asyncio.Protocol):
    """A connection; never used again once lost. `connect` makes one."""

    def __init__(self, name: str, handler: LinkHandler) -> None:
        self.name = name
        self._handler = handler
        epoch = os.urandom(EPOCH_SIZE)
        self._greeting = greeting(epoch)
        self._seed = seed_of(epoch)
        self._parser = FrameParser(epoch)
        self._transport: asyncio.Transport | None = None
        self._hello: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[Fields]] = {}
        self._streams: dict[int, LinkStream] = {}
        self._next_id = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._error: MachineError | None = None
        self._log_lines = 0

    @classmethod
    async def connect(cls, path: Path, name: str, handler: LinkHandler, seconds: float) -> tuple["GuestLink", Fields]:
        """Connects and waits for hn-init's hello, of which it returns the fields. Raises MachineError."""
        loop = asyncio.get_running_loop()
        link = cls(name, handler)
        try:
            async with asyncio.timeout(seconds):
                await loop.create_unix_connection(lambda: link, str(path))
                hello = await asyncio.shield(link._hello)
            version = hello.number(Tag.VERSION)
        except (OSError, TimeoutError) as error:
            link.close()
            why = "gave no sign of life within its deadline" if isinstance(error, TimeoutError) else str(error)
            raise MachineError("LinkLost", f"the machine's guest {why}") from error
        except BaseException:
            link.close()
            raise
        if version != PROTOCOL_VERSION:
            link.close()
            raise MachineError("LinkLost", "the machine's guest speaks another version of the guest link")
        return link, hello

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._receive(frame)
        except ProtocolError as error:
            log.warning("the guest broke the protocol", machine=self.name, error=str(error))
            self._lose(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(MachineError("LinkLost", "the connection to the machine's guest is lost"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Sender

    def send(self, type_: FrameType, id_: int, payload: bytes = b"", flags: int = 0) -> None:
        if self._transport is not None and self._error is None:
            self._transport.write(encode(self._seed, Frame(type_, flags, id_, payload)))

    async def drained(self) -> None:
        await self._writable.wait()

    def forget_stream(self, id_: int) -> None:
        self._streams.pop(id_, None)

    # For the machine

    async def request(self, type_: FrameType, payload: bytes, *, seconds: float = REQUEST_SECONDS) -> Fields:
        """Asks the guest and returns its answer. Raises MachineError: the guest's reason, `LinkLost`, or
        `GuestMisbehaved` after which the link is lost."""
        await self.drained()
        if self._error is not None:
            raise self._error
        id_ = self._new_id()
        answer: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        self._answers[id_] = answer
        try:
            # In one go: the guest joins the frames of one request at a time.
            for at in range(0, len(payload) or 1, FRAME_MAX):
                more = FLAG_MORE if at + FRAME_MAX < len(payload) else 0
                self.send(type_, id_, payload[at : at + FRAME_MAX], more)
            async with asyncio.timeout(seconds):
                fields = await answer
        except TimeoutError as error:
            raise MachineError("GuestTimeout", f"the guest did not answer {type_.name} in {seconds:.0f} s") from error
        finally:
            self._answers.pop(id_, None)
        try:
            reason, message = fields.text(Tag.REASON), fields.text(Tag.MESSAGE)
        except ProtocolError as error:
            self._lose(error)
            raise
        if reason:
            raise MachineError(reason, message)
        return fields

    def open_stream(self) -> LinkStream:
        stream = LinkStream(self, self._new_id())
        self._streams[stream.id] = stream
        return stream

    def open_process(self) -> ProcessStream:
        stream = ProcessStream(self, self._new_id())
        self._streams[stream.id] = stream
        return stream

    def acknowledge(self, sequence: int) -> None:
        self.send(FrameType.ACK, 0, sequence.to_bytes(8, "little"))

    def answer_question(self, id_: int, answer: bytes) -> None:
        if len(answer) <= FRAME_MAX:
            self.send(FrameType.ANSWER, id_, answer)

    def accept(self, stream: LinkStream) -> None:
        """Lets a connection of the guest's begin: it may now send."""
        self.send(FrameType.CREDIT, stream.id, STREAM_WINDOW.to_bytes(4, "little"))

    def close(self) -> None:
        self._lose(MachineError("LinkLost", "the link was closed"), tell=False)

    # What arrives

    def _receive(self, frame: Frame) -> None:
        if not self._hello.done():
            if frame.type != FrameType.HELLO:
                raise ProtocolError("no hello")
            self._hello.set_result(Fields(frame.payload))
            return
        match frame.type:
            case FrameType.RESULT:
                answer = self._answers.get(frame.id)
                if answer is not None and not answer.done():
                    answer.set_result(Fields(frame.payload))
            case FrameType.OUTPUT | FrameType.EXITED:
                self._handler.on_event(frame)
            case FrameType.DATA | FrameType.EOF | FrameType.CREDIT | FrameType.RESET | FrameType.ENDED:
                stream = self._streams.get(frame.id)
                if stream is not None:  # else it was given up here while the frame was on its way
                    stream.take(frame)
            case FrameType.QUESTION:
                self._handler.on_question(frame.id, frame.payload, udp=bool(frame.flags & QUESTION_UDP))
            case FrameType.CONNECT:
                self._accept_connection(frame.id)
            case FrameType.LOG:
                self._log_line(frame.payload)
            case _:
                raise ProtocolError(f"a frame of type {frame.type}")

    def _accept_connection(self, id_: int) -> None:
        if not id_ & GUEST_STREAM or id_ in self._streams:
            raise ProtocolError("a connection under a strange id")
        if sum(1 for known in self._streams if known & GUEST_STREAM) >= GUEST_STREAMS_MAX:
            self.send(FrameType.RESET, id_)
            return
        stream = LinkStream(self, id_)
        self._streams[id_] = stream
        self._handler.on_connection(stream)

    def _log_line(self, payload: bytes) -> None:
        self._log_lines += 1
        if self._log_lines <= LOG_LINES_MAX:
            # What the programs of the service namespace say is routine; where they fail, the request's answer tells.
            tell = log.debug if payload.startswith(b"services: ") else log.info
            tell("guest", machine=self.name, line=payload[:512].decode(errors="backslashreplace"))

    def _new_id(self) -> int:
        self._next_id = self._next_id % (GUEST_STREAM - 1) + 1
        return self._next_id

    def _lose(self, error: MachineError, *, tell: bool = True) -> None:
        if self._error is not None:
            return
        self._error = error
        if self._transport is not None:
            self._transport.abort()
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # seen: nobody may wait for it any more
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for stream in list(self._streams.values()):
            stream.fail(error)
        self._writable.set()
        if tell:
            self._handler.on_lost(error)
