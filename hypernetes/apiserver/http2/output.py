"""What goes back to a client: the frames of all its streams in few writes, and a queue where windows are full."""

import asyncio
from collections import deque

from jh2.errors import ErrorCodes
from jh2.hyperframe.frame import GoAwayFrame

from hypernetes.apiserver.http2.allowances import Allowance
from hypernetes.apiserver.http2.states import States
from hypernetes.apiserver.http2.streams import Data, Headers, Stream

_FRAME_BYTES = 32 * 1024  # of a stream before another has its turn
_PENDING_BYTES = 64 * 1024  # that wait for the end of the turn
_BYTES_EARN_ONE = 512  # frame that brings nothing: windows are opened for what was sent


class Output:
    """Of one connection, which says when its transport comes, is full, has room, or goes."""

    def __init__(self, http: States, empty: Allowance) -> None:
        self._http, self._empty = http, empty
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.paused = False  # the transport is full
        self.waiting: set[Stream] = set()  # for room
        self.queued = 0  # bytes in queues
        self._blocked: dict[Stream, None] = {}  # with a queue, in the order of their turns
        self._written: list[Data] = []  # frames that go before those which the library holds
        self._pending = 0  # bytes of bodies in both
        self._flushing: asyncio.Handle | None = None

    @property
    def open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def send_headers(self, stream: Stream, headers: Headers, end: bool) -> None:
        self._http.send_headers(stream.id, headers, end_stream=end)
        stream.ended = end
        self.flush_soon()

    def send_data(self, stream: Stream, data: Data, end: bool) -> None:
        stream.ends = end
        if stream.queue is not None:
            stream.queue.append(data)
            self.queued += len(data)
            return
        rest = self._send(stream, data)
        while rest is not None and self._room(stream) > 0:
            rest = self._send(stream, rest)
        if rest is not None:
            stream.queue = deque((rest,))
            self.queued += len(rest)
            self._blocked[stream] = None
        self.flush_soon()

    def flush_soon(self) -> None:
        """Sends what the library has put together: at the end of this turn of the loop, all of it at once."""
        if self._flushing is None and self.transport is not None:
            self._flushing = self._loop.call_soon(self.flush)

    def resume(self) -> None:
        self.paused = False
        self.send_queued()
        for stream in list(self.waiting):
            stream.wake()

    def forget(self, stream: Stream) -> None:
        """Nobody takes what it has queued."""
        if stream.queue is not None:
            self.queued -= sum(map(len, stream.queue))
            del self._blocked[stream]

    def _room(self, stream: Stream) -> int:
        window: int = self._http.local_flow_control_window(stream.id)
        frame: int = self._http.max_outbound_frame_size
        return min(window, frame, _FRAME_BYTES)

    def _send(self, stream: Stream, data: Data) -> Data | None:
        """One frame, as far as there is room; gives the rest."""
        last = stream.ends and stream.queue is None
        if not len(data):  # which takes no room
            if last:
                self._http.end_stream(stream.id)
                stream.ended = True
            return None
        room = self._room(stream)
        if room <= 0:
            return data
        rest = None if len(data) <= room else memoryview(data)[room:]
        stream.ended = last and rest is None
        if stream.ended:
            self._http.send_data(stream.id, data, end_stream=True)
        else:
            self._write(stream.id, data if rest is None else memoryview(data)[:room])
        sent = min(len(data), room)
        self._empty.earn(sent / _BYTES_EARN_ONE)
        self._pending += sent
        if self._pending > _PENDING_BYTES:
            self.flush()
        return rest

    def _write(self, number: int, data: Data) -> None:
        """A frame from the middle of an answer, which changes nothing but windows: most of a watch, and of a list.

        The library would copy it twice, and take as long as TLS does.
        """
        size = len(data)
        self._http.outbound_flow_control_window -= size
        self._http.streams[number].outbound_flow_control_window -= size
        before = self._http.data_to_send()  # its headers, among others
        if before:
            self._written.append(before)
        self._written += ((size << 48 | number).to_bytes(9, "big"), data)  # RFC 9113 §4.1: DATA is type 0

    def send_queued(self) -> None:
        """A frame of each stream in turn, until the windows are full or the client's connection is."""
        turns = deque(self._blocked)
        while turns and not self.paused:
            stream = turns.popleft()
            if stream.queue is not None and self._send_next(stream):
                turns.append(stream)

    def _send_next(self, stream: Stream) -> bool:
        """One frame of a queue; returns whether it can have another."""
        queue = stream.queue
        assert queue is not None
        data = queue.popleft()
        if not queue:
            stream.queue = None
        before = len(data)
        rest = self._send(stream, data)
        self.queued -= before - (0 if rest is None else len(rest))
        if rest is not None:
            queue.appendleft(rest)
            stream.queue = queue
            return len(rest) < before
        if queue:
            return True
        del self._blocked[stream]
        stream.wake()
        return False

    def flush(self) -> None:
        self._flushing, self._pending = None, 0
        if self.transport is None or self.transport.is_closing():
            return
        last, written = self._http.data_to_send(), self._written
        if written:
            written.append(last)
            self._written = []
            self.transport.write(b"".join(written))
        elif last:
            self.transport.write(last)

    def say_goodbye(self, code: ErrorCodes) -> None:
        """GOAWAY behind what is written so far. The library's own would let it send nothing any more."""
        self.flush()
        if self.transport is not None and not self.transport.is_closing():
            frame = GoAwayFrame(0, last_stream_id=self._http.highest_inbound_stream_id, error_code=code)
            self.transport.write(frame.serialize())
