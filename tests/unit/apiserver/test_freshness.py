"""Stories of reads that must see what was written before they came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver import freshness
from hypernetes.apiserver.freshness import Freshness
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Change, Store, Unavailable


class Asked:
    """A store that answers when the story says so."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[int]] = []

    def known_revision(self) -> None:
        return None

    async def revision(self) -> int:
        self.questions.append(asyncio.get_running_loop().create_future())
        return await self.questions[-1]


class Story:
    def __init__(self) -> None:
        self.store, self.mirror = Asked(), Mirror(Keys("c"))
        self.mirror.load([], 5)
        self.freshness = Freshness(cast(Store, self.store), self.mirror)

    async def reads(self, count: int) -> list[asyncio.Task[None]]:
        reads = [asyncio.create_task(self.freshness.now()) for _ in range(count)]
        await settled()
        return reads


@asynccontextmanager
async def telling() -> AsyncIterator[Story]:
    story = Story()
    running = asyncio.create_task(story.freshness.run())
    yield story
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_reads_that_wait_share_one_question() -> None:
    async with telling() as story:
        first = await story.reads(1)
        others = await story.reads(50)
        assert len(story.store.questions) == 1
        story.store.questions[0].set_result(5)
        await asyncio.gather(*first)
        await settled()
        assert len(story.store.questions) == 2
        story.store.questions[1].set_result(5)
        await asyncio.gather(*others)


async def test_a_read_takes_no_answer_that_was_under_way_when_it_came() -> None:
    async with telling() as story:
        await story.reads(1)
        (late,) = await story.reads(1)
        story.store.questions[0].set_result(5)
        await settled()
        assert not late.done()
        story.store.questions[1].set_result(6)
        await settled()
        assert not late.done()
        story.mirror.apply([Change("/elsewhere", 6, b"", None)])
        await late


async def test_a_store_that_does_not_answer_fails_the_reads_that_asked_and_not_the_next() -> None:
    async with telling() as story:
        failing = await story.reads(2)
        assert len(story.store.questions) == 1
        story.store.questions[0].set_exception(Unavailable("down"))
        outcomes: list[Any] = await asyncio.gather(*failing, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StatusError, StatusError]
        (next_,) = await story.reads(1)
        story.store.questions[1].set_result(5)
        await next_


async def test_a_read_that_goes_away_takes_nobody_with_it() -> None:
    async with telling() as story:
        gone, stays = await story.reads(2)
        gone.cancel()
        await settled()
        story.store.questions[0].set_result(5)
        await stays
        assert gone.cancelled()


async def test_a_read_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "READ_DEADLINE_SECONDS", 0.0)
    async with telling() as story:
        (read,) = await story.reads(1)
        with pytest.raises(StatusError):
            await read
