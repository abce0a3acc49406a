"""What the embedded store promises beyond what all do: durability, bounds, and clear words when its file is no good."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernetes.apiserver.storage.base import CannotOpen, Compacted, Item, Unavailable
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.apiserver.storage.sqlite import SqliteStore
from tests.integration.storage import writing_process
from tests.integration.storage.watching import Watcher

LEASE = "/hypernetes/abc/coordination.k8s.io/leases/system/kube-node-lease/n1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "state.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mounted], check=False).returncode:
        pytest.fail("a small file system can't be mounted: run the tests as root")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    store = await SqliteStore.open(path)
    first = await store.create("/a", b"one")
    second = await store.update("/a", b"two", first)
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.revision() == second
    assert await store.get("/a") == Item("/a", b"two", second)
    assert await store.get("/a", revision=first) == Item("/a", b"one", first)
    async with Watcher(store, "/a", first - 1) as watcher:
        assert [change.value for change in await watcher.until(second)] == [b"one", b"two"]
    assert await store.create("/b", b"x") == second + 1
    await store.close()


async def test_acknowledged_writes_survive_kill_9(path: Path) -> None:
    acknowledged: dict[str, tuple[int, int]] = {}
    for writers in (1, 8, 40):
        process = subprocess.Popen(
            [sys.executable, writing_process.__file__, str(path), str(writers)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(400)]
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        for line in lines:
            if line.endswith("\n") and line != "\n":
                key, revision, count = line.split()
                acknowledged[key] = (int(revision), int(count))
        store = await SqliteStore.open(path)
        for key, (revision, count) in acknowledged.items():
            item = await store.get(key)
            assert item is not None
            assert item.revision >= revision
            assert int(item.value) >= count
        assert await store.revision() >= max(revision for revision, _ in acknowledged.values())
        await store.close()


async def test_a_file_in_use_is_refused_in_one_sentence(path: Path) -> None:
    store = await SqliteStore.open(path)
    with pytest.raises(CannotOpen, match=f"in use by process {os.getpid()}"):
        await SqliteStore.open(path)
    assert await store.create("/a", b"x") > 0
    await store.close()
    await (await SqliteStore.open(path)).close()


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is no database" * 1000)
    with pytest.raises(CannotOpen, match=r"garbage\.db"):
        await SqliteStore.open(garbage)
    assert garbage.read_bytes() == b"this is no database" * 1000
    with pytest.raises(CannotOpen, match="names no store"):
        await open_store("mysql://127.0.0.1")


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(CannotOpen, match="another program"):
        await SqliteStore.open(other)


async def test_damage_found_later_is_said_and_does_not_spread(path: Path) -> None:
    store = await SqliteStore.open(path)
    for n in range(200):
        await store.create(f"/{n:03}", b"v" * 3000)
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 50)
        file.write(os.urandom(path.stat().st_size - 4096 * 50))
    store = await SqliteStore.open(path)  # the first pages are well
    with pytest.raises(Unavailable, match=r"state\.db failed"):
        await store.list("/")
    with pytest.raises(Unavailable, match=r"state\.db failed"):
        await store.create("/new", b"x")
    await store.close()


async def test_damage_of_the_first_pages_is_found_when_opening(path: Path) -> None:
    await (await SqliteStore.open(path)).close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    for _ in range(2):  # the failed attempt leaves no lock
        with pytest.raises(CannotOpen, match=r"state\.db can't be opened"):
            await SqliteStore.open(path)


async def _fill(store: SqliteStore, written: dict[str, int]) -> None:
    for n in range(1000):
        written[f"/{n}"] = await store.create(f"/{n}", b"v" * 50_000)


async def test_a_full_disk_refuses_writes_and_loses_nothing(small_disk: Path) -> None:
    store = await SqliteStore.open(small_disk / "state.db")
    written: dict[str, int] = {}
    with pytest.raises(Unavailable, match="full"):
        await _fill(store, written)
    assert len(written) > 10
    watermark = await store.revision()
    assert {item.key: item.revision for item in (await store.list("/")).items} == written
    await store.close()
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    store = await SqliteStore.open(small_disk / "state.db")
    assert {item.key: item.revision for item in (await store.list("/")).items} == written
    assert await store.create("/after", b"v" * 50_000) == watermark + 1
    await store.close()


async def test_writes_go_on_by_themselves_when_a_full_disk_has_space_again(small_disk: Path) -> None:
    store = await SqliteStore.open(small_disk / "state.db")
    with pytest.raises(Unavailable, match="full"):
        await _fill(store, {})
    revision = await store.revision()
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert await store.create("/after", b"v" * 50_000) == revision + 1
    await store.close()


async def test_past_versions_of_leases_end_with_the_process(path: Path) -> None:
    store = await SqliteStore.open(path)
    first = await store.create(LEASE, b"one")
    second = await store.update(LEASE, b"two", first)
    third = await store.create("/hypernetes/abc/core/pods/t/ns/p", b"x")
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.get(LEASE) == Item(LEASE, b"two", second)
    with pytest.raises(Compacted):
        await store.get(LEASE, revision=first)
    for prefix in ("/hypernetes/abc/", "/hypernetes/abc/coordination.k8s.io/leases/system/"):
        async with Watcher(store, prefix, first) as watcher:
            assert isinstance(await watcher.ended(), Compacted)
        async with Watcher(store, prefix, second) as watcher:
            fourth = await store.update(LEASE, b"more", (await store.get(LEASE) or Item("", b"", 0)).revision)
            assert (await watcher.until(fourth))[-1].value == b"more"
    async with Watcher(store, "/hypernetes/abc/core/", first) as watcher:
        assert [change.revision for change in await watcher.until(third)] == [third]
    await store.close()


async def test_a_renewed_lease_leaves_nothing_in_the_file(path: Path) -> None:
    store = await SqliteStore.open(path)
    revision = await store.create(LEASE, b"x" * 10_000)
    for _ in range(300):
        revision = await store.update(LEASE, b"x" * 10_000, revision)
    await store.close()
    assert path.stat().st_size < 300_000


async def test_compaction_gives_space_back_while_writes_go_on(path: Path) -> None:
    store = await SqliteStore.open(path)
    revision = await store.create("/a", b"0")
    for n in range(500):
        revision = await store.update("/a", bytes([n % 256]) * 40_000, revision)
    before = path.stat().st_size + path.with_name("state.db-wal").stat().st_size
    async with asyncio.TaskGroup() as tasks:
        compaction = tasks.create_task(store.compact(revision))
        writes = [tasks.create_task(store.create(f"/b/{n}", b"x")) for n in range(100)]
    assert compaction.done()
    assert len({write.result() for write in writes}) == 100
    await store.close()
    assert before > 15_000_000
    assert path.stat().st_size < before / 4


async def test_history_is_bounded_where_nobody_compacts(path: Path) -> None:
    store = await SqliteStore.open(path, history_revisions=200)
    first = revision = await store.create("/a", b"0")
    for n in range(1000):
        revision = await store.update("/a", str(n).encode(), revision)
    with pytest.raises(Compacted):
        await store.get("/a", revision=first)
    assert (await store.get("/a", revision=revision - 140) or Item("", b"", 0)).value == str(999 - 140).encode()
    await store.close()


async def test_a_watch_that_fell_behind_the_log_reads_the_file_and_misses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernetes.apiserver.storage.sqlite._LOG_REVISIONS", 20)
    monkeypatch.setattr("hypernetes.apiserver.storage.sqlite._BATCH_REVISIONS", 5)
    store = await SqliteStore.open(path)
    start = await store.revision()
    slow = store.watch("/", start)
    told = []
    for n in range(0, 2000, 100):
        await asyncio.gather(*(store.create(f"/{n + place}", b"x") for place in range(100)))
        told += [change.revision for change in await anext(slow)]
    while told[-1] < await store.revision():
        told += [change.revision for change in await anext(slow)]
    assert told == list(range(start + 1, start + 2001))
    await slow.aclose()
    await store.close()
