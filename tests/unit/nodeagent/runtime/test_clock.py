"""Keeping a guest's clock, over a link that is quick or slow. Time is virtual."""

import asyncio

import pytest

from hypernetes.nodeagent.runtime import clock
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.clock import ATTEMPTS, CHECK_SECONDS, ClockKeeper

pytestmark = pytest.mark.looptime

MS = 1_000_000


class Guest:
    """`offset_ns` is by how much its clock is ahead; `ways_ms` says how long question and answer are under way."""

    def __init__(self, offset_ns: int, ways_ms: list[tuple[float, float]]) -> None:
        self.offset_ns, self._ways, self.asked = offset_ns, ways_ms, 0
        self.broken = False

    async def exchange(self, delta: int | None) -> int:
        self.asked += 1
        if self.broken:
            raise MachineError("LinkLost", "the link is lost")
        there, back = self._ways.pop(0) if len(self._ways) > 1 else self._ways[0]
        await asyncio.sleep(there / 1e3)
        self.offset_ns += delta or 0
        told = now() + self.offset_ns
        await asyncio.sleep(back / 1e3)
        return told


def now() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


@pytest.fixture(autouse=True)
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall_clock_ns", now)


async def test_a_clock_that_is_off_is_put_right() -> None:
    guest = Guest(-190 * MS, [(2, 2)])
    assert await ClockKeeper(guest.exchange, "m").check()
    assert abs(guest.offset_ns) <= 10 * MS


async def test_slow_answers_that_hide_an_offset_are_not_taken_for_a_right_clock() -> None:
    """As after a start on a busy node: an answer on whose way 400 ms were lost said that all was well, for 20 s."""
    guest = Guest(-190 * MS, [(0, 400), (200, 200), (2, 2)])
    assert await ClockKeeper(guest.exchange, "m").check()
    assert abs(guest.offset_ns) <= 10 * MS


async def test_who_gets_only_slow_answers_says_so_and_asks_again_soon() -> None:
    guest = Guest(-190 * MS, [(0, 400)] * (ATTEMPTS + 1) + [(2, 2)])
    keeper = ClockKeeper(guest.exchange, "m")
    assert not await keeper.check()
    running = asyncio.create_task(keeper.run())
    await asyncio.sleep(CHECK_SECONDS / 2)
    running.cancel()
    assert abs(guest.offset_ns) <= 10 * MS


async def test_an_adopted_machine_is_looked_at_before_the_agent_may_be_killed_again() -> None:
    guest = Guest(190 * MS, [(2, 2)])
    for _ in range(5):
        running = asyncio.create_task(ClockKeeper(guest.exchange, "m").run())
        await asyncio.sleep(3)
        running.cancel()
    assert abs(guest.offset_ns) <= 10 * MS


async def test_a_right_clock_is_left_alone_and_asked_seldom() -> None:
    guest = Guest(3 * MS, [(2, 2)])
    running = asyncio.create_task(ClockKeeper(guest.exchange, "m").run())
    await asyncio.sleep(10 * CHECK_SECONDS)
    running.cancel()
    assert guest.offset_ns == 3 * MS
    assert guest.asked <= 11


async def test_a_guest_that_answers_nothing_is_asked_again() -> None:
    guest = Guest(-190 * MS, [(2, 2)])
    guest.broken = True
    running = asyncio.create_task(ClockKeeper(guest.exchange, "m").run())
    await asyncio.sleep(CHECK_SECONDS)
    guest.broken = False
    await asyncio.sleep(CHECK_SECONDS)
    running.cancel()
    assert abs(guest.offset_ns) <= 10 * MS
