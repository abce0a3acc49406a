"""What an informer remembers: each object's bytes and index values; parsed objects only as long as they are in use.

Plain state, no I/O: the informer feeds it, and it says what changed.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from pydantic import ValidationError

from hypernetes.api.object import Object

T = TypeVar("T", bound=Object)
K = TypeVar("K", bound=Hashable)
IndexFunction = Callable[[T], Iterable[str]]

_log = structlog.get_logger(__name__)

PARSED_LIMIT = 4096  # parsed objects kept per informer; a parsed pod takes some 20 kB, its bytes 3


@dataclass(frozen=True, slots=True)
class Entry:
    data: bytes
    resource_version: str
    indexed: tuple[tuple[str, ...], ...]  # per index, the values under which the object is found


@dataclass(frozen=True, slots=True)
class Change(Generic[K]):
    """What one event did. `old` None: the object is new. `new` None: it is gone."""

    key: K
    old: Entry | None
    new: Entry | None


class Cache(Generic[T, K]):
    def __init__(
        self, model: type[T], indexes: Mapping[str, IndexFunction[T]] | None = None, parsed_limit: int = PARSED_LIMIT
    ) -> None:
        self._model = model
        self._functions = dict(indexes or {})
        self._entries: dict[K, Entry] = {}
        # Per index: value -> keys. dicts serve as sets that keep their order, for results that don't jump about.
        self._index: dict[str, dict[str, dict[K, None]]] = {name: {} for name in self._functions}
        self._parsed: OrderedDict[tuple[K, str], T] = OrderedDict()
        self._parsed_limit = parsed_limit

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def keys(self) -> list[K]:
        return list(self._entries)

    def items(self) -> Iterator[tuple[K, T]]:
        for key, entry in list(self._entries.items()):
            yield key, self.parse(key, entry)

    def get(self, key: K) -> T | None:
        entry = self._entries.get(key)
        return None if entry is None else self.parse(key, entry)

    def index_keys(self, index: str, value: str) -> list[K]:
        return list(self._index[index].get(value, ()))

    def index_size(self, index: str, value: str) -> int:
        return len(self._index[index].get(value, ()))

    def by_index(self, index: str, value: str) -> list[T]:
        return [self.parse(key, self._entries[key]) for key in self._index[index].get(value, ())]

    def parse(self, key: K, entry: Entry) -> T:
        mark = (key, entry.resource_version)
        found = self._parsed.get(mark)
        if found is None:
            found = self._parsed[mark] = self._model.from_json(entry.data)
            if len(self._parsed) > self._parsed_limit:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(mark)
        return found

    def forget(self, key: K, entry: Entry) -> None:
        """Of a version that nobody will ask for any more: its parsed form is worth more room than most."""
        self._parsed.pop((key, entry.resource_version), None)

    def put(self, key: K, data: bytes, resource_version: str) -> Change[K] | None:
        """None where this very version is known already.

        An object that the model can't read is left out, and gone if it was there: whatever somebody has got into one
        object must not end a process that works for all tenants.
        """
        old = self._entries.get(key)
        if old is not None and old.resource_version == resource_version:
            return None
        entry = Entry(data, resource_version, ())
        if self._functions:
            try:
                obj = self.parse(key, entry)
            except ValidationError as error:
                _log.error("an object can't be read", key=str(key), kind=self._model.KIND, error=str(error))
                return self.remove(key)
            # Interned: thousands of objects have the same values.
            indexed = tuple(tuple(map(sys.intern, function(obj))) for function in self._functions.values())
            entry = Entry(data, resource_version, indexed)
        self._unindex(key, old)
        self._entries[key] = entry
        for buckets, values in zip(self._index.values(), entry.indexed, strict=False):
            for value in values:
                buckets.setdefault(value, {})[key] = None
        return Change(key, old, entry)

    def remove(self, key: K) -> Change[K] | None:
        old = self._entries.pop(key, None)
        if old is None:
            return None
        self._unindex(key, old)
        return Change(key, old, None)

    def replace(self, objects: Mapping[K, tuple[bytes, str]]) -> list[Change[K]]:
        """Makes this (data and resource version per key) the whole content. What is gone is told first."""
        removed = [self.remove(key) for key in self._entries.keys() - objects.keys()]
        changed = [self.put(key, data, version) for key, (data, version) in objects.items()]
        return [change for change in (*removed, *changed) if change is not None]

    def _unindex(self, key: K, entry: Entry | None) -> None:
        if entry is None:
            return
        for buckets, values in zip(self._index.values(), entry.indexed, strict=True):
            for value in values:
                bucket: dict[K, Any] = buckets[value]
                bucket.pop(key, None)
                if not bucket:
                    del buckets[value]
