import asyncio

import pytest

from hypernetes.client.backoff import Backoff
from hypernetes.client.workqueue import WorkQueue

pytestmark = pytest.mark.looptime


async def take(queue: WorkQueue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 3600)


async def test_a_key_added_twice_is_given_out_once() -> None:
    queue = WorkQueue[str]("test")
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert [await take(queue), await take(queue)] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_it_is_processed_comes_again_only_after_done() -> None:
    queue = WorkQueue[str]("test")
    queue.add("a")
    await take(queue)
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await take(queue) == "a"
    queue.done("a")
    assert queue.idle


async def test_a_key_rests_after_its_turn_and_then_comes_once_whatever_was_added_meanwhile() -> None:
    queue, loop = WorkQueue[str]("test"), asyncio.get_running_loop()
    queue.add("a")
    await take(queue)
    queue.add("a")
    started = loop.time()
    queue.done("a", rest=2)
    queue.add("b")
    assert await take(queue) == "b"
    await asyncio.sleep(1)
    queue.add("a")
    assert not queue.idle
    assert await take(queue) == "a"
    assert loop.time() - started == pytest.approx(2)
    queue.done("a", rest=1)
    queue.done("b")
    assert queue.idle


async def test_a_waiting_worker_is_woken() -> None:
    queue = WorkQueue[str]("test")
    worker = asyncio.create_task(take(queue))
    await asyncio.sleep(1)
    queue.add("a")
    assert await worker == "a"


async def test_of_delayed_adds_the_earliest_counts() -> None:
    queue = WorkQueue[str]("test")
    loop = asyncio.get_running_loop()
    started = loop.time()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    await take(queue)
    assert loop.time() - started == pytest.approx(10)
    queue.done("a")
    assert queue.idle


async def test_repeated_failures_wait_longer_until_forgotten() -> None:
    queue = WorkQueue[str]("test", Backoff(first=1, longest=8))
    delays = []
    for _ in range(6):
        delays.append(queue.add_rate_limited("a"))
        await take(queue)
        queue.done("a")
    for attempt, delay in enumerate(delays):
        assert min(8, 2**attempt) / 2 <= delay <= min(8, 2**attempt)
    queue.forget("a")
    assert queue.add_rate_limited("a") <= 1
    queue.close()
    assert queue.idle


async def test_a_worker_that_is_cancelled_as_it_is_woken_passes_the_key_on() -> None:
    queue = WorkQueue[str]("test")
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 10) == "a"
    assert first.cancelled()
