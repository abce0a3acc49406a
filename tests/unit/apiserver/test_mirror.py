"""The mirror: the present as a map, the recent past by undoing the log."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import HistoryGone, Mirror
from hypernetes.apiserver.storage.base import Change, Item

KEYS = Keys("c")
PREFIX = "/hypernetes/c/core/configmaps/acme/web/"


def data(value: int) -> bytes:
    return b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","labels":{"v":"%d"}}}' % value


def put(name: str, revision: int, prefix: str = PREFIX) -> Change:
    return Change(prefix + name, revision, data(revision), None)


def gone(name: str, revision: int) -> Change:
    return Change(PREFIX + name, revision, None, None)


def names(mirror: Mirror, **how: object) -> list[str]:
    return [entry.key.removeprefix(PREFIX) for entry in mirror.page(PREFIX, **how).entries]  # type: ignore[arg-type]


def test_a_page_of_the_past_undoes_what_came_after() -> None:
    mirror = Mirror(KEYS)
    mirror.load([Item(PREFIX + "a", data(1), 1)], 1)
    mirror.apply([put("b", 2), put("a", 3), gone("b", 4), put("c", 5)])
    assert names(mirror) == ["a", "c"]
    assert names(mirror, revision=1) == ["a"]
    assert names(mirror, revision=3) == ["a", "b"]
    assert mirror.page(PREFIX, revision=2).entries[0].revision == 1
    with pytest.raises(HistoryGone):
        mirror.page(PREFIX, revision=0.5)  # type: ignore[arg-type]


def test_a_range_holds_no_neighbour() -> None:
    mirror = Mirror(KEYS)
    mirror.load([], 1)
    for number, prefix in enumerate((PREFIX, PREFIX.replace("web", "web-2"), PREFIX.replace("acme", "acme2")), 2):
        mirror.apply([put("a", number, prefix)])
    assert [entry.key for entry in mirror.range(PREFIX)] == [PREFIX + "a"]


def test_internal_keys_are_kept_but_are_nobodys_event() -> None:
    mirror = Mirror(KEYS)
    mirror.load([], 1)
    claim = KEYS.internal("clusterips", "acme", "10.0.0.1")
    assert mirror.apply([Change(claim, 2, b"{}", None)]) == []
    assert mirror.get(claim) is not None
    assert mirror.revision == 2


def test_keys_of_others_move_the_revision_on() -> None:
    mirror = Mirror(KEYS)
    mirror.load([], 1)
    assert mirror.apply([Change("/hypernetes/other/core/pods/t/n/p", 9, b"{}", None)]) == []
    assert mirror.revision == 9


def test_the_log_is_bounded_and_forgets_whole_revisions() -> None:
    mirror = Mirror(KEYS, log_events=3)
    mirror.load([], 1)
    for revision in range(2, 30):
        mirror.apply([put("a", revision)])
    kept = [event.revision for event in mirror.since(29 - 3)]
    assert kept == [27, 28, 29]
    with pytest.raises(HistoryGone):
        mirror.since(2)


def test_the_log_is_bounded_by_the_bytes_of_its_objects_and_forgets_the_older_half() -> None:
    mirror = Mirror(KEYS, log_bytes=20 * len(data(10)))
    mirror.load([], 9)
    mirror.apply([put("a", revision) for revision in range(10, 30)])
    assert len(list(mirror.since(9))) == 20
    mirror.apply([put("a", 30)])
    assert [event.revision for event in mirror.since(20)] == list(range(21, 31))
    with pytest.raises(HistoryGone):
        mirror.since(19)
    mirror.apply([put("a", 31), put("b", 31), gone("a", 32)] * 20)  # one revision is kept or forgotten as a whole
    assert {event.revision for event in mirror.since(31)} == {32}


async def test_a_reader_waits_for_its_revision() -> None:
    mirror = Mirror(KEYS)
    mirror.load([], 1)
    waiting = [asyncio.ensure_future(mirror.wait_for(revision)) for revision in (3, 2)]
    await asyncio.sleep(0)
    mirror.apply([put("a", 2)])
    await waiting[1]
    assert not waiting[0].done()
    mirror.apply([put("a", 3)])
    await waiting[0]


Step = tuple[str, bool]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.booleans()), max_size=40), st.data())
def test_pages_of_any_revision_are_what_the_model_held(steps: list[Step], draws: st.DataObject) -> None:
    mirror = Mirror(KEYS)
    mirror.load([], 1)
    state: dict[str, int] = {}
    history = {1: dict(state)}
    for revision, (name, write) in enumerate(steps, 2):
        if write:
            state[name] = revision
            mirror.apply([put(name, revision)])
        else:
            state.pop(name, None)
            mirror.apply([gone(name, revision)])
        history[revision] = dict(state)
    revision = draws.draw(st.sampled_from(sorted(history)))
    limit = draws.draw(st.integers(1, 4))
    expected = sorted(history[revision].items())
    assert list(_pages(mirror, revision, limit, len(expected))) == expected


def _pages(mirror: Mirror, revision: int, limit: int, total: int) -> Iterator[tuple[str, int]]:
    start: str | None = None
    seen = 0
    while True:
        page = mirror.page(PREFIX, limit=limit, start=start, revision=revision)
        for entry in page.entries:
            yield entry.key.removeprefix(PREFIX), entry.revision
        seen += len(page.entries)
        start = page.next_key
        if start is None:
            return
        assert page.remaining == total - seen
