"""A tenant's server that doesn't answer holds up that tenant alone, and not for long."""

import asyncio

import pytest

from hypernetes.controllers.autoscaling.guarding import AT_ONCE, PAUSE_SECONDS, Guard, Paused

pytestmark = pytest.mark.looptime


async def ask(guard: Guard, key: str, seconds: float = 10.0, *, silent: bool = False) -> str:
    try:
        async with guard.turn(key):
            await asyncio.sleep(seconds)
            if silent:
                raise TimeoutError
        return "answered"
    except TimeoutError:
        return "silent"
    except Paused:
        return "paused"


async def test_of_many_that_wait_for_a_silent_server_only_the_first_wait_long() -> None:
    guard, now = Guard(), asyncio.get_running_loop().time
    began = now()
    told = await asyncio.gather(*(ask(guard, "acme", silent=True) for _ in range(100)), ask(guard, "globex", 1))
    assert told == ["silent"] * AT_ONCE + ["paused"] * (100 - AT_ONCE) + ["answered"]
    assert now() - began == 10
    assert await ask(guard, "acme") == "paused"
    assert now() - began == 10


async def test_after_the_pause_one_finds_out() -> None:
    guard = Guard()
    assert await ask(guard, "acme", silent=True) == "silent"
    await asyncio.sleep(PAUSE_SECONDS)
    assert await asyncio.gather(*(ask(guard, "acme", silent=True) for _ in range(3))) == ["silent", "paused", "paused"]
    await asyncio.sleep(PAUSE_SECONDS)
    assert await ask(guard, "acme") == "answered"
    assert await asyncio.gather(*(ask(guard, "acme") for _ in range(9))) == ["answered"] * 9


async def test_a_refusal_is_an_answer() -> None:
    guard = Guard()
    with pytest.raises(ValueError, match="no such metric"):
        async with guard.turn("acme"):
            raise ValueError("no such metric")
    assert await ask(guard, "acme") == "answered"
