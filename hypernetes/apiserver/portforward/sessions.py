"""A client's connections to a pod. For each it opens two streams with one request id: `error` first, then `data`.

What goes wrong with a connection is text on its error stream; the session and its other connections go on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import structlog
from aiohttp import WSMsgType, web

from hypernetes.api.status import StatusError
from hypernetes.apiserver.portforward import spdy
from hypernetes.apiserver.portforward.spdy import Data, Decoder, Encoder, Opened, Ping, Reset, SpdyError

PROTOCOL = "SPDY/3.1+portforward.k8s.io"  # of the WebSocket
MAX_CONNECTIONS = 256  # of one session
_PIECE_BYTES = 32 << 10
_QUEUED = 64  # pieces from the client that wait for the pod; then the client waits

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[int], AbstractAsyncContextManager[Connection]]

log = structlog.get_logger()


@dataclass(slots=True)
class _Forward:
    """One connection in the making, or made."""

    error: int  # the stream's number
    data: int = 0
    port: int = 0
    incoming: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(_QUEUED))  # None: the end
    task: asyncio.Task[None] | None = None


async def serve(socket: web.WebSocketResponse, connect: Connect) -> None:
    """Until the client is gone. `connect(port)` opens a connection to the pod, or raises StatusError."""
    await _Session(socket, connect).run()


class _Session:
    def __init__(self, socket: web.WebSocketResponse, connect: Connect) -> None:
        self._socket, self._connect = socket, connect
        self._decoder, self._encoder = Decoder(), Encoder()
        self._by_request: dict[str, _Forward] = {}
        self._by_stream: dict[int, _Forward] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            try:
                async for event in self._events():
                    await self._take(event, group)
            except (SpdyError, ConnectionError) as error:
                log.debug("a port-forward ended", error=str(error))
            finally:
                for forward in list(self._by_request.values()):
                    if forward.task is not None:
                        forward.task.cancel()

    async def _events(self) -> AsyncIterator[spdy.Event]:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                return
            for event in self._decoder.feed(message.data):
                yield event

    async def _take(self, event: spdy.Event, group: asyncio.TaskGroup) -> None:
        match event:
            case Opened():
                await self._open(event, group)
            case Data(stream, content, ended):
                forward = self._by_stream.get(stream)
                if forward is not None and stream == forward.data:
                    if content:
                        await forward.incoming.put(content)
                    if ended:
                        await forward.incoming.put(None)
            case Reset(stream):
                forward = self._by_stream.get(stream)
                if forward is not None and stream == forward.data and forward.task is not None:
                    forward.task.cancel()
            case Ping(number):
                await self._socket.send_bytes(spdy.ping(number))

    async def _open(self, event: Opened, group: asyncio.TaskGroup) -> None:
        """Raises SpdyError for what is no stream of a port-forward."""
        request, kind, port = (event.headers.get(name, "") for name in ("requestid", "streamtype", "port"))
        if not request or kind not in ("error", "data") or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SpdyError("a stream without requestID, streamType or port")
        forward = self._by_request.get(request)
        if kind == "error":
            if forward is not None or len(self._by_request) >= MAX_CONNECTIONS:
                raise SpdyError("too many connections, or two of one requestID")
            forward = self._by_request[request] = _Forward(error=event.stream)
        elif forward is None or forward.task is not None:
            raise SpdyError("a data stream without its error stream")
        self._by_stream[event.stream] = forward
        await self._socket.send_bytes(self._encoder.reply(event.stream, {}))
        if kind == "data":
            forward.data, forward.port = event.stream, int(port)
            if event.ended:
                await forward.incoming.put(None)
            forward.task = group.create_task(self._forward(request, forward))

    async def _forward(self, request: str, forward: _Forward) -> None:
        """One connection, from its beginning to its end."""
        try:
            async with self._connect(forward.port) as (reader, writer):
                sending = asyncio.create_task(_send(forward, writer))
                try:
                    while piece := await reader.read(_PIECE_BYTES):
                        await self._socket.send_bytes(spdy.data(forward.data, piece))
                finally:
                    sending.cancel()
                    await asyncio.wait({sending})
            await self._socket.send_bytes(spdy.data(forward.data, b"", ended=True))
            await self._socket.send_bytes(spdy.data(forward.error, b"", ended=True))
        except StatusError as error:
            text = f"error forwarding port {forward.port} to pod: {error.message}".encode()
            await self._socket.send_bytes(spdy.data(forward.error, text, ended=True))
            await self._socket.send_bytes(spdy.reset(forward.data))
        except ConnectionError as error:
            log.debug("a forwarded connection ended", error=str(error))
        finally:
            del self._by_request[request]
            self._by_stream.pop(forward.data, None)
            self._by_stream.pop(forward.error, None)


async def _send(forward: _Forward, writer: asyncio.StreamWriter) -> None:
    """What a pod takes no more is read all the same: the client's other connections come over the same socket."""
    takes = True
    while (piece := await forward.incoming.get()) is not None:
        if takes:
            try:
                writer.write(piece)
                await writer.drain()
            except ConnectionError:
                takes = False
    if takes:
        writer.write_eof()
