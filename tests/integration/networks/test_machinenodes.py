"""Several nodes on one machine: they reach each other and the outside, nothing of the machine, and leave nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernetes.providers.network.local import machinenodes

from .machines import HOST_ADDRESS, OUTSIDE_ADDRESS, Machine, machine

NODES = ("node-1", "node-2")


@pytest.fixture(scope="module", autouse=True)
def root() -> None:
    assert os.geteuid() == 0, "making network namespaces needs root: run the tests as root"


@pytest.fixture
def site() -> Iterator[Machine]:
    with machine() as made:
        yield made


def namespaces_of(cluster_id: str) -> list[Path]:
    return list(Path("/run/netns").glob(f"hn*-{cluster_id}*"))


def test_nodes_reach_each_other_and_the_outside_and_leave_nothing(site: Machine) -> None:
    cluster_id = site.new_cluster_id()
    links_before = site.state()["links"]
    machinenodes.ensure(cluster_id, NODES)
    machinenodes.ensure(cluster_id, NODES)
    first = machinenodes.namespace(cluster_id, NODES[0])

    def reached(address: str, wait: int = 5) -> bool:
        line = f"ip netns exec {first} ping -c 1 -W {wait} {address}"
        return site.host.command(line, check=False).returncode == 0

    try:
        assert reached(machinenodes.address(1))
        assert reached(OUTSIDE_ADDRESS)
        assert not reached(HOST_ADDRESS, wait=1)
        assert namespaces_of(cluster_id)
    finally:
        machinenodes.remove(cluster_id)
    machinenodes.remove(cluster_id)
    assert namespaces_of(cluster_id) == []
    assert site.state()["links"] == links_before
