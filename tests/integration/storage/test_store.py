"""What every store promises about single calls."""

import asyncio

import pytest

from hypernetes.apiserver.storage import transactions
from hypernetes.apiserver.storage.base import (
    Compacted,
    Item,
    KeyExists,
    RevisionMismatch,
    SideWrite,
    Store,
    Unavailable,
    ValueTooLarge,
)
from hypernetes.apiserver.storage.keyspace import prefix_end


async def test_a_created_key_is_read_back_at_its_revision(store: Store, root: str) -> None:
    before = await store.revision()
    revision = await store.create(root + "a", b"one")
    assert revision == before + 1 == await store.revision()
    assert await store.get(root + "a") == Item(root + "a", b"one", revision)


async def test_a_key_that_is_not_there_is_none(store: Store, root: str) -> None:
    assert await store.get(root + "a") is None


async def test_a_taken_key_is_not_created_again(store: Store, root: str) -> None:
    revision = await store.create(root + "a", b"one")
    with pytest.raises(KeyExists) as refusal:
        await store.create(root + "a", b"two")
    assert refusal.value.key == root + "a"
    assert await store.get(root + "a") == Item(root + "a", b"one", revision)


async def test_an_update_needs_the_current_revision_and_says_what_is_there(store: Store, root: str) -> None:
    first = await store.create(root + "a", b"one")
    second = await store.update(root + "a", b"two", first)
    with pytest.raises(RevisionMismatch) as refusal:
        await store.update(root + "a", b"three", first)
    assert refusal.value.current == Item(root + "a", b"two", second)


async def test_an_update_and_a_delete_of_nothing_are_refused(store: Store, root: str) -> None:
    with pytest.raises(RevisionMismatch) as refusal:
        await store.update(root + "a", b"one", 1)
    assert refusal.value.current is None
    with pytest.raises(RevisionMismatch):
        await store.delete(root + "a", 1)


async def test_a_deleted_key_can_be_created_again(store: Store, root: str) -> None:
    revision = await store.create(root + "a", b"one")
    with pytest.raises(RevisionMismatch):
        await store.delete(root + "a", revision + 1)
    removal = await store.delete(root + "a", revision)
    assert removal == revision + 1
    assert await store.get(root + "a") is None
    assert await store.create(root + "a", b"two") == removal + 1


async def test_side_writes_happen_in_the_same_revision(store: Store, root: str) -> None:
    claim, usage = root + "~claims/10.0.0.5", root + "~usage"
    revision = await store.create(root + "a", b"one", also=[SideWrite(claim, b"a", 0), SideWrite(usage, b"1")])
    assert await store.get(claim) == Item(claim, b"a", revision)
    assert await store.get(usage) == Item(usage, b"1", revision)
    await store.delete(root + "a", revision, also=[SideWrite(claim, None, revision), SideWrite(usage, b"0", revision)])
    assert await store.get(claim) is None
    assert (await store.get(usage) or Item("", b"", 0)).value == b"0"


async def test_a_refused_side_write_undoes_all_and_is_named(store: Store, root: str) -> None:
    taken = await store.write([SideWrite(root + "~claim", b"other", 0)])
    with pytest.raises(KeyExists) as exists:
        await store.create(root + "a", b"one", also=[SideWrite(root + "~claim", b"a", 0)])
    assert exists.value.key == root + "~claim"
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.create(root + "a", b"one", also=[SideWrite(root + "~claim", b"a", taken + 7)])
    assert (mismatch.value.key, mismatch.value.current) == (
        root + "~claim",
        Item(root + "~claim", b"other", taken),
    )
    assert await store.get(root + "a") is None
    assert await store.revision() == taken


async def test_a_transaction_that_changes_nothing_takes_no_revision(store: Store, root: str) -> None:
    revision = await store.revision()
    assert await store.write([SideWrite(root + "absent", None)]) == revision
    assert await store.write([]) == revision
    assert await store.revision() == revision


async def test_of_concurrent_creates_one_wins(store: Store, root: str) -> None:
    outcomes = await asyncio.gather(
        *(store.create(root + "a", str(n).encode()) for n in range(40)), return_exceptions=True
    )
    won = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, int)]
    assert len(won) == 1
    assert all(isinstance(outcome, KeyExists) for n, outcome in enumerate(outcomes) if n != won[0])
    assert (await store.get(root + "a") or Item("", b"", 0)).value == str(won[0]).encode()


async def test_concurrent_writes_take_one_revision_each(store: Store, root: str) -> None:
    before = await store.revision()
    revisions = await asyncio.gather(*(store.create(f"{root}{n}", b"x") for n in range(300)))
    assert sorted(revisions) == list(range(before + 1, before + 301))


async def test_a_list_is_in_byte_order_and_pages_at_one_revision(store: Store, root: str) -> None:
    keys = [root + name for name in ("a", "a-b", "a/b", "aa", "b", "ä", "～", "\U0001f600")]
    for key in keys:
        await store.create(key, key.encode())
    first = await store.list(root, limit=3)
    await store.create(root + "a-a", b"later")
    await store.delete(root + "b", (await store.get(root + "b") or Item("", b"", 0)).revision)
    found, page = list(first.items), first
    while page.next_key is not None:
        page = await store.list(root, limit=3, start=page.next_key, revision=first.revision)
        assert page.revision == first.revision
        found += page.items
    assert [item.key for item in found] == sorted(keys, key=str.encode)
    assert [item.value for item in found] == [key.encode() for key in sorted(keys, key=str.encode)]


async def test_a_list_of_exactly_the_limit_has_no_next_page(store: Store, root: str) -> None:
    for name in "abc":
        await store.create(root + name, b"x")
    assert (await store.list(root, limit=3)).next_key is None
    assert (await store.list(root, limit=2)).next_key is not None


async def test_a_list_holds_what_begins_with_the_prefix_and_nothing_else(store: Store, root: str) -> None:
    for name in ("p", "p/", "p/1", "p0", "q"):
        await store.create(root + name, b"x")
    assert [item.key for item in (await store.list(root + "p/")).items] == [root + "p/", root + "p/1"]
    assert (await store.list(root + "nothing")).items == []
    everything = {item.key for item in (await store.list("")).items}
    assert everything >= {root + "p", root + "q"}


async def test_more_than_a_page_of_large_values_is_listed(store: Store, root: str) -> None:
    """Together they are over gRPC's default message limit of 4 MiB."""
    value = b"v" * 1_000_000
    await asyncio.gather(*(store.create(f"{root}{n}", value) for n in range(6)))
    assert [len(item.value) for item in (await store.list(root)).items] == [len(value)] * 6


async def test_the_past_is_read_as_it_was(store: Store, root: str) -> None:
    created = await store.create(root + "a", b"one")
    updated = await store.update(root + "a", b"two", created)
    deleted = await store.delete(root + "a", updated)
    await store.create(root + "a", b"three")
    assert await store.get(root + "a", revision=created - 1) is None
    assert await store.get(root + "a", revision=created) == Item(root + "a", b"one", created)
    assert await store.get(root + "a", revision=updated) == Item(root + "a", b"two", updated)
    assert await store.get(root + "a", revision=deleted) is None
    assert (await store.list(root, revision=updated)).items == [Item(root + "a", b"two", updated)]


async def test_a_revision_of_the_future_is_the_callers_mistake(store: Store, root: str) -> None:
    revision = await store.revision()
    with pytest.raises(ValueError):
        await store.get(root + "a", revision=revision + 1000)
    with pytest.raises(ValueError):
        await store.list(root, revision=revision + 1000)


async def test_compaction_forgets_the_past_and_keeps_what_is(store: Store, root: str) -> None:
    first = await store.create(root + "a", b"one")
    second = await store.update(root + "a", b"two", first)
    third = await store.create(root + "b", b"x")
    await store.compact(second)
    for ask in (store.get(root + "a", revision=first), store.list(root, revision=first)):
        with pytest.raises(Compacted) as gone:
            await ask
        assert gone.value.oldest == second
    assert await store.get(root + "a", revision=second) == Item(root + "a", b"two", second)
    assert [item.revision for item in (await store.list(root)).items] == [second, third]
    await store.compact(first)  # again, and less: nothing to do


async def test_what_is_too_large_is_refused_as_such(store: Store, root: str) -> None:
    for ask in (
        store.create(root + "a", b"x" * (transactions.MAX_BYTES + 1)),
        store.write([SideWrite(f"{root}{n}", b"x") for n in range(transactions.MAX_WRITES + 1)]),
    ):
        with pytest.raises(ValueTooLarge):
            await ask
    assert (await store.list(root)).items == []


async def test_one_key_twice_in_a_transaction_is_the_callers_mistake(store: Store, root: str) -> None:
    with pytest.raises(ValueError):
        await store.create(root + "a", b"x", also=[SideWrite(root + "a", b"y")])


async def test_a_closed_store_says_so_and_closes_again(store: Store, root: str) -> None:
    await store.close()
    await store.close()
    for ask in (store.get(root + "a"), store.create(root + "a", b"x"), store.revision()):
        with pytest.raises(Unavailable):
            await ask


async def test_a_cancelled_caller_does_not_hurt_the_others(store: Store, root: str) -> None:
    writers = [asyncio.create_task(store.create(f"{root}{n}", b"x")) for n in range(20)]
    await asyncio.sleep(0)
    for writer in writers[::2]:
        writer.cancel()
    outcomes = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(outcome, int) for outcome in outcomes[1::2])
    assert await store.create(root + "after", b"x") > 0


def test_the_end_of_a_prefix_follows_all_that_begin_with_it() -> None:
    assert prefix_end("/a/") == "/a0"
    assert prefix_end("a\U0010ffff") == "b"
    assert prefix_end("\ud7ff") == "\ue000"
    assert prefix_end("") is None
