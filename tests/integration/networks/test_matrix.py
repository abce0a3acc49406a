"""The isolation matrix on the local provider: two tenants of the same addresses, on two nodes."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from .machines import Machine, machine
from .matrix import Matrix, differences, matrix
from .policycases import CASES, MEMBERS, Case, check
from .twonodes import two_nodes


@pytest.fixture(scope="module", autouse=True)
def root() -> None:
    assert os.geteuid() == 0, "making network namespaces needs root: run the tests as root"


@pytest.fixture(scope="module")
def site() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(site: Machine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    async with two_nodes(site, tmp_path_factory.mktemp("nodes")) as wires, matrix(MEMBERS, wires) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_each_tenant_reaches_its_own_pods_and_nobody_elses(asked: Matrix) -> None:
    expected = asked.everybody()
    assert {asked.members[name].node for name, _ in expected} == {0, 1}
    assert list(differences(await asked.ask(expected), expected)) == []
    assert asked.strayed() == []


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_under_policies(asked: Matrix, case: Case) -> None:
    assert await check(asked, case) == []
