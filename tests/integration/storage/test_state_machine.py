"""Random histories of calls on each store, beside a dictionary that says what must come of them.

HYPERNETES_SOAK=N runs N times as many and longer histories.
"""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hypernetes.apiserver.storage.base import (
    Change,
    Compacted,
    Item,
    KeyExists,
    RevisionMismatch,
    SideWrite,
    Store,
    StoreError,
)
from hypernetes.apiserver.storage.keyspace import is_lease, may_hold_leases
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.apiserver.storage.sqlite import SqliteStore
from tests.integration.storage.etcd_process import EtcdProcess
from tests.integration.storage.watching import Watcher

T = TypeVar("T")
_SOAK = int(os.environ.get("HYPERNETES_SOAK", "1"))
_SETTINGS = settings(
    max_examples=15 * _SOAK,
    stateful_step_count=40 * min(_SOAK, 4),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=_SOAK == 1,
    database=None,
)
_roots = itertools.count(1)

_LEASES = "coordination.k8s.io/leases/t/"
NAMES = st.sampled_from(["core/pods/t/a", "core/pods/t/b", "core/pods/t/b-c", "core/x", _LEASES + "n1", _LEASES + "n2"])
PREFIXES = st.sampled_from(["", "core/", "core/pods/t/b", _LEASES, "coordination.k8s.io/other/"])
VALUES = st.binary(max_size=8)
STALENESS = st.sampled_from([0, 0, 0, 1, -1])  # added to the right revision: mostly right
BACK = st.integers(0, 12)  # how many revisions ago


class Model:
    """The store as a dictionary per revision."""

    def __init__(self, revision: int) -> None:
        self.first = self.revision = revision
        self.changes: list[Change] = []
        self.at: dict[int, dict[str, Item]] = {revision: {}}
        self.compacted = 0
        self.lease_floor = 0

    @property
    def now(self) -> dict[str, Item]:
        return self.at[self.revision]

    def apply(self, writes: list[SideWrite]) -> int | type[StoreError]:
        """The revision that `writes` make, or the error they meet."""
        for write in writes:
            current = self.now.get(write.key)
            if write.expected is not None and write.expected != (current.revision if current else 0):
                return KeyExists if write.expected == 0 else RevisionMismatch
        changes = [
            Change(write.key, self.revision + 1, write.value, self.now.get(write.key))
            for write in writes
            if write.value is not None or write.key in self.now
        ]
        if changes:
            after = dict(self.now)
            self.revision += 1
            for change in changes:
                if change.value is None:
                    del after[change.key]
                else:
                    after[change.key] = Item(change.key, change.value, self.revision)
            self.at[self.revision] = after
            self.changes += changes
        return self.revision

    def oldest(self, leases: bool) -> int:
        return max(self.compacted, self.lease_floor) if leases else self.compacted

    def restart(self) -> None:
        """Of an embedded store: it forgets how Leases were."""
        self.lease_floor = max((change.revision for change in self.changes if is_lease(change.key)), default=0)


class StoreMachine(RuleBasedStateMachine):
    """Rules for any store; the classes below say which."""

    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.root = f"/hypernetes/m{next(_roots)}/"
        self.store: Store = self.run(self.open())
        self.model = Model(self.run(self.store.revision()))
        self.watchers: list[Watcher] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(coroutine, 60))

    async def open(self) -> Store:
        raise NotImplementedError

    def teardown(self) -> None:
        self.run(self.check_watchers())
        self.run(self.stop())

    async def stop(self) -> None:
        for watcher in self.watchers:
            await watcher.stop()
        self.watchers.clear()
        await self.store.close()

    def attempt(self, coroutine: Coroutine[Any, Any, int], writes: list[SideWrite]) -> None:
        expected = self.model.apply(writes)
        try:
            outcome: int | type[StoreError] = self.run(coroutine)
        except StoreError as error:
            outcome = type(error)
        assert outcome == expected

    def expected(self, key: str, off: int) -> int:
        """The key's revision, or one that is `off` beside it."""
        current = self.model.now.get(key)
        return max(1, (current.revision if current else self.model.revision) + off)

    def side(self, names: dict[str, bytes | None], main: str | None) -> list[SideWrite]:
        return [SideWrite(self.root + name, value) for name, value in names.items() if name != main]

    @initialize()
    def start(self) -> None:
        assert self.run(self.store.list(self.root)).items == []

    @rule(name=NAMES, value=VALUES, also=st.dictionaries(NAMES, st.none() | VALUES, max_size=3))
    def create(self, name: str, value: bytes, also: dict[str, bytes | None]) -> None:
        key, side = self.root + name, self.side(also, name)
        self.attempt(self.store.create(key, value, also=side), [SideWrite(key, value, 0), *side])

    @rule(name=NAMES, value=VALUES, off=STALENESS, also=st.dictionaries(NAMES, st.none() | VALUES, max_size=2))
    def update(self, name: str, value: bytes, off: int, also: dict[str, bytes | None]) -> None:
        key, side = self.root + name, self.side(also, name)
        expected = self.expected(key, off)
        self.attempt(self.store.update(key, value, expected, also=side), [SideWrite(key, value, expected), *side])

    @rule(name=NAMES, off=STALENESS)
    def delete(self, name: str, off: int) -> None:
        key = self.root + name
        expected = self.expected(key, off)
        self.attempt(self.store.delete(key, expected), [SideWrite(key, None, expected)])

    @rule(names=st.dictionaries(NAMES, st.tuples(st.none() | VALUES, st.sampled_from([None, 0])), max_size=4))
    def write(self, names: dict[str, tuple[bytes | None, int | None]]) -> None:
        writes = [SideWrite(self.root + name, value, expected) for name, (value, expected) in names.items()]
        self.attempt(self.store.write(writes), writes)

    @rule(names=st.lists(NAMES, min_size=2, max_size=8))
    def write_concurrently(self, names: list[str]) -> None:
        """All start from what is there now; of those that name one key, one wins."""
        attempts = []
        for n, name in enumerate(names):
            key = self.root + name
            current = self.model.now.get(key)
            attempts.append(SideWrite(key, str(n).encode(), current.revision if current else 0))

        async def all_at_once() -> list[int | BaseException]:
            return await asyncio.gather(*(self.store.write([write]) for write in attempts), return_exceptions=True)

        outcomes = self.run(all_at_once())
        won = sorted((outcome, n) for n, outcome in enumerate(outcomes) if isinstance(outcome, int))
        for revision, n in won:
            assert self.model.apply([attempts[n]]) == revision
        assert {names[n] for _, n in won} == set(names)
        assert len(won) == len(set(names))
        for outcome in outcomes:
            assert isinstance(outcome, (int, KeyExists, RevisionMismatch))

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        assert self.run(self.store.get(self.root + name)) == self.model.now.get(self.root + name)

    @rule(name=NAMES, back=BACK)
    def get_past(self, name: str, back: int) -> None:
        revision = max(self.model.revision - back, self.model.first)
        key = self.root + name
        try:
            found = self.run(self.store.get(key, revision=revision))
        except Compacted:
            assert revision < self.model.oldest(is_lease(key)), "refused though it should be there"
        else:
            assert revision == self.model.revision or revision >= self.model.oldest(is_lease(key))
            assert found == self.model.at[revision].get(key)

    @rule(prefix=PREFIXES, back=BACK, limit=st.integers(0, 4))
    def list_past(self, prefix: str, back: int, limit: int) -> None:
        revision = max(self.model.revision - back, self.model.first) if back else None
        at = revision or self.model.revision
        prefix = self.root + prefix
        found: list[Item] = []
        start: str | None = None
        try:
            while True:
                page = self.run(self.store.list(prefix, limit=limit, start=start, revision=revision))
                assert page.revision == at
                assert not limit or len(page.items) <= limit
                found += page.items
                if page.next_key is None:
                    break
                start, revision = page.next_key, page.revision
        except Compacted:
            assert at < self.model.oldest(may_hold_leases(prefix))
        else:
            assert found == [item for key, item in sorted(self.model.at[at].items()) if key.startswith(prefix)]

    @rule(back=BACK)
    def compact(self, back: int) -> None:
        revision = max(self.model.revision - back, self.model.first)
        self.run(self.store.compact(revision))
        self.model.compacted = max(self.model.compacted, revision)

    @precondition(lambda self: len(self.watchers) < 4)
    @rule(prefix=PREFIXES, back=BACK)
    def watch(self, prefix: str, back: int) -> None:
        after = max(self.model.revision - back, self.model.first)

        async def begin() -> Watcher:
            return Watcher(self.store, self.root + prefix, after)

        watcher = self.run(begin())
        if after < self.model.oldest(may_hold_leases(watcher.prefix)):
            assert isinstance(self.run(watcher.ended()), Compacted)
        else:
            self.watchers.append(watcher)
            self.run(self.check_watchers())  # it has begun before the next rule may compact

    @precondition(lambda self: self.watchers)
    @rule()
    def look_at_watches(self) -> None:
        self.run(self.check_watchers())

    async def check_watchers(self) -> None:
        for watcher in self.watchers:
            expected = [
                change
                for change in self.model.changes
                if change.revision > watcher.after and change.key.startswith(watcher.prefix)
            ]
            if expected:
                await watcher.until(expected[-1].revision)
            assert watcher.failure is None
            assert watcher.changes == expected

    @invariant()
    def revisions_agree(self) -> None:
        assert self.run(self.store.revision()) == self.model.revision


class SqliteMachine(StoreMachine):
    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        super().__init__()

    async def open(self) -> Store:
        return await SqliteStore.open(Path(self.directory.name) / "state.db")

    @rule()
    def restart(self) -> None:
        self.run(self.check_watchers())
        self.run(self.stop())
        self.store = self.run(self.open())
        self.model.restart()

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


class EtcdMachine(StoreMachine):
    location: str

    async def open(self) -> Store:
        return await open_store(self.location)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_sqlite_does_what_the_dictionary_does(runner: asyncio.Runner) -> None:
    machine = type("Machine", (SqliteMachine,), {"runner": runner}).TestCase
    machine.settings = _SETTINGS
    machine("runTest").runTest()


def test_etcd_does_what_the_dictionary_does(runner: asyncio.Runner, etcd: EtcdProcess) -> None:
    machine = type("Machine", (EtcdMachine,), {"runner": runner, "location": etcd.location}).TestCase
    machine.settings = _SETTINGS
    machine("runTest").runTest()
