"""A connection to a pod's port, as a socket of this process: bytes go through the agent of the pod's node.

socketpair ──► binary messages ──► agent ──► guest link ──► the pod         (both ways; an empty message ends one)
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import WSMsgType

from hypernetes.apiserver.dialer import Agent, Dialer, Query

PROTOCOL = "tcp.hypernetes.io"  # the WebSocket's subprotocol
_PIECE_BYTES = 64 << 10


@asynccontextmanager
async def tunnel(dialer: Dialer, agent: Agent, parts: Iterable[str], query: Query) -> AsyncIterator[socket.socket]:
    """An open connection, until the block ends; the socket is the caller's to close. StatusError where the pod, or
    the agent, can't be reached."""
    far = await dialer.websocket(agent, parts, query, PROTOCOL)
    try:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            theirs.close()
            raise
        carrying = asyncio.create_task(_carry(far, reader, writer), name="tunnel")
        try:
            yield theirs
        finally:
            carrying.cancel()
            with suppress(asyncio.CancelledError):
                await carrying
    finally:
        await far.close()


async def _carry(
    far: aiohttp.ClientWebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Both ways until the far side has ended."""
    sending = asyncio.create_task(_send(far, reader))
    try:
        async for message in far:
            if message.type is not WSMsgType.BINARY:
                break
            if message.data:
                writer.write(message.data)
                await writer.drain()
            else:
                writer.write_eof()
    except ConnectionError:
        pass  # the request that used the connection is over
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        writer.close()


async def _send(far: aiohttp.ClientWebSocketResponse, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_PIECE_BYTES):
        await far.send_bytes(data)
    await far.send_bytes(b"")
