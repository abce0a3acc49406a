"""Pieces of large answers have turns: one for each round of the loop, and tenants theirs by weight."""

import asyncio

from hypernetes.apiserver.sending import Turns


class Weights:
    """What Turns asks of Lookups."""

    def __init__(self, **weights: int) -> None:
        self._weights = weights

    def tenant_weight(self, tenant: str) -> int:
        return self._weights.get(tenant, 1)


async def order(turns: Turns, **answers: int) -> list[str]:
    """Whose turn it was, of tenants with so many answers of one piece each; the first finds nobody waiting."""
    told: list[str] = []

    async def piece(tenant: str) -> None:
        await turns.turn(tenant)
        told.append(tenant)

    await asyncio.gather(*(piece(tenant) for tenant, count in answers.items() for _ in range(count)))
    return told


async def test_tenants_take_turns_whatever_number_of_answers_they_wait_for() -> None:
    assert "".join(await order(Turns(Weights()), a=5, b=2)) == "a" + "abab" + "aa"


async def test_a_weight_is_so_many_turns_in_a_row() -> None:
    assert "".join(await order(Turns(Weights(b=2)), a=3, b=4)) == "a" + "abb" + "abb"


async def test_each_round_of_the_loop_has_one_turn() -> None:
    turns, rounds, taken = Turns(Weights()), 0, list[int]()

    async def piece() -> None:
        await turns.turn("a")
        taken.append(rounds)

    pieces = asyncio.gather(*(piece() for _ in range(20)))
    while not pieces.done():
        rounds += 1
        await asyncio.sleep(0)
    assert max(map(taken.count, taken)) == 1


async def test_who_has_gone_takes_no_turn() -> None:
    turns = Turns(Weights())
    await turns.turn("a")
    gone, there = (asyncio.ensure_future(turns.turn("a")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait_for(there, 5)
