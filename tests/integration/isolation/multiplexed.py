"""A user who asks over HTTP/2, many requests on each connection, for a Witness to look at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import orjson

from tests.integration.api.http2 import Client, Exchange, connected
from tests.integration.api.servers import Answer, User

_SECONDS = 60
_WATCHES_EACH = 100


class MultiplexedUser:
    """Stands in for a `User`. Watches that stay open have connections of their own, so many on each."""

    def __init__(self, user: User, stack: AsyncExitStack) -> None:
        self._user, self._stack, self.url = user, stack, user.url
        self._session = self  # of whom a Witness asks for watches
        self._client: Client | None = None
        self._watching: Client | None = None
        self._watches = 0

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
    ) -> Answer:
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        sent = {"content-type": "application/json", **{name.lower(): value for name, value in (headers or {}).items()}}
        if self._client is None or self._client.closed:
            self._client = await self._connect()
        exchange = _ask(self._client, method, path, data, sent, query)
        async with asyncio.timeout(_SECONDS):
            await self._client.answered(exchange)
        assert exchange.ended, (method, path, exchange.reset)
        return Answer(exchange.status, exchange.headers, exchange.body)

    @asynccontextmanager
    async def get(
        self, url: Any, *, params: dict[str, str], headers: dict[str, str]
    ) -> AsyncIterator["MultiplexedWatch"]:
        if self._watching is None or self._watches % _WATCHES_EACH == 0:
            self._watching = await self._connect()
        self._watches += 1
        client = self._watching
        sent = {name.lower(): value for name, value in headers.items()}
        exchange = _ask(client, "GET", str(url.raw_path_qs), None, sent, params)
        await client.until(lambda: exchange.status or exchange.ended)
        yield MultiplexedWatch(client, exchange)
        if not exchange.ended:
            client.cancel(exchange)

    async def _connect(self) -> Client:
        return await self._stack.enter_async_context(connected(self._user, self._user.context))

    async def __aexit__(self, *_: object) -> None:
        await self._user.__aexit__()


class MultiplexedWatch:
    """As much of aiohttp's response as a Witness reads."""

    def __init__(self, client: Client, exchange: Exchange) -> None:
        self._client, self._exchange = client, exchange
        self.status, self.headers, self.content = exchange.status, exchange.headers, self

    async def readline(self) -> bytes:
        exchange = self._exchange
        await self._client.until(lambda: b"\n" in exchange.body or exchange.ended)
        line, newline, exchange.body = exchange.body.partition(b"\n")
        return line + newline

    async def read(self) -> bytes:
        await self._client.answered(self._exchange)
        return self._exchange.body


@asynccontextmanager
async def multiplexed(user: User) -> AsyncIterator[MultiplexedUser]:
    user.context.set_alpn_protocols(["h2"])
    async with AsyncExitStack() as stack:
        yield MultiplexedUser(user, stack)


def _ask(
    client: Client, method: str, path: str, data: bytes | None, headers: dict[str, str], query: dict[str, str]
) -> Exchange:
    whole = f"{path}?{urlencode(query)}" if query else path
    return client.ask(method, whole, data, **{name.replace("-", "_"): value for name, value in headers.items()})
