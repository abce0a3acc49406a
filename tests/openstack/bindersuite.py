"""What every network provider that binds ports must do, on two nodes of an OVN; pods are namespaces behind its taps.

A test module derives from `PortBinderSuite` and says how to make the provider (`wired`).
"""

import asyncio
import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from hypernetes.providers.network.base import (
    OPEN,
    Allowance,
    NetworkError,
    NetworkSpec,
    PluggedPort,
    PolicyGroup,
    PortPolicy,
    PortRange,
    PortSpec,
    Subnet,
)
from tests.integration.networks.machines import ECHO_PORT, EchoServer
from tests.integration.networks.pods import SILENCE, Pod, arp
from tests.openstack.ovns import OVN
from tests.openstack.switches import OUTSIDE_GATEWAY

NO_SEGMENTS: frozenset[int] = frozenset()
OPEN_GROUP = PolicyGroup("open", OPEN)
CIDR = "10.0.0.0/24"


def network_of(tenant: str, project: str, name: str = "default", *subnets: Subnet, adopts: str = "") -> NetworkSpec:
    def uid(*parts: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))

    return NetworkSpec(
        tenant=tenant, tenant_uid=uid(tenant), name=name, uid=uid(tenant, name),
        subnets=() if adopts else subnets or (Subnet("a", CIDR, "10.0.0.1"),), service_cidr="10.254.0.0/16",
        provider_network_id=adopts or None, project=project,
    )  # fmt: skip


def port_of(network: NetworkSpec, address: str) -> PortSpec:
    id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{network.uid}/{address}"))
    octets = hashlib.sha256(id.encode()).digest()[:5]
    mac = ":".join(["02", *(f"{octet:02x}" for octet in octets)])
    return PortSpec(id, network, network.subnets[0], address, mac)


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """`holds` takes its time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0)


class Site(ABC):
    """A cluster's control side, and its agents on OVN's nodes."""

    control: Any  # a NetworkProvider and PortBinder

    def __init__(self, ovn: OVN) -> None:
        self.ovn = ovn
        self.pods = ExitStack()

    @abstractmethod
    async def on_node(self, node: str, port: PortSpec) -> PluggedPort:
        """Plugs a port that is bound."""

    @abstractmethod
    def project(self, name: str) -> str:
        """The id of a tenant's project; "" where tenants need none."""

    @abstractmethod
    def port_ids(self) -> set[str]:
        """Of all ports that the provider has anywhere."""

    @abstractmethod
    def remove_port(self, id: str) -> None:
        """Behind its back."""

    async def pod(self, port: PortSpec, node: str, group: PolicyGroup = OPEN_GROUP) -> Pod:
        binding = await self.control.bind_port(port, node, group)
        return await self.plug(port, node, binding)

    async def plug(self, port: PortSpec, node: str, binding: Mapping[str, str]) -> Pod:
        spec = replace(port, binding=tuple(binding.items()))
        made = await self.on_node(node, spec)
        return self.pods.enter_context(closing(Pod(spec, made)))


class PortBinderSuite:
    @pytest.fixture
    async def wired(self) -> AsyncIterator[Site]:
        raise NotImplementedError

    async def test_pods_reach_each_other_across_nodes_and_the_outside_and_no_other_tenant(self, wired: Site) -> None:
        projects = {name: wired.project(f"reach-{name}") for name in ("acme", "globex")}
        pods = {}
        for tenant, project in projects.items():
            network = network_of(tenant, project)
            ensured = await wired.control.ensure_network(network, NO_SEGMENTS)
            assert await wired.control.ensure_network(network, NO_SEGMENTS) == ensured
            for node, address in (("host1", "10.0.0.5"), ("host2", "10.0.0.6")):
                pods[tenant, node] = await wired.pod(port_of(network, address), node)
        one, two = pods["acme", "host1"], pods["acme", "host2"]
        only_globex = await wired.pod(port_of(network_of("globex", projects["globex"]), "10.0.0.7"), "host1")
        server = EchoServer(two.namespace)
        try:
            await until(lambda: one.ping(two.address))  # what goes between nodes first waits for the other's address
            assert one.ask(two.address, ECHO_PORT, b"x" * 3000)
            assert one.ask_udp(two.address, ECHO_PORT) == b"hello"
            assert pods["globex", "host1"].ask(two.address, ECHO_PORT, wait=SILENCE) is None
        finally:
            server.close()
        assert server.peers == [one.address] * len(server.peers)
        assert not one.ping(only_globex.address, wait=SILENCE)
        assert one.ping(OUTSIDE_GATEWAY)

    async def test_a_pod_that_lies_about_its_address_is_not_heard_and_the_host_hears_no_pod(self, wired: Site) -> None:
        project = wired.project("lies")
        network = network_of("lies", project)
        await wired.control.ensure_network(network, NO_SEGMENTS)
        liar = await wired.pod(port_of(network, "10.0.0.5"), "host1")
        witness = await wired.pod(port_of(network, "10.0.0.6"), "host1")
        assert liar.ping(witness.address)
        lie = arp(liar.mac_address, liar.mac_address, "10.0.0.99", witness.address)
        before = len(witness.frames)
        liar.send(lie)
        liar.send(arp("02:00:00:00:00:99", "02:00:00:00:00:99", liar.address, witness.address))
        assert liar.ping(witness.address)  # what came after them has come
        assert not any(b"\x0a\x00\x00\x63" in frame for frame in witness.frames[before:])
        # The host has addresses of its own, and its kernel has a copy of every frame.
        liar.frames.clear()
        liar.send(arp(liar.mac_address, liar.mac_address, liar.address, OUTSIDE_GATEWAY))
        assert liar.ping(witness.address)
        answers = [frame for frame in liar.frames if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x02"]
        assert not any(frame[28:32] == bytes(map(int, OUTSIDE_GATEWAY.split("."))) for frame in answers)

    async def test_a_policy_is_in_force_changes_and_ends(self, wired: Site) -> None:
        project = wired.project("policies")
        network = network_of("policies", project)
        await wired.control.ensure_network(network, NO_SEGMENTS)
        allowed = Allowance(("10.0.0.6/32",), (PortRange("TCP", ECHO_PORT, ECHO_PORT),))
        closed = PolicyGroup("of-the-server", PortPolicy(ingress=(allowed,)))
        server = await wired.pod(port_of(network, "10.0.0.5"), "host1", closed)
        friend = await wired.pod(port_of(network, "10.0.0.6"), "host2")
        stranger = await wired.pod(port_of(network, "10.0.0.7"), "host1")
        echo = EchoServer(server.namespace)
        try:
            await until(lambda: friend.ask(server.address, ECHO_PORT) == b"hello")
            assert friend.ask_udp(server.address, ECHO_PORT, wait=SILENCE) is None
            assert not friend.ping(server.address, wait=SILENCE)
            assert stranger.ask(server.address, ECHO_PORT, wait=SILENCE) is None
            assert server.ping(stranger.address)
            await wired.control.set_group(network, PolicyGroup(closed.key, PortPolicy(ingress=(), egress=())))
            await until(lambda: friend.ask(server.address, ECHO_PORT, wait=SILENCE) is None)
            assert not server.ping(stranger.address, wait=SILENCE)
            await wired.control.bind_port(server.port, "host1", OPEN_GROUP)
            await until(lambda: friend.ping(server.address))
            assert stranger.ask(server.address, ECHO_PORT) == b"hello"
        finally:
            echo.close()

    async def test_what_is_lost_is_told_and_what_leaked_is_swept(self, wired: Site) -> None:
        network = network_of("sweeping", wired.project("sweeping-too"))
        await wired.control.ensure_network(network, NO_SEGMENTS)
        kept, leaked, lost = (port_of(network, f"10.0.0.{number}") for number in (5, 6, 7))
        ids = {
            port.id: (await wired.control.bind_port(port, "host1", OPEN_GROUP))["portID"]
            for port in (kept, leaked, lost)
        }
        wired.remove_port(ids[lost.id])
        keep = {port.id: ids[port.id] for port in (kept, lost)}
        assert await wired.control.sweep_ports(keep) == {lost.id}
        assert await wired.control.sweep_ports(keep) == {lost.id}
        assert {*wired.port_ids()} & {*ids.values()} == {ids[kept.id]}
        again = await wired.control.bind_port(lost, "host1", OPEN_GROUP)
        assert await wired.control.sweep_ports({**keep, lost.id: again["portID"]}) == frozenset()
        await wired.control.release_port(kept)
        await wired.control.release_port(kept)
        assert ids[kept.id] not in wired.port_ids()

    async def test_a_network_that_cannot_be_is_refused(self, wired: Site) -> None:
        project = wired.project("impossible")
        for cidr, gateway in (("10.0.0.0/24", "10.0.1.1"), ("10.0.0.1/24", "10.0.0.1"), ("nonsense", "10.0.0.1")):
            network = network_of("impossible", project, "default", Subnet("a", cidr, gateway))
            with pytest.raises(NetworkError) as refused:
                await wired.control.ensure_network(network, NO_SEGMENTS)
            assert refused.value.reason == "InvalidSubnet"

    async def test_a_deleted_network_is_gone_and_its_pods_reach_nothing(self, wired: Site) -> None:
        network = network_of("ending", wired.project("ending"))
        await wired.control.ensure_network(network, NO_SEGMENTS)
        one, two = [await wired.pod(port_of(network, f"10.0.0.{number}"), "host1") for number in (5, 6)]
        await until(lambda: one.ping(two.address))
        await wired.control.delete_network(network)
        await wired.control.delete_network(network)
        await until(lambda: not one.ping(two.address, wait=SILENCE))
