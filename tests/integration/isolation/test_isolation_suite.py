"""acme's administrator reaches for everything of globex, and receives not one byte of it."""

import base64
from pathlib import Path

import pytest

from tests.integration.isolation import attacks, comparing
from tests.integration.isolation.canaries import Canaries, Leak
from tests.integration.isolation.worlds import world


@pytest.mark.parametrize("over_http2", [False, True], ids=["http1", "http2"])
async def test_no_verb_of_any_resource_gives_one_tenant_a_byte_of_another(tmp_path: Path, over_http2: bool) -> None:
    async with world(tmp_path, over_http2=over_http2) as found:
        await attacks.everything(found)
        assert found.acme.received > 1_000_000  # bytes: something was looked at


async def test_counts_quotas_and_errors_are_the_same_whether_the_other_tenant_is_empty_or_full(tmp_path: Path) -> None:
    async with world(tmp_path, filled=False) as found:
        await comparing.comparison(found)


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_a_canary_is_found_plain_and_in_base64(before: bytes) -> None:
    canaries = Canaries()
    canary = canaries.fresh().encode()
    canaries.check(b"nothing of it", "")
    for received in (before + canary, base64.b64encode(before + canary + b"after")):
        with pytest.raises(Leak):
            canaries.check(received, "")
