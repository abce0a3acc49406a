"""Which objects have a label with a value, so that a selector costs what it finds and not what there is.

An index is made of one tenant's objects of one resource when a selector first asks for it, and kept from then on. Who
has labels of all its own (an instance's name) costs one reference each, not a set.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hypernetes.api.selectors import Labels


class Labelled(Protocol):
    """What is indexed."""

    @property
    def key(self) -> str: ...
    @property
    def labels(self) -> Labels: ...


Pair = tuple[str, str]
_Keys = str | set[str]  # one key, or several


@dataclass(slots=True)
class LabelIndex:
    """The indexes of all collections; a collection is a prefix of keys that ends with a slash."""

    collection_of: Callable[[str], str]  # the collection of an object's key
    _collections: dict[str, dict[Pair, _Keys]] = field(default_factory=dict)

    def knows(self, collection: str) -> bool:
        return collection in self._collections

    def build(self, collection: str, entries: Iterable[Labelled]) -> None:
        made: dict[Pair, _Keys] = {}
        for entry in entries:
            _add(made, entry)
        self._collections[collection] = made

    def changed(self, before: Labelled | None, after: Labelled | None) -> None:
        """An object of an indexed collection was written or removed; of others nothing is kept."""
        entry = after or before
        if entry is None or not self._collections:
            return
        index = self._collections.get(self.collection_of(entry.key))
        if index is None or (before and after and before.labels == after.labels):
            return
        if before is not None:
            _remove(index, before)
        if after is not None:
            _add(index, after)

    def find(self, collection: str, label: str, values: Iterable[str]) -> Iterator[str]:
        """The keys, in no order, of what has the label with one of these values."""
        index: Mapping[Pair, _Keys] = self._collections[collection]
        for value in values:
            keys = index.get((label, value), ())
            if isinstance(keys, str):
                yield keys
            else:
                yield from keys

    def clear(self) -> None:
        self._collections.clear()


def _add(index: dict[Pair, _Keys], entry: Labelled) -> None:
    for pair in entry.labels.items():
        keys = index.get(pair)
        if keys is None:
            index[pair] = entry.key
        elif isinstance(keys, str):
            index[pair] = {keys, entry.key}
        else:
            keys.add(entry.key)


def _remove(index: dict[Pair, _Keys], entry: Labelled) -> None:
    for pair in entry.labels.items():
        keys = index.get(pair)
        if isinstance(keys, set):
            keys.discard(entry.key)
            if not keys:
                del index[pair]
        elif keys == entry.key:
            del index[pair]
