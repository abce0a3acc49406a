import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import ConfigMap
from hypernetes.api.status import StatusError
from hypernetes.client.errors import Interrupted, Unreachable
from hypernetes.client.informer import Informer
from hypernetes.client.keys import Key
from hypernetes.client.watching import RawEvent
from tests.unit.client.fake_api import GONE, FakeApi, bookmark, config_map, line

pytestmark = pytest.mark.looptime
A, B = Key("acme", "web", "a"), Key("acme", "web", "b")


class Story:
    """An informer that runs, and what it told."""

    def __init__(self, api: FakeApi, **options: Any) -> None:
        self.informer: Informer[ConfigMap] = Informer(api, ConfigMap, **options)  # type: ignore[arg-type]
        self.told: list[tuple[str, str | None, str | None]] = []
        self.informer.on_change(self._note)

    def _note(self, key: Key, old: ConfigMap | None, new: ConfigMap | None) -> None:
        versions = [obj and obj.metadata.resource_version for obj in (old, new)]
        self.told.append((key.name, versions[0], versions[1]))


@asynccontextmanager
async def running(api: FakeApi, **options: Any) -> AsyncIterator[Story]:
    """Long enough (in virtual time) for every back-off to pass."""
    story = Story(api, **options)
    task = asyncio.create_task(story.informer.run())
    try:
        await asyncio.sleep(120)
        yield story
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_list_then_the_watch_from_its_revision() -> None:
    api = FakeApi(
        [(5, [config_map("a", 3)])], [[line("ADDED", config_map("b", 6)), line("DELETED", config_map("a", 7))]]
    )
    async with running(api) as story:
        assert api.watched_from == ["5"]
        assert story.told == [("a", None, "3"), ("b", None, "6"), ("a", "3", None)]
        assert story.informer.keys() == [B]
        assert story.informer.resource_version == "7"
        assert story.informer.synced


async def test_a_broken_watch_resumes_after_the_last_event_and_repeats_none() -> None:
    broken = [line("ADDED", config_map("a", 6)), Interrupted("connection reset")]
    resumed = [line("MODIFIED", config_map("a", 6)), line("MODIFIED", config_map("a", 8))]
    api = FakeApi([(5, [])], [broken, resumed])
    async with running(api) as story:
        assert api.watched_from == ["5", "6"]
        assert story.told == [("a", None, "6"), ("a", "6", "8")]


async def test_a_bookmark_moves_the_place_to_resume_from() -> None:
    api = FakeApi([(5, [])], [[bookmark(90), FakeApi.END], []])
    async with running(api):
        assert api.watched_from == ["5", "90"]


@pytest.mark.parametrize(
    "expiry",
    [GONE, StatusError("Expired", "too old"), StatusError("", "gone", code=410)],
    ids=["event", "reason", "code"],
)
async def test_an_expired_revision_is_bridged_by_a_new_list(expiry: Any) -> None:
    second = (40, [config_map("b", 30), config_map("c", 31)])
    first = (5, [config_map("a", 3), config_map("b", 4), config_map("c", 31)])
    api = FakeApi([first, second], [[expiry], []])
    async with running(api) as story:
        assert api.watched_from == ["5", "40"]
        assert story.told[3:] == [("a", "3", None), ("b", "4", "30")]


async def test_a_server_that_is_away_is_waited_for() -> None:
    api = FakeApi([Unreachable("refused")] * 5 + [(5, [config_map("a", 3)])], [[Unreachable("refused")], []])
    async with running(api) as story:
        assert story.informer.synced
        assert api.watched_from == ["5", "5"]


async def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks() -> None:
    moments = []

    class Timed(FakeApi):
        def watch_raw(self, selection: Any, resource_version: str) -> AsyncIterator[RawEvent]:
            moments.append(asyncio.get_running_loop().time())
            return super().watch_raw(selection, resource_version)

    busy = StatusError("TooManyRequests", "busy", details={"retryAfterSeconds": 30})
    async with running(Timed([(5, [])], [[busy], []])) as story:
        assert story.informer.synced
        assert 30 < moments[1] - moments[0] < 31


async def test_what_is_no_watch_event_ends_the_watch_and_not_the_informer() -> None:
    api = FakeApi([(5, [])], [[b"<html>bad gateway</html>"], [line("ADDED", config_map("a", 6))]])
    async with running(api) as story:
        assert story.told == [("a", None, "6")]


async def test_indexes_follow_the_objects() -> None:
    events = [
        line("ADDED", config_map("b", 6, color="red")),
        line("MODIFIED", config_map("a", 7, color="blue")),
        line("ADDED", config_map("c", 8, color="red")),
        line("DELETED", config_map("c", 9, color="red")),
    ]
    api = FakeApi([(5, [config_map("a", 3, color="red")])], [events])
    by_color = {"color": lambda obj: [obj.data["color"]]}
    async with running(api, indexes=by_color) as story:
        assert story.informer.index_keys("color", "red") == [B]
        assert [obj.metadata.name for obj in story.informer.by_index("color", "blue")] == ["a"]
        assert story.informer.by_index("color", "green") == []


async def test_two_tenants_objects_of_one_name_are_two() -> None:
    api = FakeApi([(5, [config_map("a", 3), config_map("a", 4, tenant="globex")])], [[]])
    async with running(api) as story:
        assert story.informer.keys() == [A, Key("globex", "web", "a")]


async def test_objects_are_shared_while_unchanged_and_complete() -> None:
    api = FakeApi([(5, [config_map("a", 3, color="red")])], [[]])
    async with running(api) as story:
        obj = story.informer.get(A)
        assert obj is story.informer.get(A)
        assert obj is not None
        assert obj.data == {"color": "red"}
        assert story.informer.get(B) is None


@pytest.mark.parametrize("indexes", [None, {"name": lambda obj: [obj.metadata.name]}])
async def test_an_object_that_cannot_be_read_is_left_out_and_the_rest_goes_on(indexes: Any) -> None:
    bad = {**config_map("a", 6), "data": "no map"}
    api = FakeApi([(5, [config_map("a", 3)])], [[line("MODIFIED", bad), line("ADDED", config_map("b", 7))]])
    async with running(api, indexes=indexes) as story:
        assert [told for told in story.told if told[0] == "b"] == [("b", None, "7")]
        assert ("a", "3", "6") not in story.told
        assert story.informer.resource_version == "7"
        if indexes:
            assert story.informer.keys() == [B]
            assert [obj.metadata.name for obj in story.informer.by_index("name", "b")] == ["b"]


async def test_others_have_turns_while_a_long_list_is_taken_in() -> None:
    api = FakeApi([(5, [config_map(f"c{number}", 3) for number in range(1000)])], [])
    informer: Informer[ConfigMap] = Informer(api, ConfigMap)  # type: ignore[arg-type]
    task = asyncio.create_task(informer.run())
    turns = 0
    while not informer.synced:
        await asyncio.sleep(0)
        turns += 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(informer) == 1000
    assert turns > 10, "1,000 objects in one go keep a Lease from being renewed"


class TestSharded:
    """An informer that is for some tenants only, and then for others."""

    LISTS = (
        (5, [config_map("a", 3, "acme"), config_map("b", 4, "globex")]),
        (9, [config_map("a", 3, "acme"), config_map("b", 8, "globex")]),
    )

    async def test_what_isnt_accepted_isnt_kept_and_not_told(self) -> None:
        events = [line("ADDED", config_map("b", 6, "globex")), line("MODIFIED", config_map("a", 7))]
        api = FakeApi([self.LISTS[0]], [events])
        async with running(api, accepts=lambda key: key.tenant == "acme") as story:
            assert story.informer.keys() == [A]
            assert story.told == [("a", None, "3"), ("a", "3", "7")]
            assert story.informer.resource_version == "7"

    async def test_more_is_accepted_once_a_new_list_has_come(self) -> None:
        tenants = {"acme"}
        api = FakeApi([*self.LISTS], [])
        async with running(api, accepts=lambda key: key.tenant in tenants) as story:
            tenants.add("globex")
            await asyncio.wait_for(story.informer.widen(lambda key: False), 5)
            assert story.told == [("a", None, "3"), ("b", None, "8")]
            assert story.informer.resource_version == "9"
            await asyncio.sleep(1)
            assert api.watched_from == ["5", "9"]

    async def test_what_was_there_and_is_new_to_those_who_work_is_told_again(self) -> None:
        api = FakeApi([*self.LISTS], [])
        async with running(api) as story:
            await asyncio.wait_for(story.informer.widen(lambda key: key.tenant == "acme"), 5)
            assert story.told == [("a", None, "3"), ("b", None, "4"), ("b", "4", "8"), ("a", None, "3")]

    async def test_less_is_accepted_and_it_isnt_told_as_gone(self) -> None:
        tenants = {"acme", "globex"}
        api = FakeApi([self.LISTS[0]], [])
        async with running(api, accepts=lambda key: key.tenant in tenants) as story:
            tenants.remove("globex")
            story.informer.narrow()
            assert story.informer.keys() == [A]
            assert len(story.told) == 2

    async def test_widening_waits_for_a_server_that_is_away(self) -> None:
        tenants = {"acme"}
        api = FakeApi([self.LISTS[0], Unreachable("refused"), self.LISTS[1]], [])
        async with running(api, accepts=lambda key: key.tenant in tenants) as story:
            tenants.add("globex")
            await asyncio.wait_for(story.informer.widen(lambda key: False), 60)
            assert len(story.informer) == 2
