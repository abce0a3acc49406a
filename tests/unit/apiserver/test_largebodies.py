"""Large bodies: read elsewhere, one at a time for each tenant, and small ones don't wait for them."""

import asyncio
import threading

import pytest

from hypernetes.apiserver.largebodies import LARGE_BYTES, LARGE_YAML_BYTES, LargeBodies, is_json, is_large


async def test_reading_leaves_the_loop_to_others():
    bodies, release, others = LargeBodies(), threading.Event(), []

    def slow():
        release.wait(20)
        return threading.current_thread()

    reading = asyncio.create_task(bodies.read(slow))
    await asyncio.sleep(0)
    others.append("somebody else's request")
    release.set()
    assert await reading is not threading.current_thread()
    assert others


async def test_what_goes_wrong_while_reading_is_told():
    def wrong():
        raise ValueError("no JSON")

    with pytest.raises(ValueError, match="no JSON"):
        await LargeBodies().read(wrong)


async def test_a_tenant_has_one_turn_and_another_tenant_its_own():
    bodies = LargeBodies()
    first = bodies.turn("acme")
    async with first:
        assert bodies.turn("acme").locked()
        assert not bodies.turn("globex").locked()


async def test_tenants_without_large_bodies_are_forgotten():
    bodies = LargeBodies()
    for number in range(100):
        async with bodies.turn(f"t{number}"):
            pass
    assert len(bodies._turns) <= 1


@pytest.mark.parametrize(
    ("size", "kind", "large"),
    [
        (LARGE_BYTES, "application/json", False), (LARGE_BYTES + 1, "application/json", True),
        (LARGE_YAML_BYTES + 1, "application/yaml", True), (10, "application/yaml", False), (10, "", False),
    ],
)  # fmt: skip
def test_small_yaml_may_be_large(size, kind, large):
    assert is_large(size, kind) is large


@pytest.mark.parametrize(
    ("body", "known"),
    [(b' {"a": 1}', True), (b"{a: &a [1], b: *a}", False), (b"a: 1", False), (b"", False), (b'{"a": 1', False)],
)
def test_yaml_that_is_json_is_read_in_no_time(body, known):
    assert is_json(body) is known
    padded = body + b" " * (LARGE_YAML_BYTES + 1)
    assert is_large(len(padded), "application/apply-patch+yaml", padded) is not known
    assert is_large(LARGE_BYTES + 1, "application/apply-patch+yaml", body)
