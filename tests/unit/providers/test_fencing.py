"""Work in threads ends with whoever asked for it, and with the right to do it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hypernetes.providers import fencing

pytestmark = pytest.mark.asyncio


async def test_work_in_a_thread_is_under_its_callers_guard() -> None:
    ours = True
    with ThreadPoolExecutor(1) as threads:
        with fencing.guarded(lambda: ours):
            await fencing.in_thread(threads, fencing.check)
            ours = False
            with pytest.raises(fencing.Fenced):
                await fencing.in_thread(threads, fencing.check)
        await fencing.in_thread(threads, fencing.check)


async def test_what_nobody_waits_for_makes_no_further_call() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    made: list[str] = []

    def work() -> None:
        try:
            fencing.check()
            made.append("first")
            begun.set()
            assert go_on.wait(10)
            fencing.check()
            made.append("second")
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as threads:
        task = asyncio.create_task(fencing.in_thread(threads, work))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(ended.wait, 10)
    assert made == ["first"]
