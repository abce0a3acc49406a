"""A watch that runs beside a test and remembers what it was told."""

import asyncio
from typing import Self

from hypernetes.apiserver.storage.base import Change, Store

_DEADLINE_SECONDS = 30.0


class Watcher:
    """`changes` grows as the watch tells them; `failure` is what ended it."""

    def __init__(self, store: Store, prefix: str, after: int) -> None:
        self.prefix, self.after = prefix, after
        self.changes: list[Change] = []
        self.batches: list[list[Change]] = []
        self.failure: Exception | None = None
        self._progress = asyncio.Event()
        self._task = asyncio.create_task(self._run(store))

    async def _run(self, store: Store) -> None:
        try:
            async for batch in store.watch(self.prefix, self.after):
                self.batches.append(batch)
                self.changes.extend(batch)
                self._progress.set()
        except Exception as error:
            self.failure = error
            self._progress.set()

    async def until(self, revision: int) -> list[Change]:
        """The changes, once those of `revision` are among them; the watch's failure if it ends before."""
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not (self.changes and self.changes[-1].revision >= revision):
                if self.failure is not None:
                    raise self.failure
                self._progress.clear()
                await self._progress.wait()
        return self.changes

    async def ended(self) -> Exception | None:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await asyncio.wait([self._task])
        return self.failure

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
