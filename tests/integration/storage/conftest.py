import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.storage.etcd_process import EtcdProcess, running_etcd

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """One member that the whole session shares; nobody stops it."""
    with running_etcd(tmp_path_factory.mktemp("etcd")) as process:
        yield process


@pytest.fixture(params=["sqlite", "etcd"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "etcd":
        location = request.getfixturevalue("etcd").location
    else:
        location = str(tmp_path / "store" / "state.db")
    opened = await open_store(location)
    yield opened
    await opened.close()


@pytest.fixture
def root() -> str:
    """A prefix that no other test uses: the etcd is shared."""
    return f"/hypernetes/t{next(_numbers)}/"
