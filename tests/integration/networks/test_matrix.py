"""The isolation matrix on the local provider: two tenants of the same addresses, on two nodes."""

import os
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from hypernetes.providers.network.local.addressing import TUNNEL_PORT

from .machines import Machine, machine
from .matrix import Matrix, differences, matrix
from .pods import udp
from .policycases import CASES, MEMBERS, Case, check
from .twonodes import NODES, two_nodes


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


async def test_a_pod_that_speaks_vxlan_to_a_node_is_not_heard(asked: Matrix) -> None:
    victim, friend, stranger = asked.pods["x/a"], asked.pods["x/b"], asked.pods["globex:x/a"]
    node = NODES[asked.members["x/a"].node]
    lie = udp(friend.mac_address, friend.address, victim.address, to=victim.mac_address)
    segment_of_acme = struct.pack("!II", 0x08 << 24, 1 << 8)
    victim.frames.clear()
    stranger.ask_udp(node, TUNNEL_PORT, segment_of_acme + lie, wait=0.1)
    assert friend.ping(victim.address)  # what was sent before has come
    assert [frame for frame in victim.frames if b"spoof" in frame] == []


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_under_policies(asked: Matrix, case: Case) -> None:
    assert await check(asked, case) == []
