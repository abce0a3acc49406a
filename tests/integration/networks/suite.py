"""What every network provider must do. A test module derives from `NetworkSuite` and says how to make a provider."""

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import ClassVar

import pytest

from hypernetes.providers.network.base import (
    OPEN,
    Allowance,
    NetworkError,
    NetworkProvider,
    NetworkSpec,
    PortPolicy,
    PortRange,
    PortSpec,
    Subnet,
)

from .machines import (
    ECHO_PORT,
    HOST_ADDRESS,
    HOST_SECOND_ADDRESS,
    METADATA_ADDRESS,
    OUTSIDE_ADDRESS,
    EchoServer,
    Machine,
    machine,
)
from .pods import SILENCE, Pod, arp, mac, udp

MakeProvider = Callable[..., Awaitable[NetworkProvider]]
CIDR, GATEWAY = "10.0.0.0/24", "10.0.0.1"
SERVICE_CIDR = "10.254.0.0/16"
LLDP = "01:80:c2:00:00:0e"  # a bridge keeps frames to it from its forwarding path


def network(tenant: str, name: str = "default", *subnets: Subnet, segment_id: int = 1) -> NetworkSpec:
    def uid(*parts: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))

    return NetworkSpec(
        tenant=tenant,
        tenant_uid=uid(tenant),
        name=name,
        uid=uid(tenant, name),
        subnets=subnets or (Subnet("a", CIDR, GATEWAY),),
        service_cidr=SERVICE_CIDR,
        segment_id=segment_id,
    )


def port(of: NetworkSpec, address: str, subnet: int = 0, *, mac_address: str | None = None) -> PortSpec:
    port_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{of.tenant}/{of.name}/{address}"))
    digest = hashlib.sha256(port_id.encode()).digest()[:5]
    made = "02:" + ":".join(f"{octet:02x}" for octet in digest)
    return PortSpec(port_id, of, of.subnets[subnet], address, mac_address or made)


class Wiring:
    """A machine with one cluster's provider, and the pods that a test puts on it."""

    def __init__(self, site: Machine, provider: NetworkProvider, cleanup: ExitStack) -> None:
        self.site, self.provider, self._cleanup = site, provider, cleanup

    async def pod(self, spec: PortSpec, provider: NetworkProvider | None = None) -> Pod:
        plugged = await (provider or self.provider).plug(spec)
        return self._cleanup.enter_context(_closing(Pod(spec, plugged)))

    def echo(self, place: Pod | Machine | None = None) -> EchoServer:
        """An echo server in a pod, or outside."""
        namespace = place.namespace if isinstance(place, Pod) else self.site.outside
        return self._cleanup.enter_context(_closing(EchoServer(namespace)))


@contextmanager
def _closing(thing):  # type: ignore[no-untyped-def]
    try:
        yield thing
    finally:
        thing.close()


class NetworkSuite:
    @pytest.fixture
    def site(self) -> Iterator[Machine]:
        with machine() as made:
            yield made

    @pytest.fixture
    async def make_provider(self, site: Machine) -> AsyncIterator[MakeProvider]:
        """Makes an opened provider: `await make_provider(cluster_id, node_name)`; all are removed at the end."""
        raise NotImplementedError

    @pytest.fixture
    async def provider(self, site: Machine, make_provider: MakeProvider) -> NetworkProvider:
        return await make_provider(site.new_cluster_id())

    @pytest.fixture
    def wiring(self, site: Machine, provider: NetworkProvider) -> Iterator[Wiring]:
        with ExitStack() as cleanup:
            yield Wiring(site, provider, cleanup)

    # -- what works --

    async def test_pods_of_one_network_reach_each_other_and_their_gateway(self, wiring: Wiring) -> None:
        acme = network("acme")
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        wiring.echo(two)
        assert one.ping(GATEWAY)
        assert one.ping(two.address)
        assert one.ask(two.address, ECHO_PORT, b"x" * 3000)
        assert one.ask_udp(two.address, ECHO_PORT) == b"hello"

    async def test_subnets_of_one_network_each_have_their_gateway(self, wiring: Wiring) -> None:
        acme = network("acme", "default", Subnet("a", CIDR, GATEWAY), Subnet("b", "10.0.9.0/24", "10.0.9.254"))
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.9.5", 1))
        assert one.ping(GATEWAY)
        assert two.ping("10.0.9.254")

    async def test_pods_reach_the_outside_behind_an_address_of_the_machine(self, wiring: Wiring) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        outside = wiring.echo()
        assert one.ping(OUTSIDE_ADDRESS)
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert one.ask_udp(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert set(outside.peers) == {HOST_ADDRESS}

    async def test_a_port_carries_full_frames(self, wiring: Wiring) -> None:
        acme = network("acme")
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        assert one.command(f"ping -c 1 -W 5 -M do -s 1472 {two.address}").returncode == 0

    async def test_many_ports_can_be_plugged_at_once(self, wiring: Wiring) -> None:
        specs = [port(network(f"t{number % 3}"), f"10.0.0.{number}") for number in range(10, 22)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(wiring.pod(spec)) for spec in specs]
        pods = [task.result() for task in tasks]
        assert all(pod.ping(GATEWAY) for pod in pods)

    # -- tenants --

    async def test_tenants_with_equal_ranges_and_addresses_do_not_meet(self, wiring: Wiring) -> None:
        pods = {}
        for tenant in ("acme", "globex"):
            spec = network(tenant)
            for address in ("10.0.0.5", "10.0.0.6"):
                pods[tenant, address] = await wiring.pod(port(spec, address))
        wiring.echo(pods["acme", "10.0.0.6"])
        assert pods["acme", "10.0.0.5"].ask("10.0.0.6", ECHO_PORT) == b"hello"
        assert pods["globex", "10.0.0.5"].ask("10.0.0.6", ECHO_PORT, wait=SILENCE) is None

    async def test_no_frame_of_a_tenant_shows_up_at_another(self, wiring: Wiring) -> None:
        acme, globex = network("acme"), network("globex")
        victim = await wiring.pod(port(acme, "10.0.0.77"))
        prober = await wiring.pod(port(globex, "10.0.0.5"))
        helper = await wiring.pod(port(globex, "10.0.0.6"))  # sees what the probes would look like
        victim.frames.clear()
        for address in ("10.0.0.77", "10.0.0.255"):
            prober.ping(address, wait=SILENCE)
            prober.ask(address, ECHO_PORT, wait=SILENCE)
            prober.ask_udp(address, ECHO_PORT, wait=SILENCE)
        prober.send(arp(prober.mac_address, prober.mac_address, prober.address, victim.address))
        prober.send(udp(prober.mac_address, prober.address, victim.address, to=victim.mac_address))
        prober.send(udp(prober.mac_address, prober.address, "255.255.255.255"))
        assert await eventually(lambda: any(b"spoof" in frame for frame in helper.frames))
        assert [frame for frame in victim.frames if mac(prober.mac_address) in frame] == []

    async def test_networks_of_one_tenant_do_not_reach_each_other(self, wiring: Wiring) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        other_network = network("acme", "other", Subnet("a", "10.1.0.0/24", "10.1.0.1"))
        other = await wiring.pod(port(other_network, "10.1.0.5"))
        wiring.echo(other)
        assert one.ask(other.address, ECHO_PORT, wait=SILENCE) is None
        assert other.ping("10.1.0.1")

    # -- what pods must not reach --

    @pytest.mark.parametrize("address", [HOST_ADDRESS, HOST_SECOND_ADDRESS, METADATA_ADDRESS, "127.0.0.1"])
    async def test_neither_the_machine_nor_link_local_addresses_answer(self, wiring: Wiring, address: str) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        one.command("sysctl -qw net.ipv4.conf.all.route_localnet=1")
        one.command("ip address flush dev lo")
        one.command(f"ip route replace {address} via {GATEWAY} src {one.address}")
        on_host = EchoServer(wiring.site.host)
        try:
            outside = wiring.echo()
            assert one.ask(address, ECHO_PORT, wait=SILENCE) is None
            assert one.ask_udp(address, ECHO_PORT, wait=SILENCE) is None
            assert not one.ping(address, wait=SILENCE)
            assert on_host.peers == outside.peers == []
        finally:
            on_host.close()

    async def test_the_machine_has_no_address_or_route_in_a_tenants_network(self, wiring: Wiring) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        wiring.echo(one)
        assert "10.0.0." not in wiring.site.host.command("ip -4 address").stdout
        assert wiring.site.host.command("ip route get 10.0.0.5").stdout.startswith(f"10.0.0.5 via {OUTSIDE_ADDRESS}")

    async def test_a_service_address_leaves_no_pods_network(self, wiring: Wiring) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        wiring.site.outside.command("ip address add 10.254.0.10/32 dev out0")
        outside = wiring.echo()
        assert one.ask("10.254.0.10", ECHO_PORT, wait=SILENCE) is None
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"  # the server works
        assert len(outside.peers) == 1

    # -- what pods must not send --

    async def test_frames_with_another_source_go_nowhere(self, wiring: Wiring) -> None:
        acme = network("acme")
        liar, witness = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        own, other = liar.mac_address, "02:00:00:00:00:99"
        ethernet, truth = mac("ff:ff:ff:ff:ff:ff") + mac(own), udp(own, liar.address, "10.0.0.255")
        lies = {
            "MAC": udp(other, liar.address, "10.0.0.255"),
            "address": udp(own, "10.0.0.9", "10.0.0.255"),
            "no address": udp(own, "0.0.0.0", "255.255.255.255"),
            "gateway's address": udp(own, GATEWAY, "10.0.0.255"),
            "ARP for the gateway": arp(own, own, GATEWAY, witness.address, operation=2),
            "ARP with another MAC inside": arp(own, other, liar.address, witness.address, operation=2),
            "ARP from another MAC": arp(other, own, liar.address, witness.address),
            "DHCP server": udp(own, liar.address, "255.255.255.255", ports=(67, 68)),
            "router advertisement": ethernet + bytes.fromhex("86dd60000000000000ff") + b"spoof",
            "VLAN": truth[:12] + bytes.fromhex("81000001") + truth[12:],
            "two VLANs": truth[:12] + bytes.fromhex("88a8000181000001") + truth[12:],
            "spanning tree": mac("01:80:c2:00:00:00") + mac(own) + b"\0\x26BBspoof",
            "another protocol": ethernet + bytes.fromhex("88cc") + b"spoof",
        }
        witness.frames.clear()
        for lie in lies.values():
            liar.send(lie)
        liar.send(udp(own, liar.address, "10.0.0.255", ports=(1, 2)))
        last = udp(own, liar.address, "10.0.0.255", ports=(1, 2))
        assert await eventually(lambda: any(frame.startswith(last) for frame in witness.frames))
        seen = [what for what, lie in lies.items() if any(frame.startswith(lie) for frame in witness.frames)]
        assert seen == []
        assert len([frame for frame in witness.frames if mac(own) in frame]) == 1

    async def test_a_pod_cannot_draw_anothers_traffic_to_itself(self, wiring: Wiring) -> None:
        acme = network("acme")
        thief = await wiring.pod(port(acme, "10.0.0.5"))
        victim = await wiring.pod(port(acme, "10.0.0.6"))
        client = await wiring.pod(port(acme, "10.0.0.7"))
        wiring.echo(victim)
        assert client.ask(victim.address, ECHO_PORT, b"secret") == b"secret"  # so that all know the victim's place
        thief.frames.clear()
        for target in ("ff:ff:ff:ff:ff:ff", client.mac_address, LLDP):
            thief.send(udp(victim.mac_address, victim.address, client.address, to=target))
        client.send(udp(client.mac_address, client.address, victim.address, to=victim.mac_address))
        assert await eventually(lambda: any(b"spoof" in frame for frame in victim.frames))
        assert client.ask(victim.address, ECHO_PORT, b"secret") == b"secret"
        assert not any(b"secret" in frame or b"spoof" in frame for frame in thief.frames)

    # -- policies --

    async def test_a_port_with_a_policy_is_asked_by_whom_it_allows_only(self, wiring: Wiring) -> None:
        acme = network("acme")
        pods = [await wiring.pod(port(acme, f"10.0.0.{number}")) for number in (5, 6, 7)]
        server, friend, stranger = pods
        wiring.echo(server)
        allowed = Allowance((f"{friend.address}/32",), (PortRange("TCP", ECHO_PORT, ECHO_PORT),))
        await wiring.provider.set_policy(server.port, PortPolicy(ingress=(allowed,)))
        assert friend.ask(server.address, ECHO_PORT) == b"hello"
        assert friend.ask_udp(server.address, ECHO_PORT, wait=SILENCE) is None
        assert not friend.ping(server.address, wait=SILENCE)
        assert stranger.ask(server.address, ECHO_PORT, wait=SILENCE) is None
        wiring.echo(stranger)
        assert server.ask(stranger.address, ECHO_PORT) == b"hello"  # it may ask whom it likes, and gets the answer
        assert stranger.ping(friend.address)

    async def test_a_port_with_a_policy_begins_what_it_may_only(self, wiring: Wiring) -> None:
        acme = network("acme")
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        wiring.echo(two)
        outside = wiring.echo()
        await wiring.provider.set_policy(one.port, PortPolicy(egress=(Allowance(("10.0.0.0/24",), None),)))
        assert one.ping(two.address)
        assert one.ask(two.address, ECHO_PORT) == b"hello"
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT, wait=SILENCE) is None
        assert two.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert len(outside.peers) == 1
        udp_to_outside = Allowance((f"{OUTSIDE_ADDRESS}/32",), (PortRange("UDP"),))
        await wiring.provider.set_policy(one.port, PortPolicy(egress=(udp_to_outside,)))
        assert one.ask_udp(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT, wait=SILENCE) is None
        assert not one.ping(two.address, wait=SILENCE)
        assert two.ping(one.address)  # nothing was said about what it may be asked

    async def test_a_closed_port_opens_again_and_a_range_of_ports_is_one(self, wiring: Wiring) -> None:
        acme = network("acme")
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        wiring.echo(two)
        await wiring.provider.set_policy(two.port, PortPolicy(ingress=(), egress=()))
        assert one.ask(two.address, ECHO_PORT, wait=SILENCE) is None
        overlapping = (PortRange("TCP", ECHO_PORT - 1, ECHO_PORT + 1), PortRange("TCP", ECHO_PORT, ECHO_PORT + 9))
        await wiring.provider.set_policy(two.port, PortPolicy(ingress=(Allowance(None, overlapping),)))
        assert one.ask(two.address, ECHO_PORT) == b"hello"
        assert not one.ping(two.address, wait=SILENCE)
        await wiring.provider.set_policy(two.port, OPEN)
        assert one.ping(two.address)

    async def test_a_policy_outlives_a_restart_and_ends_with_its_port(
        self, wiring: Wiring, make_provider: MakeProvider
    ) -> None:
        acme = network("acme")
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        await wiring.provider.set_policy(two.port, PortPolicy(ingress=()))
        restarted = await make_provider(wiring.site.cluster_ids[0])
        await restarted.sweep(frozenset({one.port.id, two.port.id}))
        three = await wiring.pod(port(acme, "10.0.0.7"), restarted)
        assert not one.ping(two.address, wait=SILENCE)
        assert not three.ping(two.address, wait=SILENCE)
        assert one.ping(three.address)
        await restarted.unplug(two.port.id)
        successor = await wiring.pod(PortSpec("another", acme, acme.subnets[0], two.address, two.mac_address))
        assert one.ping(successor.address)

    async def test_a_policy_of_one_tenant_is_none_of_another(self, wiring: Wiring) -> None:
        pods = {}
        for tenant in ("acme", "globex"):
            spec = network(tenant)
            pods[tenant] = [await wiring.pod(port(spec, address)) for address in ("10.0.0.5", "10.0.0.6")]
        await wiring.provider.set_policy(pods["acme"][1].port, PortPolicy(ingress=(), egress=()))
        assert not pods["acme"][0].ping("10.0.0.6", wait=SILENCE)
        assert pods["globex"][0].ping("10.0.0.6")

    async def test_a_policy_needs_a_port(self, wiring: Wiring) -> None:
        with pytest.raises(NetworkError):
            await wiring.provider.set_policy(port(network("acme"), "10.0.0.5"), PortPolicy(ingress=()))

    # -- life cycle --

    async def test_a_port_can_be_plugged_again_while_its_machine_runs(
        self, wiring: Wiring, make_provider: MakeProvider
    ) -> None:
        acme = network("acme")
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        server = wiring.echo(one)
        restarted = await make_provider(wiring.site.cluster_ids[0])  # a second agent's, that knows nothing of the first
        again = await restarted.plug(one.port)
        with _closing(_Queue(again.tap_fd)):  # new flows, which could be spread over both queues
            assert all(two.ask(one.address, ECHO_PORT) == b"hello" for _ in range(20))
        assert two.ask(one.address, ECHO_PORT) == b"hello"
        assert len(server.peers) == 21

    async def test_opening_again_disturbs_no_traffic(self, wiring: Wiring, make_provider: MakeProvider) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        wiring.echo()
        await wiring.provider.open()
        await make_provider(wiring.site.cluster_ids[0])
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert one.ping(GATEWAY)

    async def test_a_port_can_come_back_with_another_address(self, wiring: Wiring) -> None:
        acme = network("acme")
        first = port(acme, "10.0.0.5")
        plugged = await wiring.provider.plug(first)
        _Queue(plugged.tap_fd).close()
        moved = await wiring.pod(PortSpec(first.id, acme, first.subnet, "10.0.0.50", "02:00:00:00:00:50"))
        assert moved.ping(GATEWAY)
        other = await wiring.pod(port(acme, "10.0.0.6"))
        other.frames.clear()
        moved.send(arp(first.mac_address, first.mac_address, first.address, other.address))
        assert moved.ping(other.address)
        assert not any(mac(first.mac_address) in frame for frame in other.frames)

    async def test_an_unplugged_port_is_silent_and_the_last_one_leaves_nothing(self, wiring: Wiring) -> None:
        acme = network("acme")
        before = wiring.site.state()
        one, two = await wiring.pod(port(acme, "10.0.0.5")), await wiring.pod(port(acme, "10.0.0.6"))
        await wiring.provider.unplug(one.port.id)
        await wiring.provider.unplug(one.port.id)
        assert not two.ping(one.address, wait=SILENCE)
        assert two.ping(GATEWAY)
        await wiring.provider.unplug(two.port.id)
        after = wiring.site.state()
        assert {**after, "forwarding": None, "tables": None} == {**before, "forwarding": None, "tables": None}

    async def test_unplugging_what_never_was_is_no_error(self, wiring: Wiring) -> None:
        await wiring.provider.unplug(str(uuid.uuid4()))

    async def test_a_sweep_removes_all_but_what_it_is_told_to_keep(self, wiring: Wiring) -> None:
        kept = await wiring.pod(port(network("acme"), "10.0.0.5"))
        other = await wiring.pod(port(network("acme"), "10.0.0.6"))
        dead = await wiring.provider.plug(port(network("globex"), "10.0.0.5"))
        _Queue(dead.tap_fd).close()  # as when its machine died while no agent was there
        await wiring.provider.sweep(frozenset({kept.port.id}))
        assert kept.ping(GATEWAY)
        assert not kept.ping(other.address, wait=SILENCE)
        assert len(wiring.site.state()["namespaces"]) <= 1  # type: ignore[arg-type]

    async def test_nodes_on_one_machine_leave_each_others_ports_alone(
        self, wiring: Wiring, make_provider: MakeProvider
    ) -> None:
        second = await make_provider(wiring.site.cluster_ids[0], "node-2")
        acme = network("acme")
        await wiring.pod(port(acme, "10.0.0.5"))
        other = await wiring.pod(port(acme, "10.0.0.6"), second)
        wiring.echo()
        await wiring.provider.sweep(frozenset())
        await wiring.provider.close(remove=True)
        assert other.ping(GATEWAY)
        assert other.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"

    async def test_clusters_on_one_machine_do_not_see_each_other(
        self, wiring: Wiring, make_provider: MakeProvider
    ) -> None:
        second = await make_provider(wiring.site.new_cluster_id())
        acme = network("acme")  # even with the same UIDs
        one = await wiring.pod(port(acme, "10.0.0.5"))
        other = await wiring.pod(port(acme, "10.0.0.5"), second)
        server = wiring.echo()
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == other.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        await second.close(remove=True)
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert len(server.peers) == 3

    async def test_closing_leaves_the_machine_as_it_was(self, site: Machine, make_provider: MakeProvider) -> None:
        site.host.command("nft add table inet somebody_else")
        before = site.state()
        clusters = [await make_provider(site.new_cluster_id()) for _ in range(2)]
        async with AsyncExitStack() as stack:
            for provider in clusters:
                for tenant in ("acme", "globex"):
                    spec = port(network(tenant), "10.0.0.5")
                    pod = Pod(spec, await provider.plug(spec))
                    stack.callback(pod.close)
            assert site.state() != before
            for provider in clusters:  # machines still run: their taps go all the same
                await provider.close(remove=True)
            assert site.state() == before
        assert site.state() == before

    async def test_closing_without_remove_leaves_pods_connected(
        self, site: Machine, make_provider: MakeProvider
    ) -> None:
        cluster_id = site.new_cluster_id()
        provider = await make_provider(cluster_id)
        spec = port(network("acme"), "10.0.0.5")
        pod = Pod(spec, await provider.plug(spec))
        try:
            await provider.close(remove=False)
            assert pod.ping(GATEWAY)
        finally:
            pod.close()
            await (await make_provider(cluster_id)).close(remove=True)

    # -- requests that can't be fulfilled --

    INVALID: ClassVar = {
        "no subnet": {"subnets": ()},
        "not a range": {"subnets": (Subnet("a", "10.0.0.5/24", GATEWAY),)},
        "IPv6": {"subnets": (Subnet("a", "fd00::/64", "fd00::1"),)},
        "gateway elsewhere": {"subnets": (Subnet("a", CIDR, "10.0.1.1"),)},
        "gateway is the broadcast address": {"subnets": (Subnet("a", CIDR, "10.0.0.255"),)},
        "no room for a pod": {"subnets": (Subnet("a", "10.0.0.0/31", "10.0.0.0"),)},
        "overlaps itself": {"subnets": (Subnet("a", CIDR, GATEWAY), Subnet("b", "10.0.0.128/25", "10.0.0.129"))},
        "overlaps the services": {"subnets": (Subnet("a", "10.254.3.0/24", "10.254.3.1"),)},
        "link-local": {"subnets": (Subnet("a", "169.254.0.0/16", "169.254.0.1"),)},
    }

    @pytest.mark.parametrize("what", sorted(INVALID))
    async def test_a_network_that_cannot_be_wired_is_refused(self, provider: NetworkProvider, what: str) -> None:
        base = network("acme")
        fields = {name: getattr(base, name) for name in NetworkSpec.__slots__}
        with pytest.raises(NetworkError) as refused:
            await provider.ensure_network(NetworkSpec(**{**fields, **self.INVALID[what]}), frozenset())
        assert refused.value.reason == "InvalidSubnet"

    @pytest.mark.parametrize(
        ("address", "mac_address"),
        [(GATEWAY, None), ("10.0.0.255", None), ("10.0.1.5", None), ("10.0.0.5", "03:00:00:00:00:01"), ("x", None)],
    )
    async def test_a_port_that_does_not_fit_its_subnet_is_refused(
        self, wiring: Wiring, address: str, mac_address: str | None
    ) -> None:
        before = wiring.site.state()
        with pytest.raises(NetworkError) as refused:
            await wiring.provider.plug(port(network("acme"), address, mac_address=mac_address))
        assert refused.value.reason == "InvalidPort"
        assert wiring.site.state() == before

    async def test_a_segment_is_kept_and_none_is_given_twice(self, provider: NetworkProvider) -> None:
        used: set[int] = set()
        for number in range(20):
            spec = network("acme", f"n{number}", segment_id=0)
            segment = (await provider.ensure_network(spec, frozenset(used))).segment_id
            assert segment not in used
            assert 0 < segment < 2**24
            used.add(segment)
        kept = await provider.ensure_network(network("acme", "n1", segment_id=77), frozenset(used))
        assert kept.segment_id == 77
        await provider.delete_network(network("acme", "n1"))
        await provider.delete_network(network("acme", "n1"))


class _Queue:
    """A tap queue that nobody reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        os.close(self._descriptor)


async def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Whether it holds before `timeout` seconds are over."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.01)
    return True
