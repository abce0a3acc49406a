"""The end of a server: who still has a connection."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from hypernetes.apiserver.connections import Departures, Server
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"

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


async def test_watches_end_in_order_with_all_that_happened_and_go_on_at_the_next_server(tmp_path: Path) -> None:
    """Of a hundred writes during the end of one server each comes once, from it or from the other."""
    store = await open_store(str(tmp_path / "store" / "state.db"))
    try:
        async with serving(store, tmp_path, "t1") as second, AsyncExitStack() as stack:
            async with serving(store, tmp_path, "t1") as first:
                client: User = await stack.enter_async_context(await first.person("system", "p", "system:masters"))
                watch = await stack.enter_async_context(client.watch(CONFIG_MAPS, resourceVersion="0"))
                writing = asyncio.create_task(_write(second, 100))
                seen = await watch.rest(until="m20")
            seen += await watch.rest()  # ends in order, or else this raises
            last = await writing
            async with second.watch(CONFIG_MAPS, resourceVersion=seen[-1][1]) as resumed:
                seen += await resumed.rest(until="m99")
        names = [name for name, _ in seen if name.startswith("m")]
        assert names == [f"m{number}" for number in range(100)]
        assert seen[-1][1] == last
    finally:
        await store.close()


async def _write(user: User, count: int) -> str:
    """The revision of the last of so many ConfigMaps."""
    revision = ""
    for number in range(count):
        revision = (await user("POST", CONFIG_MAPS, {"metadata": {"name": f"m{number}"}})).revision
    return revision
