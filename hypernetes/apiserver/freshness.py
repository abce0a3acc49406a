"""How a read knows that it sees every write acknowledged before it began."""

import asyncio

from hypernetes.api.status import StatusError
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Store, Unavailable

READ_DEADLINE_SECONDS = 10.0
FUTURE_DEADLINE_SECONDS = 3.0  # for a resourceVersion that a client names; upstream's figure


class Freshness:
    """Questions to the store how far it is, each shared by the reads that wait for it. Run `run()` in a task.

    A read never takes an answer that was under way when it came: that one may have passed the store before the write
    which the reader knows of. It waits for the next.
    """

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self._store, self._mirror = store, mirror
        self._waiting: list[asyncio.Future[Unavailable | None]] = []  # reads that need a question not asked yet
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Asks for as long as reads wait: one question for all that came during the last one."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            try:
                self._mirror.resolve(waiting, await self._store.revision())
            except Unavailable as error:
                for future in waiting:
                    if not future.done():
                        future.set_result(error)

    async def now(self) -> None:
        """Returns when the mirror holds everything acknowledged before this call. Raises StatusError."""
        known = self._store.known_revision()
        if known is not None and known <= self._mirror.revision:
            return
        try:
            async with asyncio.timeout(READ_DEADLINE_SECONDS):
                if known is not None:
                    await self._mirror.wait_for(known)
                elif (failed := await self._answer()) is not None:
                    raise failed
        except (TimeoutError, Unavailable) as error:
            raise StatusError("ServiceUnavailable", "the store does not answer; try again", code=503) from error

    async def at_least(self, revision: int) -> None:
        """Returns when the mirror has reached a revision that a client named. Raises StatusError."""
        if revision <= self._mirror.revision:
            return
        try:
            async with asyncio.timeout(FUTURE_DEADLINE_SECONDS):
                await self._mirror.wait_for(revision)
        except TimeoutError:
            raise too_large(revision, self._mirror.revision) from None

    def _answer(self) -> asyncio.Future[Unavailable | None]:
        """Done when the mirror is as far as the store is found to be, or with why it is not known."""
        future: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        return future


def too_large(revision: int, current: int) -> StatusError:
    message = f"Timeout: Too large resource version: {revision}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version", "field": ""}
    return StatusError("Timeout", message, causes=[cause], details={"retryAfterSeconds": 1})
