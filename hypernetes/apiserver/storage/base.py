"""What the API server asks of a store, and what it may rely on.

A store is one ordered map, key -> (value, revision of its last write), with one revision counter for everything in it.
Every successful write takes the next revision; a transaction takes one (none if it changes nothing, such as a side
write that deletes an absent key). Revisions start above 0 and never go back, also across restarts. A revision that
isn't reached yet, an update from revision 0, or one key twice in a transaction is a caller's bug: ValueError.
`tests/integration/storage/` holds every implementation to this.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """Base of what a store raises on purpose. Anything else is a bug."""


class KeyExists(StoreError):
    """A create found the key taken; `key` says which (the object's, or a side write's)."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key {key} exists")
        self.key = key


class RevisionMismatch(StoreError):
    """The key is not at the expected revision; `current` is what is there now (None: nothing)."""

    def __init__(self, key: str, current: "Item | None") -> None:
        super().__init__(f"key {key} is at revision {current.revision if current else 'none'}")
        self.key, self.current = key, current


class Compacted(StoreError):
    """The revision asked for is no longer kept; `oldest` is the first that is."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"history before revision {oldest} is gone")
        self.oldest = oldest


class ValueTooLarge(StoreError):
    """The value is over what the store takes in one request."""


class Unavailable(StoreError):
    """The store does not answer. The write may or may not have happened."""


class CannotOpen(StoreError):
    """The store can't be used: in use by another process, damaged, not ours. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    key: str
    value: bytes
    revision: int  # of the key's last write


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Item]
    revision: int  # at which the whole page was read
    next_key: str | None  # where the following page starts; None on the last one


@dataclass(frozen=True, slots=True)
class SideWrite:
    """A write of an internal key that happens with the object's, or not at all (an address claim, a quota's usage).

    `expected` is the revision the key must be at: 0 means it must not exist, None doesn't care.
    `value` None deletes the key.
    """

    key: str
    value: bytes | None
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One key's part of a revision, as a watch tells it."""

    key: str
    revision: int
    value: bytes | None  # None: deleted
    previous: Item | None  # what was there before; None: created


class Store(Protocol):
    async def get(self, key: str, *, revision: int | None = None) -> Item | None:
        """The item, at `revision` or now. Linearizable without `revision`. Raises Compacted."""

    async def create(self, key: str, value: bytes, *, also: Sequence[SideWrite] = ()) -> int:
        """Writes a key that must not exist; returns the revision.

        Raises KeyExists, RevisionMismatch (of a side write).
        """

    async def update(self, key: str, value: bytes, expected: int, *, also: Sequence[SideWrite] = ()) -> int:
        """Replaces the value of a key that must be at revision `expected`. Raises RevisionMismatch, KeyExists."""

    async def delete(self, key: str, expected: int, *, also: Sequence[SideWrite] = ()) -> int:
        """Removes a key that must be at revision `expected`; returns the revision of the removal."""

    async def write(self, also: Sequence[SideWrite]) -> int:
        """Writes internal keys alone, in one transaction."""

    async def revision(self) -> int:
        """The revision of the latest write that was acknowledged before this call, or a later one."""

    def known_revision(self) -> int | None:
        """What `revision()` would answer, where that is known without waiting; None where others write, too."""

    def watch(self, prefix: str, after: int) -> AsyncIterator[list[Change]]:
        """Every change with a revision above `after`, each revision whole and once, in order; never ends by itself.

        Raises Compacted where history doesn't reach back to `after`, and Unavailable when the store went away and a
        reconnect couldn't continue without a gap.
        """

    async def compact(self, revision: int) -> None:
        """Forgets history before `revision`; current values stay. Later reads below it raise Compacted."""

    async def close(self) -> None:
        """Releases everything; nothing acknowledged is lost. Idempotent."""

    async def list(self, prefix: str, *, limit: int = 0, start: str | None = None, revision: int | None = None) -> Page:
        """Items whose key begins with `prefix`, in byte order of the keys, from key `start` (inclusive) on.

        `limit` 0 means all. Raises Compacted.
        """
