"""Writes: every change of an object is a compare-and-swap on the revision it was decided from.

What to write is decided by plain functions (`registry/`, `deletion.py`); here is the loop around them that reads,
writes and, where somebody else was faster, decides again.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError, already_exists, conflict, not_found
from hypernetes.apiserver import codec
from hypernetes.apiserver.keys import Keys, parse
from hypernetes.apiserver.mirror import Entry, Implying, Mirror
from hypernetes.apiserver.storage.base import (
    KeyExists,
    RevisionMismatch,
    SideWrite,
    Store,
    StoreError,
    Unavailable,
    ValueTooLarge,
)

Object = dict[str, Any]

_ATTEMPTS = 30  # of one request against writers that are faster each time


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies."""

    resource: Resource
    tenant: str
    namespace: str
    name: str


class Stored(Object):
    """An object as the store has it, with its resourceVersion; beside it, who manages what of it (fieldmanagement)."""

    __slots__ = ("managed",)
    managed: bytes

    @classmethod
    def of(cls, entry: Entry) -> "Stored":
        stored = cls(codec.decode(entry.data, entry.revision))
        stored.managed = b"".join(entry.managed)
        return stored


@dataclass(frozen=True, slots=True)
class Put:
    """Write this object, and these internal keys with it.

    `managed` says who manages what of it, as `fieldmanagement.entries.dump` does; None leaves that as it is.
    """

    obj: Object
    also: Sequence[SideWrite] = ()
    managed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the object, and write these internal keys with it.

    `last` is what the client is shown, of a change that wasn't written since it ended the object: so at the revision
    the object had.
    """

    also: Sequence[SideWrite] = ()
    last: Object | None = None


Decision = Put | Remove
# Decides from the object as it is (None: it isn't there). Raises StatusError.
Decide = Callable[[Stored | None], Decision]


class ClaimTaken(Exception):
    """A claim that was to be made with the object is somebody else's."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is taken")
        self.key = key


@dataclass(frozen=True, slots=True)
class Written:
    """The object as it is now; after a removal, as it last was."""

    entry: Entry
    created: bool = False
    removed: bool = False


class Objects:
    def __init__(self, store: Store, mirror: Mirror, keys: Keys, implied: Implying) -> None:
        self._store, self._mirror, self._keys, self._implied = store, mirror, keys, implied

    async def create(
        self, place: Place, obj: Object, managed: bytes = b"", *, also: Sequence[SideWrite] = (), dry_run: bool = False
    ) -> Written:
        """Raises StatusError (AlreadyExists), ClaimTaken."""
        key, data = self._key(place), codec.encode(obj)
        try:
            if dry_run:
                if await self._read(key) is not None:
                    raise KeyExists(key)
                revision = 0
            elif self._implied.source(key) is not None and await self._read(key) is not None:
                raise KeyExists(key)
            else:
                revision = await self._together(partial(self._store.create, key, codec.join(data, managed)), also)
        except (KeyExists, RevisionMismatch) as error:
            if error.key != key:
                raise ClaimTaken(error.key) from error
            raise already_exists(place.resource.group_resource, place.name) from error
        except (ValueTooLarge, Unavailable) as error:
            raise _translated(error) from error
        return Written(_entry(key, revision, data, managed), created=True)

    async def change(self, place: Place, decide: Decide, *, dry_run: bool = False) -> Written:
        """Reads, decides, writes; again where another writer came between. Raises StatusError, ClaimTaken.

        It first decides from the mirror, which may be a little behind; that there is an error, or nothing to write,
        counts only if it follows from what the store holds, too.
        """
        key = self._key(place)
        current = self._mirror.get(key)
        certain = False
        try:
            if current is None:
                current, certain = await self._read(key), True
            for _ in range(_ATTEMPTS):
                try:
                    decision = decide(None if current is None else Stored.of(current))
                except StatusError:
                    fresh = current if certain else await self._read(key)
                    if certain or _revision(fresh) == _revision(current):
                        raise
                    current, certain = fresh, True
                    continue
                try:
                    written = await self._carry_out(key, decision, current, dry_run, certain=certain)
                    if written is not None:
                        return written
                    current, certain = await self._read(key), True
                except (RevisionMismatch, KeyExists) as error:
                    if error.key != key:
                        raise ClaimTaken(error.key) from error
                    current, certain = await self._read(key), True
        except (ValueTooLarge, Unavailable) as error:
            raise _translated(error) from error
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(place.resource.group_resource, place.name, why)

    async def _read(self, key: str) -> Entry | None:
        """What the store holds, or what follows from it."""
        item = await self._store.get(key)
        if item is not None:
            return Entry.of(item, self._mirror.interner)
        source_key = self._implied.source(key)
        source = None if source_key is None else await self._store.get(source_key)
        if source is None:
            return None
        return self._implied.entry(key, Entry.of(source, self._mirror.interner))

    async def _carry_out(
        self, key: str, decision: Decision, current: Entry | None, dry_run: bool, *, certain: bool
    ) -> Written | None:
        """None where nothing seems to change, but it isn't `certain` that `current` is what the store holds."""
        if isinstance(decision, Remove):
            assert current is not None
            revision = current.revision
            if not dry_run:
                if not current.stored:
                    raise RevisionMismatch(key, None)  # what implies it is about to end
                revision = await self._together(partial(self._store.delete, key, current.revision), decision.also)
            if decision.last is not None:
                return Written(Entry(key, current.revision, codec.encode(decision.last), current.managed), removed=True)
            return Written(Entry(key, revision, current.data, current.managed), removed=True)
        before = b"" if current is None else b"".join(current.managed)
        managed = before if decision.managed is None else decision.managed
        data = codec.encode(decision.obj)
        value = codec.join(data, managed)
        if current is None:
            revision = 0 if dry_run else await self._together(partial(self._store.create, key, value), decision.also)
            return Written(_entry(key, revision, data, managed), created=True)
        same = not dry_run and managed == before and _same(data, current.data)
        if same and not certain:
            return None
        if dry_run or same:
            return Written(_entry(key, current.revision, data, managed))
        if current.stored:
            write = partial(self._store.update, key, value, current.revision)
        else:
            write = partial(self._store.create, key, value)
        return Written(_entry(key, await self._together(write, decision.also), data, managed))

    async def _together(self, write: Callable[..., Awaitable[int]], also: Sequence[SideWrite]) -> int:
        """Writes with an object what belongs to it. Two objects of one kind never share a revision, since a watch that
        is resumed between them would lose one: what is a second one's is made before, and removed after.

        Who is killed in between leaves an object too many, which claimrepair.py finds.
        """
        if len(also) < 2:
            return await write(also=also)
        before, within, after = self._phases(also)
        made = []
        try:
            for each in before:
                made.append((each.key, await self._store.write([each])))
            revision = await write(also=within)
        except (KeyExists, RevisionMismatch, ValueTooLarge):  # where the outcome isn't known, they stay
            for key, revision in made:
                with suppress(StoreError):
                    await self._store.delete(key, revision)
            raise
        for each in after:
            with suppress(StoreError):
                await self._store.write([each])
        return revision

    def _phases(self, also: Sequence[SideWrite]) -> tuple[list[SideWrite], list[SideWrite], list[SideWrite]]:
        """What is written before the object, with it, and after it."""
        before, within, after = list[SideWrite](), list[SideWrite](), list[SideWrite]()
        kinds = set[str]()
        for each in also:
            kind = "" if parse(each.key) is None else self._keys.collection(each.key)
            if not kind or kind not in kinds:
                within.append(each)
            elif each.value is None:
                after.append(each)
            else:
                before.append(each)
            kinds.add(kind)
        return before, within, after

    def _key(self, place: Place) -> str:
        return self._keys.of(place.resource, place.tenant, place.namespace, place.name)


def _same(new: bytes, old: bytes) -> bool:
    """Whether nothing changes; clients send keys in an order of their own."""
    return new == old or (len(new) == len(old) and orjson.loads(new) == orjson.loads(old))


def missing(place: Place) -> StatusError:
    return not_found(place.resource.group_resource, place.name)


def _entry(key: str, revision: int, data: bytes, managed: bytes) -> Entry:
    return Entry(key, revision, data, (managed,) if managed else ())


def _revision(current: Entry | None) -> int | None:
    return None if current is None else current.revision


def _translated(error: ValueTooLarge | Unavailable) -> StatusError:
    if isinstance(error, ValueTooLarge):
        return StatusError("RequestEntityTooLarge", "the object is too large for the store")
    return StatusError("ServiceUnavailable", "the store does not answer; the write may or may not have happened")
