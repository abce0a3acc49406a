"""acme's administrator listens to everything that pods of globex say, and hears nothing of it."""

from pathlib import Path

import pytest

from tests.integration.isolation import speaking
from tests.integration.isolation.twins import twins


async def test_no_log_stream_proxy_or_measure_gives_one_tenant_a_byte_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with twins(tmp_path, monkeypatch) as made:
        await speaking.everything(made)
