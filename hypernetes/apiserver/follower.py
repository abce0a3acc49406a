"""Feeds the mirror and the watchers from the store, through every interruption."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog

from hypernetes.apiserver.mirror import Entry, Event, Mirror
from hypernetes.apiserver.storage.base import Compacted, Page, Store, Unavailable
from hypernetes.apiserver.watchers import Watchers

log = structlog.get_logger()

PAGE_ITEMS = 2_000
RETRY_SECONDS = 0.5
RETRY_MAX_SECONDS = 5.0


class Observer(Protocol):
    """Keeps an index of some of the mirror's objects."""

    def observe(self, events: Iterable[Event]) -> None:
        """The mirror has just taken these in."""

    def reset(self) -> None:
        """The mirror has been loaded anew."""


class Follower:
    """Owns the one watch on the store. Run `run()` in a task; `loaded` is set once the mirror can answer."""

    def __init__(self, store: Store, mirror: Mirror, watchers: Watchers, observers: Sequence[Observer] = ()) -> None:
        self._store, self._mirror, self._watchers, self._observers = store, mirror, watchers, observers
        self.loaded = asyncio.Event()

    async def run(self) -> None:
        reload, delay = True, RETRY_SECONDS
        while True:
            try:
                if reload or await self._is_restored():
                    await self._load()
                    reload = False
                # "" and not our root: a revision that only touches other keys counts, too
                async for changes in self._store.watch("", self._mirror.revision):
                    events = self._mirror.apply(changes)
                    for observer in self._observers:
                        observer.observe(events)
                    self._watchers.publish(events)
                    delay = RETRY_SECONDS
            except Compacted as gap:
                log.warning("the store's history has a gap; every watch starts over", oldest=gap.oldest)
                reload = True
            except Unavailable as error:
                log.warning("the store does not answer", error=str(error), retry_seconds=round(delay, 1))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, RETRY_MAX_SECONDS)

    async def _is_restored(self) -> bool:
        """Whether the store is at a revision before what we have seen of it: then it is not the one we knew.

        That is an etcd restored from a backup. A watch of revisions that it hasn't reached would be silent, and then
        tell other writes under revisions that we know already.
        """
        revision = await self._store.revision()
        if revision >= self._mirror.revision:
            return False
        log.warning("the store went back; every watch starts over", revision=revision, seen=self._mirror.revision)
        return True

    async def _load(self) -> None:
        """Takes in everything that is ours, page by page, at one revision."""
        root = self._mirror.keys.root
        page = await self._store.list(root, limit=PAGE_ITEMS)
        entries = self._entries(page)
        while page.next_key is not None:
            page = await self._store.list(root, limit=PAGE_ITEMS, start=page.next_key, revision=page.revision)
            entries += self._entries(page)
        self._mirror.take(entries, page.revision)
        for observer in self._observers:
            observer.reset()
        self._watchers.expire_all()
        self.loaded.set()
        log.info("mirror loaded", keys=len(entries), revision=page.revision)

    def _entries(self, page: Page) -> list[Entry]:
        """Page by page, so that what the store gave needs memory for one page only."""
        return [Entry.of(item, self._mirror.interner) for item in page.items]
