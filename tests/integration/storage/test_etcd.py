"""What the etcd store promises about the cluster going away and coming back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernetes.apiserver.storage.base import CannotOpen, Compacted, Unavailable
from hypernetes.apiserver.storage.etcd import EtcdStore
from tests.integration.storage.etcd_process import EtcdProcess, free_port, running_etcd
from tests.integration.storage.watching import Watcher

_DEADLINE_SECONDS = 60.0


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    with running_etcd(tmp_path) as process:
        yield process


async def _eventually_writes(store: EtcdStore, key: str) -> int:
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while True:
            try:
                return await store.create(key, b"x")
            except Unavailable:
                await asyncio.sleep(0.1)


async def test_a_watch_goes_on_without_gap_when_etcd_restarts(own_etcd: EtcdProcess) -> None:
    store = EtcdStore(own_etcd.location)
    start = await store.revision()
    async with Watcher(store, "/", start) as watcher:
        await watcher.until(await store.create("/1", b"x"))
        for n in range(2, 5):
            own_etcd.stop()
            with pytest.raises(Unavailable):
                await store.create(f"/{n}", b"x")
            own_etcd.start()
            last = await _eventually_writes(store, f"/{n}")
        assert [change.key for change in await watcher.until(last)] == ["/1", "/2", "/3", "/4"]
        assert [change.revision for change in watcher.changes] == list(range(start + 1, last + 1))
    await store.close()


async def test_a_watch_that_was_away_during_a_compaction_is_told(own_etcd: EtcdProcess) -> None:
    store = EtcdStore(own_etcd.location)
    first = await store.create("/1", b"0")
    stream = store.watch("/", first - 1)
    assert [change.revision for change in await anext(stream)] == [first]
    own_etcd.stop()
    own_etcd.start()
    await _eventually_writes(store, "/2")
    third = await store.create("/3", b"x")
    await store.compact(third)
    with pytest.raises(Compacted) as gone:
        await anext(stream)
    assert gone.value.oldest == third
    await store.close()


async def test_the_next_endpoint_serves_when_one_is_dead(etcd: EtcdProcess, root: str) -> None:
    store = EtcdStore(f"etcd://127.0.0.1:{free_port()},{etcd.endpoint}")
    assert await store.revision() > 0
    revision = await store.create(root + "a", b"x")
    assert revision > 0
    await store.close()
    store = EtcdStore(f"etcd://127.0.0.1:{free_port()},{etcd.endpoint}")
    async with Watcher(store, root, revision - 1) as watcher:
        assert [change.key for change in await watcher.until(revision)] == [root + "a"]
    await store.close()


async def test_an_etcd_that_is_not_there_is_unavailable_within_the_deadline() -> None:
    store = EtcdStore(f"etcd://127.0.0.1:{free_port()}")
    async with asyncio.timeout(_DEADLINE_SECONDS):
        for ask in (store.revision(), store.create("/a", b"x"), store.list("/")):
            with pytest.raises(Unavailable, match="does not answer"):
                await ask
    await store.close()


@pytest.mark.parametrize("location", ["etcd://", "etcd://host", "etcd://host:port", "etcd://:2379", "etcd://h:0"])
async def test_a_malformed_location_is_refused(location: str) -> None:
    with pytest.raises(CannotOpen, match="is not of the form"):
        EtcdStore(location)
