"""A provider that hangs, blocks, raises, lies or exits: its caller hears of it in time, and goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hypernetes.providers import loading
from hypernetes.providers.network.base import EnsuredNetwork, NetworkError
from tests.thirdparty.wheels import reachable

from . import unruly
from .suite import network

CALL_SECONDS = 1.0


@pytest.fixture
def mood(tmp_path: Path) -> Iterator[Path]:
    unruly.install(tmp_path / "packages")
    file = tmp_path / "mood"
    file.write_text("works")
    with reachable(tmp_path / "packages"):
        yield file


@pytest.fixture
async def provider(mood: Path, tmp_path: Path) -> AsyncIterator[Any]:
    factory = partial(loading.load("network", "unruly"), call_seconds=CALL_SECONDS)
    made = factory(cluster_id="abc123", node_name="n", state_dir=tmp_path, configuration=mood)
    try:
        yield made
    finally:
        await made.close(remove=False)


async def works(provider: Any) -> None:
    """At last: a process that ended is started again with back-off."""
    async with asyncio.timeout(20):
        while True:
            try:
                ensured = await provider.ensure_network(network("acme"), frozenset({5}))
                assert ensured == EnsuredNetwork(2)
                return
            except NetworkError as error:
                if error.reason != "ProviderExited":
                    raise
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("does", "reason", "says"),
    [
        ("hangs", "ProviderSilent", "no answer to ensure_network"), ("blocks", "ProviderSilent", "no answer"),
        ("raises", "ProviderFailed", "out of ideas"), ("refuses", "Full", "make some"),
        ("exits", "ProviderExited", "exit code 7"), ("leaves", "ProviderExited", "exit code"),
        ("lies", "ProviderFailed", "with str, not EnsuredNetwork"),
    ],
)  # fmt: skip
async def test_what_it_does_is_an_error_in_time_and_the_next_call_is_answered(
    provider: Any, mood: Path, does: str, reason: str, says: str
) -> None:
    await works(provider)
    mood.write_text(does)
    began = time.monotonic()
    with pytest.raises(NetworkError, match=says) as refused:
        await provider.ensure_network(network("acme"), frozenset())
    assert refused.value.reason == reason
    assert time.monotonic() - began < 10
    mood.write_text("works")
    await works(provider)


async def test_a_call_that_hangs_holds_up_no_other(provider: Any, mood: Path) -> None:
    mood.write_text("hangs")
    hanging = asyncio.create_task(provider.ensure_network(network("acme"), frozenset()))
    await asyncio.sleep(0.3)
    mood.write_text("works")
    await works(provider)
    assert not hanging.done()
    with pytest.raises(NetworkError):
        await hanging


async def test_a_caller_that_goes_takes_its_call_along(provider: Any, mood: Path) -> None:
    mood.write_text("blocks")
    call = asyncio.create_task(provider.ensure_network(network("acme"), frozenset()))
    await asyncio.sleep(0.3)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    mood.write_text("works")
    await works(provider)
