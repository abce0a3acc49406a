"""Objects that something is to be done about: each waits once, and again later where it can't be done now."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from hypernetes.api.status import StatusError
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.storage.base import Unavailable

RETRY_SECONDS = 5.0

log = structlog.get_logger()


class DueKeys:
    """Bounded by the objects that there are. `what` names the work for the log."""

    def __init__(self, handle: Callable[[ObjectKey], Awaitable[None]], what: str) -> None:
        self._handle, self._what = handle, what
        self._waiting: dict[ObjectKey, None] = {}
        self._news = asyncio.Event()

    def add(self, key: ObjectKey) -> None:
        self._waiting[key] = None
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. What is gone, or changed meanwhile, is no failure: an event tells of it."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                key, _ = self._waiting.popitem()
                try:
                    await self._handle(key)
                except (StatusError, Unavailable) as error:
                    if isinstance(error, StatusError) and error.reason in ("NotFound", "Conflict"):
                        continue
                    log.warning(f"{self._what}: tried again later", name=key.name, error=str(error))
                    asyncio.get_running_loop().call_later(RETRY_SECONDS, self.add, key)
