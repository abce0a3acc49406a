"""Clients that go away: a stream to one ends at once, a write for one is carried out all the same.

So nothing is cancelled when a connection is lost. Who serves a stream asks to be told, and ends it.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


class Departures:
    """Who wants to know when the connection of a request is lost."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.BaseProtocol, list[Callable[[], None]]] = {}

    @contextmanager
    def told(self, request: web.BaseRequest, callback: Callable[[], None]) -> Iterator[None]:
        """Calls `callback` if the client of `request` goes, or has gone, before the block ends."""
        if gone(request):
            callback()
        waiting = self._waiting.setdefault(request.protocol, [])
        waiting.append(callback)
        try:
            yield
        finally:
            waiting.remove(callback)
            if not waiting:
                self._waiting.pop(request.protocol, None)

    def lost(self, connection: asyncio.BaseProtocol) -> None:
        for callback in list(self._waiting.get(connection, ())):
            callback()


def gone(request: web.BaseRequest) -> bool:
    """Whether nobody is there to be answered."""
    return request.transport is None or request.transport.is_closing()


class Server(web.Server):
    """aiohttp's server, which says when a connection is lost."""

    def __init__(self, handler: Any, departures: Departures, **options: Any) -> None:
        super().__init__(handler, **options)
        self._departures = departures

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._departures.lost(handler)
