"""The end of a server: who still has a connection."""

import asyncio

from aiohttp import web

from hypernetes.apiserver.connections import Departures, Server

_HOUR = 3600.0  # seconds; what requests under way are given


async def test_a_client_that_keeps_its_connection_does_not_hold_up_the_end() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="here")

    server = Server(answer, Departures())
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await reader.readuntil(b"here")
            listener.close()
            await server.shutdown(_HOUR)
            assert await reader.read() == b""
    finally:
        writer.close()
