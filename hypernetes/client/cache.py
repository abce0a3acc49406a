"""What an informer remembers: each object's bytes and index values; parsed objects only as long as they are in use.

Plain state, no I/O: the informer feeds it, and it says what changed.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
import structlog
from pydantic import ValidationError

from hypernetes.api.object import Object

T = TypeVar("T", bound=Object)
K = TypeVar("K", bound=Hashable)
IndexFunction = Callable[[T], Iterable[str]]

_log = structlog.get_logger(__name__)

# Of the JSON of parsed objects that are kept, in all caches of a process: they take some eight times as much, and the
# garbage collector's time goes by them (a parsed pod is 110 containers, its bytes none).
PARSED_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    data: bytes
    resource_version: str
    indexed: tuple[tuple[str, ...], ...]  # per index, the values under which the object is found
    glimpse: Any = None


@dataclass(frozen=True, slots=True)
class Change(Generic[K]):
    """What one event did. `old` None: the object is new. `new` None: it is gone."""

    key: K
    old: Entry | None
    new: Entry | None


class Parsed:
    """Parsed objects, the latest used ones, up to a size."""

    def __init__(self, limit: int = PARSED_BYTES) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, mark: Hashable) -> Any:
        """None where it isn't kept."""
        found = self._kept.get(mark)
        if found is None:
            return None
        self._kept.move_to_end(mark)
        return found[0]

    def put(self, mark: Hashable, obj: Any, size: int) -> None:
        self.forget(mark)
        self._kept[mark] = obj, size
        self._bytes += size
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def forget(self, mark: Hashable) -> None:
        found = self._kept.pop(mark, None)
        if found is not None:
            self._bytes -= found[1]

    def __len__(self) -> int:
        return len(self._kept)


PARSED = Parsed()


class Cache(Generic[T, K]):
    def __init__(
        self, model: type[T], indexes: Mapping[str, IndexFunction[T]] | None = None, parsed: Parsed = PARSED,
        glimpse: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:  # fmt: skip
        """`glimpse`: of an object in JSON form what is kept beside its bytes, for those who look at thousands."""
        self._glimpse = glimpse
        self._model = model
        self._functions = dict(indexes or {})
        self._entries: dict[K, Entry] = {}
        # Per index: value -> keys. dicts serve as sets that keep their order, for results that don't jump about.
        self._index: dict[str, dict[str, dict[K, None]]] = {name: {} for name in self._functions}
        self._parsed, self._mark = parsed, object()

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

    def glimpses(self, index: str, value: str) -> list[Any]:
        return [self._entries[key].glimpse for key in self._index[index].get(value, ())]

    def parse(self, key: K, entry: Entry) -> T:
        mark = (self._mark, key, entry.resource_version)
        found: T | None = self._parsed.get(mark)
        if found is None:
            found = self._model.from_json(entry.data)
            self._parsed.put(mark, found, len(entry.data))
        return found

    def forget(self, key: K, entry: Entry) -> None:
        """Of a version that nobody will ask for any more: its parsed form is worth more room than most."""
        self._parsed.forget((self._mark, key, entry.resource_version))

    def put(
        self, key: K, data: bytes, resource_version: str, fields: Mapping[str, Any] | None = None
    ) -> Change[K] | None:
        """`fields`: the same as `data`, where it is there anyway. None where this very version is known already.

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
            glimpse = None if self._glimpse is None else self._glimpse(fields or orjson.loads(data))
            entry = Entry(data, resource_version, indexed, glimpse)
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

    def replace(self, objects: dict[K, tuple[bytes, str]]) -> Iterator[Change[K] | None]:
        """Makes this (data and resource version per key) the whole content, an object at each step, so that whoever
        goes through them may rest in between. What is gone is told first. Uses `objects` up."""
        for key in self._entries.keys() - objects.keys():
            yield self.remove(key)
        for key in list(objects):
            data, version = objects.pop(key)
            yield self.put(key, data, version)

    def as_new(self, concerned: Callable[[K], bool]) -> Iterator[Change[K]]:
        """What is there, as if it had just come."""
        for key in [key for key in self._entries if concerned(key)]:
            entry = self._entries.get(key)
            if entry is not None:
                yield Change(key, None, entry)

    def keep(self, accepted: Callable[[K], bool]) -> None:
        """Drops all else."""
        for key in [key for key in self._entries if not accepted(key)]:
            self.remove(key)

    def _unindex(self, key: K, entry: Entry | None) -> None:
        if entry is None:
            return
        for buckets, values in zip(self._index.values(), entry.indexed, strict=True):
            for value in values:
                bucket: dict[K, Any] = buckets[value]
                bucket.pop(key, None)
                if not bucket:
                    del buckets[value]
