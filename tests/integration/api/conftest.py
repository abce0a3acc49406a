import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.apiserver import server
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.watchers import Watchers
from tests.integration.api import fuzzing
from tests.integration.api.servers import User, serving
from tests.integration.storage.conftest import etcd, store

__all__ = ["etcd", "store"]


@pytest.fixture
async def admin(store: Store, tmp_path: Path) -> AsyncIterator[User]:
    """The provider's administrator, at a server of its own; once per store."""
    async with serving(store, tmp_path, f"t{secrets.token_hex(3)}") as user:
        yield user


@pytest.fixture
def watchers(monkeypatch: pytest.MonkeyPatch) -> Watchers:
    """Those of the server that starts next."""
    watchers = Watchers()
    monkeypatch.setattr(server, "Watchers", lambda: watchers)
    return watchers


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"to repeat the fuzzing: {fuzzing.SEED_VARIABLE}={fuzzing.SEED}")
