"""The whole key space of the cluster in memory: what every read reads and every watch watches.

One watch on the store feeds it (follower.py). It keeps an ordered map, key -> entry, and a bounded log of the latest
events with the entries before and after, so that it can also answer for a little while ago: a later page of a list is
today's map with the log undone back to the page's revision.

Nothing here does I/O: the owner calls `load()` once and `apply()` for every change after that.
"""

import asyncio
import heapq
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from sortedcontainers import SortedDict

from hypernetes.api.scheme import Resource
from hypernetes.api.selectors import Labels, Requirement
from hypernetes.apiserver import codec
from hypernetes.apiserver import keys as keyspace
from hypernetes.apiserver.interning import MAX_PIECE_BYTES, Interner
from hypernetes.apiserver.keys import Keys, ObjectKey
from hypernetes.apiserver.labelindex import LabelIndex
from hypernetes.apiserver.registry import fields
from hypernetes.apiserver.storage.base import Change, Item

_LOG_BYTES = 48 * 1024 * 1024  # a minute and more of 200 pods a second; a fifth of what the server takes with 10,000


class HistoryGone(Exception):
    """The log doesn't reach back to the revision asked for."""


class Entry:
    """One key's value at the revision of its last write. Labels and fields are read from the bytes when first asked.

    There are many of them, of which few are ever asked anything: what can be made of key and data isn't there before.
    """

    __slots__ = ("__weakref__", "_index", "_views", "data", "key", "managed", "revision")
    stored = True  # False: implied by another object

    def __init__(self, key: str, revision: int, data: bytes, managed: tuple[bytes, ...] = ()) -> None:
        self.key, self.revision, self.data = key, revision, data
        self.managed = managed  # pieces of the array of who manages what, which `data` is without
        self._views: dict[object, bytes] | None = None
        self._index: tuple[Labels, Labels] | None = None

    @classmethod
    def of(cls, item: Item, interner: Interner) -> "Entry":
        """The entry of what the store holds."""
        data, managed = codec.split(item.value)
        return cls(item.key, item.revision, data, interner.pieces(managed))

    @property
    def size(self) -> int:
        """Bytes, managers included."""
        return len(self.data) + sum(map(len, self.managed))

    @property
    def own_size(self) -> int:
        """Bytes that it doesn't share with others."""
        return len(self.data) + sum(len(piece) for piece in self.managed if len(piece) > MAX_PIECE_BYTES)

    @property
    def name(self) -> ObjectKey | None:
        """None: an internal key."""
        return keyspace.parse(self.key)

    @property
    def views(self) -> dict[object, bytes]:
        """Other forms of the object, made on first read."""
        if self._views is None:
            self._views = {}
        return self._views

    @property
    def labels(self) -> Labels:
        return self._indexed()[0]

    @property
    def fields(self) -> Labels:
        """What field selectors see, by path (`spec.nodeName`)."""
        return self._indexed()[1]

    @property
    def node(self) -> str:
        """`spec.nodeName`, of kinds that have it: of each new pod it is asked, which names none and so isn't parsed."""
        return self.fields.get("spec.nodeName", "") if b'"nodeName":' in self.data else ""

    def _indexed(self) -> tuple[Labels, Labels]:
        if self._index is None:
            obj = orjson.loads(self.data)
            name = self.name
            found = {} if name is None else fields.of(name.group, name.resource, obj)
            self._index = (obj.get("metadata", {}).get("labels") or {}, found)
        return self._index


@dataclass(slots=True)
class Event:
    """One object's change: `entry` None means deleted, `previous` None created."""

    revision: int
    entry: Entry | None
    previous: Entry | None
    frames: dict[object, bytes] = field(default_factory=dict)  # what watchers get, by representation
    _name: ObjectKey | None = None

    @property
    def name(self) -> ObjectKey:
        name = self._name
        if name is None:  # asked by each observer, so made once
            name = self._name = (self.entry or self.previous).name  # type: ignore[union-attr]  # one of them is there
            assert name is not None
        return name

    @property
    def key(self) -> str:
        return (self.entry or self.previous).key  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Page:
    entries: list[Entry]
    revision: int
    next_key: str | None  # where the following page starts
    remaining: int | None  # how many come after it; None where a selector would make that a guess


Match = Callable[[Entry], bool]


class Implying(Protocol):
    """Objects that are there because others are (implied.py)."""

    def implies(self, key: str) -> bool:
        """Whether the object of this key may imply others."""

    def of(self, source: Entry) -> Iterator[Entry]:
        """What an object implies as it is now."""

    def source(self, key: str) -> str | None:
        """The key of what may imply the object of this key; None of what nothing implies."""

    def entry(self, key: str, source: Entry) -> Entry | None:
        """What an object implies under this key."""


def _size(event: Event) -> int:
    return event.entry.own_size if event.entry is not None and event.entry.stored else 0


class Mirror:
    """See the module's docstring. The log is bounded by twice `log_events`, and by the bytes of its objects.

    What is `implied` stands in the map and in the log as if it were stored, at the revision of what implies it.
    """

    def __init__(
        self, keys: Keys, *, log_events: int = 20_000, log_bytes: int = _LOG_BYTES, implied: Implying | None = None
    ) -> None:
        self.keys, self._implied = keys, implied
        self.revision = 0
        self._entries: SortedDict = SortedDict()
        self.interner = Interner()
        self._labels = LabelIndex(keys.collection)
        self._log: list[Event] = []
        self._log_revisions: list[int] = []
        self._log_limit, self._log_bytes_limit = log_events, log_bytes
        self._log_bytes = 0  # of the objects as they were written
        self._floor = 0  # the log holds every event after this revision
        self._waiting: list[tuple[int, int, asyncio.Future[Any]]] = []
        self._ticket = itertools.count()

    def load(self, items: Iterable[Item], revision: int) -> None:
        """Replaces everything by what the store held at `revision`; there is no history before that."""
        self.take((Entry.of(item, self.interner) for item in items), revision)

    def take(self, stored: Iterable[Entry], revision: int) -> None:
        """As `load`, for whoever makes the entries while the store is still being read."""
        entries = {entry.key: entry for entry in stored}
        if self._implied is not None:
            for source in [entry for key, entry in entries.items() if self._implied.implies(key)]:
                for entry in self._implied.of(source):
                    entries.setdefault(entry.key, entry)
        self._entries = SortedDict(entries)
        self._labels.clear()
        self._log, self._log_revisions, self._floor, self._log_bytes = [], [], revision, 0
        self._reached(revision)

    def apply(self, changes: Iterable[Change]) -> list[Event]:
        """Takes in whole revisions, in order; returns the events of API objects."""
        events = []
        revision, internal = self.revision, self.keys.internal("")
        for change in changes:
            revision = change.revision
            if not change.key.startswith(self.keys.root):
                continue
            previous = self._entries.get(change.key)
            entry = None
            if change.value is not None:
                entry = Entry.of(Item(change.key, change.value, change.revision), self.interner)
            elif previous is None or not previous.stored:
                continue
            elif self._implied is not None:
                entry = self._implied_at(change.key)
            event = self._put(change.revision, entry, previous)
            if change.key.startswith(internal):
                continue
            events.append(event)
            if self._implied is not None and self._implied.implies(change.key):
                events += self._imply(self._implied, change.revision, previous, entry)
        self._trim()
        self._reached(revision)
        return events

    def _put(self, revision: int, entry: Entry | None, previous: Entry | None) -> Event:
        event = Event(revision, entry, previous)
        if entry is None:
            del self._entries[event.key]
        else:
            self._entries[entry.key] = entry
        self._log.append(event)
        self._log_bytes += _size(event)
        self._log_revisions.append(revision)
        self._labels.changed(previous, entry)
        return event

    def _imply(self, implied: Implying, revision: int, before: Entry | None, after: Entry | None) -> Iterator[Event]:
        """What the change of an object means for those that it implies: of other kinds, so that no watch sees two."""
        former = {} if before is None else {entry.key: entry for entry in implied.of(before)}
        present = {} if after is None else {entry.key: entry for entry in implied.of(after)}
        for key in former | present:
            previous = self._entries.get(key)
            if previous is None or not previous.stored:
                yield self._put(revision, present.get(key), previous)

    def _implied_at(self, key: str) -> Entry | None:
        """What takes the place of a stored object that is removed."""
        assert self._implied is not None
        source_key = self._implied.source(key)
        source = None if source_key is None else self.get(source_key)
        return None if source is None else self._implied.entry(key, source)

    def get(self, key: str) -> Entry | None:
        entry: Entry | None = self._entries.get(key)
        return entry

    def object(self, resource: Resource, tenant: str, namespace: str, name: str) -> Entry | None:
        return self.get(self.keys.of(resource, tenant, namespace, name))

    def range(self, prefix: str, start: str | None = None) -> Iterator[Entry]:
        """The entries whose key begins with `prefix`, in order. Not to be held across an await."""
        keys = self._entries.irange(start or prefix, keyspace.range_end(prefix), inclusive=(True, False))
        return (self._entries[key] for key in keys)

    def page(
        self, prefix: str, *, limit: int = 0, start: str | None = None, revision: int | None = None,
        match: Match | None = None, having: Requirement | None = None,
    ) -> Page:  # fmt: skip
        """One page of a range, now or as it was at `revision`; `limit` 0 means all.

        `having` is a label that whatever matches must have, where there is one: it says where to look. Raises
        HistoryGone where the log doesn't reach back to `revision`.
        """
        undone = {} if revision is None or revision == self.revision else self._undone(prefix, revision)
        start = start or prefix
        present = self.range(prefix, start) if having is None else self._labelled(prefix, start, having)
        found: list[Entry] = []
        for entry in _as_of(present, start, undone):
            if match is not None and not match(entry):
                continue
            if limit and len(found) == limit:
                remaining = None if match else self._count(prefix, entry.key, undone)
                return Page(found, revision or self.revision, entry.key, remaining)
            found.append(entry)
        return Page(found, revision or self.revision, None, None)

    def at(self, key: str, revision: int) -> Entry | None:
        """The entry of one key as it was at `revision`. Raises HistoryGone."""
        for event in self.since(revision):
            if event.key == key:
                return event.previous
        return self.get(key)

    def since(self, revision: int) -> Iterator[Event]:
        """The events after `revision`, oldest first, internal keys' too. Raises HistoryGone."""
        if revision < self._floor:
            raise HistoryGone
        return itertools.islice(self._log, bisect_right(self._log_revisions, revision), None)

    def count(self, prefix: str) -> int:
        """How many entries a range has."""
        return self._count(prefix, prefix, {})

    async def wait_for(self, revision: int) -> None:
        """Returns when the mirror has reached `revision`; the caller brings the deadline."""
        if revision <= self.revision:
            return
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.resolve([future], revision)
        await future

    def resolve(self, futures: Iterable[asyncio.Future[Any]], revision: int) -> None:
        """Sets the futures to None when the mirror has reached `revision`."""
        for future in futures:
            if revision > self.revision:
                heapq.heappush(self._waiting, (revision, next(self._ticket), future))
            elif not future.done():
                future.set_result(None)

    def _undone(self, prefix: str, revision: int) -> dict[str, Entry | None]:
        """The keys of a range that changed after `revision`, with what was there at it."""
        before: dict[str, Entry | None] = {}
        for event in self.since(revision):
            if event.key.startswith(prefix):
                before.setdefault(event.key, event.previous)
        return before

    def _labelled(self, prefix: str, start: str, having: Requirement) -> Iterator[Entry]:
        """The entries of a range that have a label with one of the values, in order."""
        collection = self.keys.collection(prefix)
        if not collection:
            return self.range(prefix, start)  # of several tenants
        if not self._labels.knows(collection):
            self._labels.build(collection, self.range(collection))
        keys = self._labels.find(collection, having.key, having.values)
        wanted = sorted(key for key in keys if key >= start and key.startswith(prefix))
        return map(self._entries.__getitem__, wanted)

    def _count(self, prefix: str, start: str, undone: dict[str, Entry | None]) -> int:
        """How many entries there were from `start` on."""
        now = self._entries.bisect_left(keyspace.range_end(prefix)) - self._entries.bisect_left(start)
        changed = ((before is not None) - (key in self._entries) for key, before in undone.items() if key >= start)
        return int(now + sum(changed))

    def _trim(self) -> None:
        """Forgets the older half where the log is over its bounds."""
        surplus = 0
        if len(self._log) > 2 * self._log_limit:
            surplus = len(self._log) - self._log_limit
        elif self._log_bytes > self._log_bytes_limit:
            held = itertools.accumulate(map(_size, self._log))
            surplus = 1 + next(index for index, size in enumerate(held) if 2 * size >= self._log_bytes)
        if surplus:
            # cut between revisions, never inside one
            cut = bisect_right(self._log_revisions, self._log_revisions[surplus - 1])
            self._floor = self._log_revisions[cut - 1]
            self._log_bytes -= sum(map(_size, self._log[:cut]))
            del self._log[:cut], self._log_revisions[:cut]

    def _reached(self, revision: int) -> None:
        self.revision = revision
        while self._waiting and self._waiting[0][0] <= revision:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)


def _as_of(present: Iterator[Entry], start: str, undone: dict[str, Entry | None]) -> Iterator[Entry]:
    """A range with what changed since a revision put back as it was."""
    if not undone:
        return present
    unchanged = (entry for entry in present if entry.key not in undone)
    restored = sorted((e for e in undone.values() if e is not None and e.key >= start), key=lambda e: e.key)
    return heapq.merge(unchanged, restored, key=lambda entry: entry.key)
