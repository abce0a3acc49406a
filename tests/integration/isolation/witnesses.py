"""Users of whom every byte they receive is looked at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson
from yarl import URL

from tests.integration.api.servers import Answer, User
from tests.integration.isolation.canaries import Canaries
from tests.integration.isolation.multiplexed import MultiplexedUser

_DEADLINE_SECONDS = 60


class Witness:
    """A user who may receive no canary: status, headers, bodies and frames of watches. Raises Leak."""

    def __init__(self, user: User | MultiplexedUser, canaries: Canaries) -> None:
        self._user, self._canaries = user, canaries
        self.received = 0  # bytes

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
    ) -> Answer:
        answer = await self._user(method, path, body, headers=headers, **query)
        self._look(_of_headers(answer.headers) + answer.body, (method, path, query))
        return answer

    @asynccontextmanager
    async def watch(self, path: str, *, accept: str = "application/json", **query: str) -> AsyncIterator["Watching"]:
        url = URL(self._user.url + path, encoded=True)
        async with self._user._session.get(url, params=query, headers={"Accept": accept}) as response:
            self._look(_of_headers(response.headers), path)
            yield Watching(self, response, (path, query))

    def _look(self, received: bytes, what: object) -> None:
        self.received += len(received)
        self._canaries.check(received, what)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._user.__aexit__()


class Watching:
    def __init__(self, witness: Witness, response: Any, what: object) -> None:
        self._witness, self._response, self._what, self.status = witness, response, what, response.status

    async def until(self, name: str) -> int:
        """Reads until an event about an object of this name; how many there were."""
        wanted, count = f'"name":"{name}"'.encode(), 0
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while True:
                line = await self._response.content.readline()
                self._witness._look(line, self._what)
                assert line, (self._what, "the watch ended")
                assert orjson.loads(line)["type"] != "ERROR", (self._what, line)
                count += 1
                if wanted in line:
                    return count

    async def rest(self) -> bytes:
        """Of what wasn't to be a watch."""
        body: bytes = await self._response.read()
        self._witness._look(body, self._what)
        return body


def _of_headers(headers: Any) -> bytes:
    return "\n".join(f"{key}: {value}" for key, value in headers.items()).encode()
