"""A TCP connection to a pod, carried in the binary messages of a WebSocket; an empty message ends one direction."""

import asyncio
import contextlib

import structlog
from aiohttp import WSMsgType, web

from hypernetes.nodeagent.runtime.base import ByteStream, MachineError

log = structlog.get_logger()

PROTOCOL = "tcp.hypernetes.io"


async def serve(socket: web.WebSocketResponse, stream: ByteStream) -> None:
    """Until the pod has ended its side, or the caller is gone. Closes both."""
    incoming = asyncio.create_task(_incoming(socket, stream))
    outgoing = asyncio.create_task(_outgoing(socket, stream))
    try:
        await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
        if outgoing.done():
            outgoing.result()
        else:
            incoming.result()
    except (MachineError, ConnectionError) as error:
        log.debug("forward.broken", error=str(error))
    finally:
        for task in (incoming, outgoing):
            task.cancel()
        await asyncio.gather(incoming, outgoing, return_exceptions=True)
        await stream.close()
        with contextlib.suppress(ConnectionError):
            await socket.close()


async def _incoming(socket: web.WebSocketResponse, stream: ByteStream) -> None:
    """Until the caller is gone."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            return
        if message.data:
            await stream.write(message.data)
        else:
            await stream.close_write()


async def _outgoing(socket: web.WebSocketResponse, stream: ByteStream) -> None:
    while data := await stream.read():
        await socket.send_bytes(data)
    await socket.send_bytes(b"")
