"""Forgets the store's history regularly, so that it stays bounded; any number of servers may do so at once."""

import asyncio

import structlog

from hypernetes.apiserver.storage.base import Store, Unavailable

# Twice this is how long a watch or a continue token can be away and still go on; upstream's interval.
_EVERY_SECONDS = 300.0

_log = structlog.get_logger()


async def compact_regularly(store: Store, every: float = _EVERY_SECONDS) -> None:
    """Until cancelled: keeps history for `every` to twice as many seconds."""
    until: int | None = None
    while True:
        try:
            current = await store.revision()
            if until is not None:
                await store.compact(until)
            until = current
        except Unavailable as error:
            _log.warning("the store's history was not compacted", error=str(error))
        await asyncio.sleep(every)
