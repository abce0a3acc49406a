"""Networks that span nodes: VXLAN between two machines, each with its own kernel state."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hypernetes.providers.network.base import Allowance, NetworkError, Peer, PortPolicy
from hypernetes.providers.network.local import LocalNetworkProvider

from .machines import ECHO_PORT, OUTSIDE_ADDRESS, Machine, machine
from .pods import SILENCE, Pod
from .remote import Remote
from .suite import GATEWAY, Wiring, network, port

HERE, THERE = "203.0.113.1", "203.0.113.2"


@pytest.fixture(scope="module", autouse=True)
def root() -> None:
    assert os.geteuid() == 0, "making network namespaces needs root: run the tests as root"


@pytest.fixture
def site() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.fixture
def remote(site: Machine) -> Iterator[Remote]:
    there = Remote(site.new_cluster_id(), THERE)
    try:
        for line in (
            f"ip link add under0 type veth peer name under0 netns {there.pid}",
            f"ip address add {HERE}/24 dev under0",
            "ip link set under0 up",
        ):
            site.host.command(line)
        there.call("open")
        yield there
    finally:
        there.close()


@pytest.fixture
async def wiring(site: Machine, remote: Remote, tmp_path: Path) -> AsyncIterator[Wiring]:
    provider = LocalNetworkProvider(site.cluster_ids[0], "node-1", tmp_path, HERE)
    await provider.open()
    with ExitStack() as cleanup:
        yield Wiring(site, provider, cleanup)
    await provider.close(remove=True)


async def joined(wiring: Wiring, remote: Remote, tenant: str, here: str, there: str) -> Pod:
    """A pod on each node, and both nodes told of each other's."""
    spec = network(tenant)
    pod = await wiring.pod(port(spec, here))
    other = remote.call("plug", tenant, there)
    await wiring.provider.set_peers(spec, frozenset({Peer(other, there, THERE)}))
    remote.call("peers", tenant, [pod.mac_address, here, HERE])
    return pod


async def test_pods_of_one_network_reach_each_other_across_nodes(wiring: Wiring, remote: Remote) -> None:
    pod = await joined(wiring, remote, "acme", "10.0.0.5", "10.0.0.6")
    assert pod.ping("10.0.0.6")
    assert pod.ask("10.0.0.6", ECHO_PORT, b"x" * 3000)
    assert pod.ask_udp("10.0.0.6", ECHO_PORT) == b"hello"
    wiring.echo(pod)
    assert remote.call("ask", "10.0.0.6", "10.0.0.5") == "hello"
    assert remote.call("asked_by", 0) == ["10.0.0.5"]  # no address is translated on the way
    assert pod.command("ping -c 1 -W 5 -M do -s 1422 10.0.0.6").returncode == 0  # 1,450 bytes, whole


async def test_gateways_are_each_nodes_own(wiring: Wiring, remote: Remote) -> None:
    pod = await joined(wiring, remote, "acme", "10.0.0.5", "10.0.0.6")
    outside = wiring.echo()
    assert pod.ping(GATEWAY)
    assert remote.call("ping", "10.0.0.6", GATEWAY)
    assert pod.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
    assert len(outside.peers) == 1


async def test_tenants_with_equal_addresses_stay_apart_across_nodes(wiring: Wiring, remote: Remote) -> None:
    pod = await joined(wiring, remote, "acme", "10.0.0.5", "10.0.0.6")
    other = await wiring.pod(port(network("globex", segment_id=2), "10.0.0.5"))
    other.frames.clear()
    assert pod.ping("10.0.0.6")
    assert not other.ping("10.0.0.6", wait=SILENCE)
    assert not any(frame[26:30] == bytes((10, 0, 0, 6)) for frame in other.frames)


async def test_a_policy_is_about_peers_on_other_nodes_too(wiring: Wiring, remote: Remote) -> None:
    pod = await joined(wiring, remote, "acme", "10.0.0.5", "10.0.0.6")
    await wiring.provider.set_policy(pod.port, PortPolicy(ingress=()))
    assert not remote.call("ping", "10.0.0.6", "10.0.0.5")
    assert pod.ping("10.0.0.6")
    await wiring.provider.set_policy(pod.port, PortPolicy(ingress=(Allowance(("10.0.0.6/32",), None),)))
    assert remote.call("ping", "10.0.0.6", "10.0.0.5")


async def test_a_peer_that_is_gone_is_not_reached_and_the_last_takes_the_tunnel_along(
    wiring: Wiring, remote: Remote
) -> None:
    acme = network("acme")
    pod = await wiring.pod(port(acme, "10.0.0.5"))
    both = ("10.0.0.6", "10.0.0.7")
    peers = {address: Peer(remote.call("plug", "acme", address), address, THERE) for address in both}
    remote.call("peers", "acme", [pod.mac_address, "10.0.0.5", HERE])
    for there in ({"10.0.0.6"}, {"10.0.0.7"}, set(both), set()):
        await wiring.provider.set_peers(acme, frozenset(peers[address] for address in there))
        assert {address for address in peers if pod.ping(address, wait=SILENCE)} == there
    await wiring.provider.set_peers(acme, frozenset(peers.values()))
    await wiring.provider.unplug(pod.port.id)
    assert wiring.site.state()["namespaces"] == []


async def test_a_node_without_an_address_others_reach_says_so(site: Machine, tmp_path: Path) -> None:
    provider = LocalNetworkProvider(site.new_cluster_id(), "node-1", tmp_path)
    await provider.open()
    spec = port(network("acme"), "10.0.0.5")
    os.close((await provider.plug(spec)).tap_fd)
    with pytest.raises(NetworkError) as refused:
        await provider.set_peers(spec.network, frozenset({Peer("02:00:00:00:00:01", "10.0.0.6", THERE)}))
    assert refused.value.reason == "NoNodeAddress"
    await provider.close(remove=True)
