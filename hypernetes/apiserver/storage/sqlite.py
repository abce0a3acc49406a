"""The embedded store: one SQLite file in the API server's own process.

    create/update/delete ──► pending ──► apply, apply, apply ──► COMMIT ──► log ──► watches, callers
                                         (event loop's thread)   (thread: one fsync for all of them)

While one commit waits for the disk the next writes gather, so a commit serves as many as came meanwhile. The short
statements run on the event loop's own thread: another thread would have to win the interpreter lock back after each of
them, which under load costs more than the statements. What waits for the disk (commit, long reads, compaction) runs on
one thread of the store's, while the loop leaves the connection alone.

An acknowledged write is on the disk (WAL, synchronous=FULL). Watches are served from the recent revisions in memory and
fall back to the file's history. After an I/O error the store refuses everything until it is opened again: only reading
the file anew tells what of the last commit is there. A full disk refuses writes only, and only as long as it is full.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from hypernetes.apiserver.storage import transactions
from hypernetes.apiserver.storage.base import Change, Item, Page, SideWrite, StoreError, Unavailable
from hypernetes.apiserver.storage.changelog import ChangeLog
from hypernetes.apiserver.storage.sqlite_database import Database

_GROUP_WRITES = 128  # transactions per commit: some ms on the event loop's thread
_GROUP_BYTES = 8 * 1024 * 1024  # of new values; all of them are in memory until the commit
_MAX_PENDING = 20_000  # transactions and reads that wait; beyond, the caller is told at once
_DEADLINE_SECONDS = 60.0  # a disk that takes longer is broken
_LOG_BYTES = 8 * 1024 * 1024  # for a watch that keeps up; another reads the file
_LOG_REVISIONS = 50_000
_REPLAY_CHANGES = 2_000
_BATCH_REVISIONS = 500  # per step of a watch, so that a long way to catch up doesn't hold the loop

_log = structlog.get_logger()
T = TypeVar("T")
_Write = tuple[list[SideWrite], "asyncio.Future[int]"]
_Call = tuple[Callable[[], object], "asyncio.Future[Any]"]


class SqliteStore:
    """`Store` on one file, which it locks; make it with `open`."""

    def __init__(self, database: Database, *, history_revisions: int) -> None:
        self._database = database
        self._history_revisions = history_revisions
        self._log = ChangeLog(database.revision, max_bytes=_LOG_BYTES, max_revisions=_LOG_REVISIONS)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._writes: list[_Write] = []
        self._calls: list[_Call] = []
        self._work = asyncio.Event()
        self._closing = False
        self._sweeping = database.compacted > 0
        self._revision: int = database.revision  # the last committed one; the database's own runs ahead of it
        self._driver = asyncio.create_task(self._drive(), name="sqlite store")

    @classmethod
    async def open(cls, path: Path, *, history_revisions: int = 200_000) -> "SqliteStore":
        """The store in the file at `path`, made if absent; CannotOpen otherwise.

        `history_revisions` bounds the history where nobody calls `compact`.
        """
        return cls(await asyncio.to_thread(Database, path), history_revisions=history_revisions)

    async def get(self, key: str, *, revision: int | None = None) -> Item | None:
        return await self._call(partial(self._database.get, key, revision))

    async def create(self, key: str, value: bytes, *, also: Sequence[SideWrite] = ()) -> int:
        return await self._transact(transactions.create(key, value, also))

    async def update(self, key: str, value: bytes, expected: int, *, also: Sequence[SideWrite] = ()) -> int:
        return await self._transact(transactions.update(key, value, expected, also))

    async def delete(self, key: str, expected: int, *, also: Sequence[SideWrite] = ()) -> int:
        return await self._transact(transactions.delete(key, expected, also))

    async def write(self, also: Sequence[SideWrite]) -> int:
        return await self._transact(transactions.checked(also))

    async def revision(self) -> int:
        if self._closing:
            raise Unavailable("the store is closed")
        return self._revision

    def known_revision(self) -> int | None:
        return None if self._closing else self._revision

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[list[Change], None]:
        self._database.check_watchable(prefix, after)
        position = after
        while not self._closing:
            news = self._log.news()
            revisions = self._log.after(position, _BATCH_REVISIONS)
            if revisions is None:
                changes, position = await self._call(partial(self._database.replay, prefix, position, _REPLAY_CHANGES))
            elif revisions:
                changes = [change for entry in revisions for change in entry if change.key.startswith(prefix)]
                position += len(revisions)
            else:
                await news.wait()
                continue
            if changes:
                yield changes
        raise Unavailable("the store is closed")

    async def compact(self, revision: int) -> None:
        await self._call(partial(self._database.raise_floor, revision))
        while await self._call(self._database.sweep):
            pass

    async def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._work.set()
        await asyncio.shield(self._driver)

    async def _transact(self, writes: list[SideWrite]) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._admit()
        self._writes.append((writes, future))
        return await _answer(future)

    async def _call(self, function: Callable[[], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._admit()
        self._calls.append((function, future))
        return await _answer(future)

    def _admit(self) -> None:
        """Wakes the driver for one more piece of work."""
        if self._closing or self._driver.done():
            raise Unavailable("the store is closed")
        if len(self._writes) + len(self._calls) >= _MAX_PENDING:
            raise Unavailable("the store has more requests waiting than it takes")
        self._work.set()

    async def _drive(self) -> None:
        """Owns the connection: whatever touches it, but a glance at a number, happens in here, one at a time."""
        try:
            while not self._closing or self._writes or self._calls:
                if not self._sweeping:
                    await self._work.wait()
                self._work.clear()
                await self._commit_pending()
                await self._answer_pending()
                await self._keep_bounded()
                if self._writes or self._calls or self._closing:
                    self._work.set()
        finally:
            self._closing = True
            waiting: list[asyncio.Future[Any]] = [future for _, future in self._writes]
            for future in waiting + [future for _, future in self._calls]:
                _settle(future, Unavailable("the store is closed"))
            await self._on_thread(self._database.close)
            self._thread.shutdown(wait=False)
            self._log.announce()

    async def _commit_pending(self) -> None:
        group = self._next_group()
        if not group:
            return
        applied: list[tuple[asyncio.Future[int], int, list[Change]]] = []
        try:
            self._database.begin()
            for writes, future in group:
                try:
                    applied.append((future, *self._database.apply(writes)))
                except Unavailable:
                    raise
                except StoreError as refusal:
                    _settle(future, refusal)
            if any(changes for _, _, changes in applied):
                await self._on_thread(self._database.commit)
            else:
                self._database.roll_back()
        except Unavailable as failure:
            self._database.roll_back()
            for _, future in group:
                _settle(future, failure)
            return
        for future, revision, changes in applied:
            if changes:
                self._log.append(changes)
            _settle(future, revision)
        self._revision = self._database.revision
        self._log.announce()

    def _next_group(self) -> list[_Write]:
        """As many of the pending transactions, oldest first, as one commit takes."""
        count = size = 0
        for writes, _ in self._writes[:_GROUP_WRITES]:
            size += sum(len(write.value or b"") for write in writes)
            if count and size > _GROUP_BYTES:
                break
            count += 1
        group, self._writes = self._writes[:count], self._writes[count:]
        return group

    async def _answer_pending(self) -> None:
        calls, self._calls = self._calls, []
        for function, future in calls:
            if future.done():
                continue
            try:
                _settle(future, await self._on_thread(function))
            except (StoreError, ValueError) as refusal:
                _settle(future, refusal)

    async def _keep_bounded(self) -> None:
        """Forgets what is over the bound, a little at a time between other work."""
        database = self._database
        try:
            if database.revision - database.compacted > self._history_revisions:
                await self._on_thread(
                    partial(database.raise_floor, database.revision - self._history_revisions * 3 // 4)
                )
                self._sweeping = True
            if self._sweeping:
                self._sweeping = await self._on_thread(database.sweep)
        except Unavailable as failure:
            self._sweeping = False  # it starts again with the next write over the bound, or the next compaction
            _log.warning("the store could not drop old history", error=str(failure))

    async def _on_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def list(self, prefix: str, *, limit: int = 0, start: str | None = None, revision: int | None = None) -> Page:
        return await self._call(partial(self._database.page, prefix, limit, start, revision))


def _settle(future: "asyncio.Future[Any]", outcome: object) -> None:
    if future.done():  # the caller has gone
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


async def _answer(future: "asyncio.Future[T]") -> T:
    deadline = asyncio.get_running_loop().call_later(_DEADLINE_SECONDS, _give_up, future)
    try:
        return await future
    finally:
        deadline.cancel()


def _give_up(future: "asyncio.Future[Any]") -> None:
    _settle(future, Unavailable(f"the disk did not answer within {_DEADLINE_SECONDS:.0f} s"))
