"""Requests begin, and pieces of large answers are sent, in turns: one in every second round of the loop, by weight."""

import asyncio

import pytest

from hypernetes.apiserver.fairness import TURN, Fairness, TooManyWait, cost

WRITE = cost("create")


class Weights:
    """What Fairness asks of Lookups."""

    def __init__(self, **weights: int) -> None:
        self._weights = weights

    def tenant_weight(self, tenant: str) -> int:
        return self._weights.get(tenant, 1)


class Rounds:
    """Rounds of the loop, counted, while requests begin and pieces are sent; whose turn it was, and when."""

    def __init__(self, fairness: Fairness) -> None:
        self.fairness = fairness
        self.told: list[tuple[str, int]] = []
        self.number = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def _begin(self, tenant: str, units: int) -> None:
        wait = self.fairness.begin(tenant, units)
        if wait is not None:
            await wait
        self.told.append((tenant, self.number))

    async def _piece(self, tenant: str) -> None:
        await self.fairness.piece(tenant)
        self.told.append((tenant, self.number))

    def ask(self, tenant: str, units: int, count: int = 1) -> None:
        self._tasks += [asyncio.create_task(self._begin(tenant, units)) for _ in range(count)]

    def send(self, tenant: str, count: int) -> None:
        self._tasks += [asyncio.create_task(self._piece(tenant)) for _ in range(count)]

    async def turn(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.number += 1
            await asyncio.sleep(0)

    async def end(self) -> str:
        """Whose turns there were, in order."""
        while not all(task.done() for task in self._tasks):
            await self.turn()
        await asyncio.gather(*self._tasks)
        return "".join(tenant for tenant, _ in self.told)

    def of(self, tenant: str) -> list[int]:
        return [number for each, number in self.told if each == tenant]


@pytest.fixture
def rounds(event_loop_stands_still: None) -> Rounds:
    return Rounds(Fairness(Weights(heavy=2)))


@pytest.fixture
async def event_loop_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock: what is remembered of lately isn't forgotten meanwhile."""
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)


async def test_who_asks_for_little_begins_at_once(rounds: Rounds) -> None:
    assert rounds.fairness.begin("a", WRITE) is None
    assert rounds.fairness.begin("b", WRITE) is None


async def test_of_a_busy_tenant_a_turns_worth_begins_and_then_a_round_passes(rounds: Rounds) -> None:
    rounds.ask("a", 1, 3 * TURN)
    assert await rounds.end() == "a" * 3 * TURN
    begun = rounds.of("a")
    assert {begun.count(number) for number in begun} == {TURN}
    assert min(b - a for a, b in zip(sorted(set(begun)), sorted(set(begun))[1:], strict=False)) >= 2


async def test_whoever_comes_meanwhile_waits_for_nothing(rounds: Rounds) -> None:
    rounds.ask("a", WRITE, 20)
    for _ in range(5):
        await rounds.turn(2)
        assert rounds.fairness.begin("b", WRITE) is None
        rounds.fairness._spent.clear()  # some time later
    assert len(rounds.of("a")) < 12


async def test_busy_tenants_take_turns_by_weight(rounds: Rounds) -> None:
    rounds.ask("a", WRITE, 4)
    rounds.ask("heavy", WRITE, 5)
    order = (await rounds.end()).replace("heavy", "h")
    assert order == "ah" + "a" + "hh" + "a" + "hh" + "a"


async def test_a_tenants_small_requests_count_as_much_as_anothers_large_ones(rounds: Rounds) -> None:
    rounds.ask("a", 1, 3 * TURN)
    rounds.ask("b", WRITE, 3)
    assert await rounds.end() == "a" * TURN + "b" + "a" * TURN + "b" + "a" * TURN + "b"


async def test_requests_and_pieces_alternate(rounds: Rounds) -> None:
    rounds.ask("a", WRITE, 4)
    rounds.send("b", 3)
    assert await rounds.end() == "aa" + "babab"  # of each the first finds nobody waiting
    taken = [number for _, number in rounds.told[1:]]
    assert len(set(taken)) == len(taken)


async def test_tenants_take_turns_whatever_number_of_answers_they_wait_for(rounds: Rounds) -> None:
    rounds.send("a", 5)
    rounds.send("b", 2)
    assert await rounds.end() == "a" + "abab" + "aa"


async def test_a_weight_is_so_many_pieces_in_a_row() -> None:
    rounds = Rounds(Fairness(Weights(b=2)))
    rounds.send("a", 3)
    rounds.send("b", 4)
    assert await rounds.end() == "a" + "abb" + "abb"


async def test_who_has_gone_takes_no_turn(rounds: Rounds) -> None:
    fairness = rounds.fairness
    assert fairness.begin("a", WRITE) is None
    gone, there = fairness.begin("a", WRITE), fairness.begin("a", WRITE)
    assert gone is not None
    assert there is not None
    gone.cancel()
    await asyncio.wait_for(there, 5)
    await fairness.piece("a")
    left, stays = (asyncio.ensure_future(fairness.piece("a")) for _ in range(2))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait_for(stays, 5)


async def test_so_many_of_a_tenant_may_wait(event_loop_stands_still: None) -> None:
    fairness = Fairness(Weights(), most=2)
    assert [fairness.begin("a", WRITE) is None for _ in range(3)] == [True, False, False]
    with pytest.raises(TooManyWait):
        fairness.begin("a", WRITE)
    assert fairness.begin("b", WRITE) is None


async def test_nothing_goes_on_when_nobody_waits(rounds: Rounds) -> None:
    rounds.ask("a", WRITE, 3)
    rounds.send("a", 3)
    await rounds.end()
    await rounds.turn(4)
    assert not rounds.fairness._running
