"""Every watch of every client: which events it gets, in which form, and when it is cut off.

Watchers are indexed by what they are narrowed to (a tenant, a namespace, a name, a node), so an event costs the
watchers that want it and not all of them. Each form of an event is encoded once, whatever the number of watchers. A
watcher that doesn't read is cut off when its queue is full: it can resume from the last event it got.

`publish()` fills the queues, and then empties those whose clients keep up straight into their connections (`Outlet`),
some at a time, so that other requests get their turn. What comes meanwhile for the others goes out in the same write.
Where a client is behind, its handler's task is woken, and empties the queue as fast as the client reads.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import sharing
from hypernetes.apiserver.mirror import Entry, Event
from hypernetes.apiserver.views import View

QUEUE_EVENTS = 10_000
QUEUE_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 32 * 1024  # that are written at a time: two TLS records, which each connection keeps room for
_AT_ONCE = 128  # watchers that are written to before others have their turn: some 2 ms
_REST_FROM_SECONDS, _REST_MAX_SECONDS = 0.001, 0.02

Match = Callable[[Entry], bool]
Bucket = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a watch is narrowed to before any selector is looked at; "" and None don't narrow."""

    group: str  # "core" for the core group
    resource: str
    tenant: str | None  # None: all tenants
    namespace: str = ""
    name: str = ""
    node: str = ""
    shared: bool = False  # what `system` shares of this kind, too
    overlay: sharing.Overlay | None = None  # then: which of two objects of one name shows

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Where in the index such a watcher lies."""
        if not self.shared:
            return (self.bucket,)
        return (self.bucket, replace(self, tenant=SYSTEM_TENANT).bucket)

    @property
    def bucket(self) -> Bucket:
        """The narrowest bucket of the index that holds all of the tenant's objects in scope."""
        base = (self.group, self.resource, self.tenant or "*")
        if self.node:
            return (*base, "node", self.node)
        if self.name:
            return (*base, "name", self.namespace, self.name)
        return (*base, "namespace", self.namespace) if self.namespace else base

    def holds(self, event: Event) -> bool:
        """Whether an event of this scope's bucket, or of the log, is in scope."""
        name = event.name
        return (
            name.resource == self.resource
            and name.group == self.group
            and (self.tenant is None or name.tenant == self.tenant or (self.shared and sharing.is_shared(name)))
            and (not self.namespace or name.namespace == self.namespace)
            and (not self.name or name.name == self.name)
        )


# What happens to any object, of any kind and tenant.
EVERYTHING = Scope("*", "*", None)


# Kinds that agents watch by spec.nodeName.
_OF_NODES = frozenset({"pods", "nodevolumes", "volumeattachments"})


def _buckets(event: Event) -> Iterator[Bucket]:
    name = event.name
    yield EVERYTHING.bucket
    nodes = set()
    if name.resource in _OF_NODES:
        nodes = {entry.node for entry in (event.entry, event.previous) if entry is not None}
    for tenant in (name.tenant, "*"):
        base = (name.group, name.resource, tenant)
        yield base
        yield (*base, "namespace", name.namespace)
        yield (*base, "name", name.namespace, name.name)
        if name.namespace:
            yield (*base, "name", "", name.name)
        for node in nodes:
            yield (*base, "node", node)


def transition(event: Event, match: Match | None) -> tuple[str, Entry] | None:
    """What an event is for a watcher with a selector: its type and the object it shows, or nothing.

    An object that a selector begins to match is added, one that it ceases to match is deleted (and shown as it last
    matched).
    """
    after = event.entry is not None and (match is None or match(event.entry))
    before = event.previous is not None and (match is None or match(event.previous))
    if after:
        assert event.entry is not None
        return ("MODIFIED" if before else "ADDED"), event.entry
    if before:
        assert event.previous is not None
        return "DELETED", event.previous
    return None


class Outlet(Protocol):
    """Where a watcher's events go without a task (chunks.py)."""

    @property
    def ready(self) -> bool:
        """Whether the client keeps up."""

    def write(self, pieces: Sequence[bytes]) -> None: ...


class Watcher:
    """One watch: a bounded queue of encoded events, oldest first."""

    __slots__ = (
        "_bytes", "_limit", "_news", "_queue", "began", "cut_off", "due", "exact", "expired", "match", "outlet",
        "revision", "scope", "since", "view",
    )  # fmt: skip

    def __init__(self, scope: Scope, view: View, match: Match | None, limit: int = QUEUE_EVENTS) -> None:
        self.scope, self.view, self.match = scope, view, match
        self.since = 0  # the client knows of everything up to here
        self.revision = 0  # of the latest event that was offered, whether it matched or not, or where it begins
        self.began = False  # it has been told something
        self.exact = not scope.shared and not (scope.node and (scope.namespace or scope.name))  # its bucket says it all
        self.outlet: Outlet | None = None
        self.due = False  # it is on the list of those to be flushed
        self._limit = limit
        self._queue: list[bytes] = []
        self._bytes = 0  # of what is queued
        self._news: asyncio.Future[None] | None = None  # what its task waits for
        self.cut_off = False  # it read too slowly
        self.expired = False  # what it would have to be told is gone

    def offer(self, event: Event) -> None:
        """Queues the event if it is one for this watcher."""
        if event.revision <= self.since:
            return  # the client knows of it: it may be told by one server and watch another, which is a little behind
        self.revision = event.revision
        if self.scope.overlay is not None:
            shown = self.scope.overlay.seen(event)
            if shown is None:
                return
            event = shown
        seen = transition(event, self.match)
        if seen is None or not self.view.shows(event):
            return
        self.push(self.view.frame(seen[0], seen[1], event, first=not self.began))
        self.began = True

    def push(self, frame: bytes) -> None:
        if self._queue and (len(self._queue) >= self._limit or self._bytes + len(frame) > QUEUE_BYTES):
            self.cut_off = True  # the client is too far behind
            self._queue, self._bytes = [], 0
        elif not self.cut_off:
            self._queue.append(frame)
            self._bytes += len(frame)

    def flush(self) -> None:
        """Writes what is queued, or lets its task do so where the client is behind or the task is at it already."""
        if self._news is not None and self.outlet is not None:
            while self._queue and self.outlet.ready:
                self.outlet.write(self._take())
        if self._queue or self.cut_off:
            self._wake()

    def expire(self) -> None:
        """Ends the watch with 410: what it would have to be told is gone."""
        self.expired = True
        self._wake()

    def end(self) -> None:
        """Ends the watch; the client resumes it elsewhere."""
        self.cut_off = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    @property
    def idle(self) -> bool:
        return not self._queue

    async def next(self, timeout: float) -> bytes | None:
        """What is queued, as one piece of some size; None after `timeout` seconds without anything.

        b"" tells that the watch is over: see `cut_off` and `expired`.
        """
        if not self._queue and not self.cut_off and not self.expired:
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            timer = loop.call_later(timeout, self._wake)  # asyncio.timeout would take 700 bytes of each idle watch
            try:
                await self._news
            finally:
                timer.cancel()
                self._news = None
            if not self._queue and not self.cut_off and not self.expired:
                return None
        return b"".join(self._take())

    def _take(self) -> list[bytes]:
        """A piece of what is queued."""
        if self._bytes <= _PIECE_BYTES:
            taken, self._queue, self._bytes = self._queue, [], 0
            return taken
        size = count = 0
        while size < _PIECE_BYTES:
            size += len(self._queue[count])
            count += 1
        taken = self._queue[:count]
        del self._queue[:count]
        self._bytes -= size
        return taken


class Watchers:
    """The index of all watches. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets: dict[Bucket, set[Watcher]] = {}
        self._due: deque[Watcher] = deque()
        self._over = False  # the server stops
        self._scheduled = False
        self._clock = clock
        self._spent = 0.0  # seconds, on those that were due, since there were none

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, watcher: Watcher) -> None:
        """One that comes when the server stops ends with what it is told first."""
        if self._over:
            watcher.end()
        for bucket in watcher.scope.buckets:
            self._buckets.setdefault(bucket, set()).add(watcher)

    def remove(self, watcher: Watcher) -> None:
        for bucket in watcher.scope.buckets:
            watchers = self._buckets.get(bucket, set())
            watchers.discard(watcher)
            if not watchers:
                self._buckets.pop(bucket, None)

    def publish(self, events: Iterable[Event]) -> None:
        for event in events:
            for bucket in _buckets(event):
                for watcher in self._buckets.get(bucket, ()):
                    if watcher.exact or watcher.scope.holds(event):
                        watcher.offer(event)
                        if not watcher.due:
                            watcher.due = True
                            self._due.append(watcher)
            event.frames.clear()  # the log would keep them for long; who resumes a watch makes them again
        if self._due and not self._scheduled:
            self._flush()

    def _flush(self) -> None:
        """Writes to those that are due, a part at a time, and then leaves the others as much time as that took.

        Every write costs about the same, however many events are in it. Without the rest, writing each event by
        itself takes all there is once there are many watchers, and the events queue where they come from.
        """
        began = self._clock()
        for _ in range(min(len(self._due), _AT_ONCE)):
            watcher = self._due.popleft()
            watcher.due = False
            watcher.flush()
        self._spent += self._clock() - began
        if self._due:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._rest()

    def _rest(self) -> None:
        spent, self._spent = self._spent, 0.0
        self._scheduled = spent >= _REST_FROM_SECONDS
        if self._scheduled:
            asyncio.get_running_loop().call_later(min(spent, _REST_MAX_SECONDS), self._flush)

    def expire_all(self) -> None:
        """The log was lost: every watch ends with 410, since it might miss an event."""
        for watcher in self._all():
            watcher.expire()

    def end_all(self) -> None:
        """The server stops. Its clients resume elsewhere, also those whose watches were about to begin."""
        self._over = True
        for watcher in self._all():
            watcher.end()

    def _all(self) -> list[Watcher]:
        return [watcher for watchers in self._buckets.values() for watcher in watchers]
