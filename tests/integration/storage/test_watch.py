"""What every store promises about watches: nothing missed, nothing twice, in order, each revision whole."""

import asyncio

import pytest

from hypernetes.apiserver.storage.base import Change, Compacted, Item, SideWrite, Store, Unavailable
from tests.integration.storage.watching import Watcher


async def test_a_watch_tells_creation_update_and_removal_with_what_was_before(store: Store, root: str) -> None:
    start = await store.revision()
    async with Watcher(store, root, start) as watcher:
        one = await store.create(root + "a", b"one")
        two = await store.update(root + "a", b"two", one)
        three = await store.delete(root + "a", two)
        four = await store.create(root + "a", b"four")
        assert await watcher.until(four) == [
            Change(root + "a", one, b"one", None),
            Change(root + "a", two, b"two", Item(root + "a", b"one", one)),
            Change(root + "a", three, None, Item(root + "a", b"two", two)),
            Change(root + "a", four, b"four", None),
        ]


async def test_a_watch_from_the_past_tells_what_a_live_one_told(store: Store, root: str) -> None:
    start = await store.revision()
    async with Watcher(store, root, start) as live:
        revision = await store.create(root + "a", b"0")
        for n in range(1, 50):
            revision = await store.update(root + "a", str(n).encode(), revision)
        told = await live.until(revision)
        async with Watcher(store, root, start) as late:
            assert await late.until(revision) == told
        async with Watcher(store, root, told[19].revision) as middle:
            assert await middle.until(revision) == told[20:]


async def test_a_watch_holds_what_begins_with_its_prefix_and_nothing_else(store: Store, root: str) -> None:
    start = await store.revision()
    async with Watcher(store, root + "p/", start) as watcher:
        for name in ("p", "p0", "q", "p/1"):
            last = await store.create(root + name, b"x")
        assert [change.key for change in await watcher.until(last)] == [root + "p/1"]


async def test_a_revision_is_told_whole(store: Store, root: str) -> None:
    """Large enough that etcd sends it in fragments."""
    start = await store.revision()
    value = b"v" * 10_000
    async with Watcher(store, root, start) as watcher:
        for n in range(4):
            writes = [SideWrite(f"{root}{place:03}", value + str(n).encode()) for place in range(100)]
            last = await store.write(writes)
        await watcher.until(last)
    for batch in watcher.batches:
        for revision in {change.revision for change in batch}:
            assert len([change for change in batch if change.revision == revision]) == 100
    assert len(watcher.changes) == 400
    async with Watcher(store, root, start) as late:
        assert await late.until(last) == watcher.changes


async def test_many_writers_and_late_watchers_agree(store: Store, root: str) -> None:
    start = await store.revision()

    async def write(writer: int) -> int:
        revision = await store.create(f"{root}{writer}", b"0")
        for n in range(1, 30):
            revision = await store.update(f"{root}{writer}", str(n).encode(), revision)
        return revision

    async with Watcher(store, root, start) as early, asyncio.TaskGroup() as writers:
        tasks = [writers.create_task(write(n)) for n in range(10)]
        await early.until(start + 20)
        async with Watcher(store, root, early.changes[10].revision) as late:
            last = max(await asyncio.gather(*tasks))
            told = await early.until(last)
            assert [change.revision for change in told] == list(range(start + 1, start + 301))
            assert await late.until(last) == told[11:]


async def test_a_watch_of_compacted_history_is_refused(store: Store, root: str) -> None:
    start = await store.revision()
    first = await store.create(root + "a", b"one")
    second = await store.update(root + "a", b"two", first)
    removal = await store.delete(root + "a", second)
    third = await store.create(root + "b", b"x")
    await store.compact(removal)
    for after in (start, first, second):
        async with Watcher(store, root, after) as watcher:
            with pytest.raises(Compacted):
                await watcher.until(third)
    async with Watcher(store, root, removal) as watcher:
        assert [change.revision for change in await watcher.until(third)] == [third]


async def test_a_running_watch_survives_a_compaction(store: Store, root: str) -> None:
    start = await store.revision()
    async with Watcher(store, root, start) as watcher:
        first = await store.create(root + "a", b"one")
        await watcher.until(first)
        await store.compact(first)
        second = await store.update(root + "a", b"two", first)
        assert [change.revision for change in await watcher.until(second)] == [first, second]


async def test_closing_the_store_ends_its_watches(store: Store, root: str) -> None:
    watcher = Watcher(store, root, await store.revision())
    await store.create(root + "a", b"x")
    await watcher.until(0)
    await store.close()
    assert isinstance(await watcher.ended(), Unavailable)


async def test_leases_are_watched_like_anything_else_while_the_process_lives(store: Store, root: str) -> None:
    key = root + "coordination.k8s.io/leases/system/kube-node-lease/n1"
    start = await store.revision()
    first = await store.create(key, b"one")
    second = await store.update(key, b"two", first)
    async with Watcher(store, root, start) as watcher:
        assert [change.value for change in await watcher.until(second)] == [b"one", b"two"]
    assert await store.get(key, revision=first) == Item(key, b"one", first)
