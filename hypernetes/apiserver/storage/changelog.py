"""The most recent revisions in memory, for watches that keep up. Older ones are read from the store's history."""

import asyncio

from hypernetes.apiserver.storage.base import Change


class ChangeLog:
    """Revisions without gap, from some point on; bounded by bytes of values and by count."""

    def __init__(self, revision: int, *, max_bytes: int, max_revisions: int) -> None:
        self._entries: list[list[Change]] = []
        self._dropped = 0  # of the entries' head: cut off in bulk, since a list's head is costly to remove
        self._last = revision
        self._bytes = 0
        self._max_bytes, self._max_revisions = max_bytes, max_revisions
        self._news = asyncio.Event()

    def append(self, changes: list[Change]) -> None:
        """The changes of the revision after the last one."""
        if changes[0].revision != self._last + 1:
            raise AssertionError(f"revision {changes[0].revision} after {self._last}")
        self._last += 1
        self._entries.append(changes)
        self._bytes += _size(changes)
        while len(self) > self._max_revisions or (self._bytes > self._max_bytes and len(self) > 1):
            self._bytes -= _size(self._entries[self._dropped])
            self._entries[self._dropped] = []
            self._dropped += 1
        if self._dropped > self._max_revisions // 2:
            del self._entries[: self._dropped]
            self._dropped = 0

    def __len__(self) -> int:
        return len(self._entries) - self._dropped

    def after(self, revision: int, limit: int) -> list[list[Change]] | None:
        """Up to `limit` revisions that follow `revision`; None where the log doesn't reach back that far."""
        start = len(self._entries) - (self._last - revision)
        if start < self._dropped:
            return None
        return self._entries[start : start + limit]

    def announce(self) -> None:
        """Wakes who waits for news; called once after any number of appends."""
        self._news.set()
        self._news = asyncio.Event()

    def news(self) -> asyncio.Event:
        """Set at the next announcement. Take it before looking at the log, then wait for it."""
        return self._news


def _size(changes: list[Change]) -> int:
    return sum(
        len(change.value or b"") + (len(change.previous.value) if change.previous else 0) + 200 for change in changes
    )
