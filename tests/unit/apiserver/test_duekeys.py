"""What is due is done once, and again later where it can't be done now. Time is virtual."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.duekeys import RETRY_SECONDS, DueKeys
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.storage.base import Unavailable

pytestmark = pytest.mark.looptime
KEY = ObjectKey("core", "secrets", "acme", "web", "one")


class Work:
    def __init__(self, *failures: Exception) -> None:
        self.done: list[ObjectKey] = []
        self._failures = list(failures)

    async def __call__(self, key: ObjectKey) -> None:
        self.done.append(key)
        if self._failures:
            raise self._failures.pop(0)


@asynccontextmanager
async def running(work: Work) -> AsyncIterator[DueKeys]:
    due = DueKeys(work, "a secret")
    task = asyncio.create_task(due.run())
    yield due
    task.cancel()
    with pytest.raises(asyncio.CancelledError):  # it ended by nothing else
        await task


async def test_what_is_told_twice_is_done_once() -> None:
    work = Work()
    async with running(work) as due:
        due.add(KEY)
        due.add(KEY)
        await asyncio.sleep(1)
        assert work.done == [KEY]
        due.add(KEY)
        await asyncio.sleep(1)
        assert work.done == [KEY, KEY]


@pytest.mark.parametrize("failure", [StatusError("ServiceUnavailable", "not now"), Unavailable("the store is away")])
async def test_what_cannot_be_done_now_is_tried_again_later(failure: Exception) -> None:
    work = Work(failure)
    async with running(work) as due:
        due.add(KEY)
        await asyncio.sleep(RETRY_SECONDS - 1)
        assert len(work.done) == 1
        await asyncio.sleep(2)
        assert len(work.done) == 2


@pytest.mark.parametrize("reason", ["NotFound", "Conflict"])
async def test_what_is_gone_or_has_changed_is_left_to_its_event(reason: str) -> None:
    work = Work(StatusError(reason, "no more"))
    async with running(work) as due:
        due.add(KEY)
        await asyncio.sleep(3 * RETRY_SECONDS)
        assert len(work.done) == 1
