"""How a read knows that it sees every write acknowledged before it began."""

import asyncio
from dataclasses import dataclass

from hypernetes.api.status import StatusError
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Store, Unavailable

READ_DEADLINE_SECONDS = 10.0
FUTURE_DEADLINE_SECONDS = 3.0  # for a resourceVersion that a client names; upstream's figure


@dataclass(slots=True)
class _Probe:
    revision: int | None = None
    failed: Unavailable | None = None


class Freshness:
    """Probes of the store's revision, shared by the reads that wait for the same one.

    A read never takes the answer of a probe that was under way when it came: that one may have passed the store before
    the write which the reader knows of. It joins the next.
    """

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self._store, self._mirror = store, mirror
        self._next = _Probe()
        self._under_way = asyncio.Lock()

    async def now(self) -> None:
        """Returns when the mirror holds everything acknowledged before this call. Raises StatusError."""
        known = self._store.known_revision()
        if known is not None and known <= self._mirror.revision:
            return
        try:
            async with asyncio.timeout(READ_DEADLINE_SECONDS):
                await self._mirror.wait_for(await self._current())
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

    async def _current(self) -> int:
        probe = self._next
        async with self._under_way:
            if probe.revision is None and probe.failed is None:
                self._next = _Probe()  # who comes from now on needs a later one
                try:
                    probe.revision = await self._store.revision()
                except Unavailable as error:
                    probe.failed = error
        if probe.revision is None:
            raise probe.failed or Unavailable("no answer")
        return probe.revision


def too_large(revision: int, current: int) -> StatusError:
    message = f"Timeout: Too large resource version: {revision}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version", "field": ""}
    return StatusError("Timeout", message, causes=[cause], details={"retryAfterSeconds": 1})
