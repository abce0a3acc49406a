"""Which keys need work. A key is in the queue once, however often it is added, and in the hands of one worker only.

    add ──► waiting ──► get ──► processing ──► done ──► (resting)
                                  │  added meanwhile: dirty, so it is put back to waiting when it is done and has rested

A rest keeps a key that changes all the time, and costs much each time, from taking the whole process.

Its size is bounded by the number of keys there are.
"""

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hypernetes.client.backoff import Backoff

K = TypeVar("K", bound=Hashable)

_BACKOFF = Backoff(first=0.01, longest=60.0)  # seconds


# Upper bounds of buckets in seconds, as upstream's.
DURATIONS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(slots=True)
class Durations:
    """A histogram over DURATIONS; the last bucket has what is longer."""

    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self.buckets[bisect_left(DURATIONS, seconds)] += 1


@dataclass(slots=True)
class Counts:
    """What a queue has seen since it was made."""

    adds: int = 0
    retries: int = 0
    waited: Durations = field(default_factory=Durations)
    worked: Durations = field(default_factory=Durations)


class WorkQueue(Generic[K]):
    def __init__(self, name: str, backoff: Backoff = _BACKOFF) -> None:
        self.name = name
        self._backoff = backoff
        self._waiting: deque[K] = deque()
        self._dirty: set[K] = set()  # waiting, or to be put back when done
        self._processing: dict[K, float] = {}  # since when, by time.monotonic()
        self._added: dict[K, float] = {}  # those that wait
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._resting: dict[K, asyncio.TimerHandle] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._watching: list[asyncio.Future[None]] = []  # who waits for the end of what is under way
        self.counts = Counts()

    def under_way(self) -> list[float]:
        """For how many seconds each key is being worked on."""
        now = time.monotonic()
        return [now - since for since in self._processing.values()]

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits, is worked on or has a timer."""
        return not (self._dirty or self._processing or self._timers)

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def add(self, key: K) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        self.counts.adds += 1
        if key not in self._processing and key not in self._resting:
            self._enqueue(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Adds the key later. Of several such calls the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def add_rate_limited(self, key: K) -> float:
        """Adds the key after a time that doubles with each failure in a row; returns it (seconds)."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.counts.retries += 1
        delay = self._backoff.delay(failures)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key's work succeeded: its next failure is the first again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; the caller must call `done` with it."""
        while not self._waiting:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # Woken and cancelled at once: the key must not lie there without anyone knowing.
                if getter.done() and not getter.cancelled():
                    self._wake()
                raise
            finally:
                if getter in self._getters:
                    self._getters.remove(getter)
        key = self._waiting.popleft()
        self._dirty.discard(key)
        now = time.monotonic()
        self._processing[key] = now
        self.counts.waited.add(now - self._added.pop(key, now))
        return key

    def done(self, key: K, rest: float = 0.0) -> None:
        """`rest` (seconds): how long the key isn't given out again, whatever is added."""
        since = self._processing.pop(key, None)
        if since is not None:
            self.counts.worked.add(time.monotonic() - since)
        if rest > 0:
            self._resting[key] = asyncio.get_running_loop().call_later(rest, self._rested, key)
        elif key in self._dirty:
            self._enqueue(key)
        watching, self._watching = self._watching, []
        for each in watching:
            if not each.done():
                each.set_result(None)

    async def wait_done(self, concerned: Callable[[K], bool]) -> None:
        """Until no key is being worked on that is `concerned`."""
        while any(concerned(key) for key in self._processing):
            waiting = asyncio.get_running_loop().create_future()
            self._watching.append(waiting)
            await waiting

    def _rested(self, key: K) -> None:
        del self._resting[key]
        if key in self._dirty:
            self._enqueue(key)

    def close(self) -> None:
        """Cancels all timers; for an owner that stops."""
        for timer in (*self._timers.values(), *self._resting.values()):
            timer.cancel()
        self._timers.clear()
        self._resting.clear()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _enqueue(self, key: K) -> None:
        self._waiting.append(key)
        self._added[key] = time.monotonic()
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
