"""The local provider does what every network provider must, and survives its agent's death at any moment."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.providers.network.base import NetworkError, NetworkProvider, Subnet
from hypernetes.providers.network.local import LocalNetworkProvider, names, namespaces

from .machines import ECHO_PORT, HOST_ADDRESS, OUTSIDE_ADDRESS, Machine
from .namespaces import Namespace
from .pods import SILENCE, udp
from .suite import GATEWAY, MakeProvider, NetworkSuite, Wiring, eventually, network, port


@pytest.fixture(scope="module", autouse=True)
def root() -> None:
    assert os.geteuid() == 0, "making network namespaces needs root: run the tests as root"


class TestLocalNetworkProvider(NetworkSuite):
    @pytest.fixture
    async def make_provider(self, site: Machine, tmp_path: Path) -> AsyncIterator[MakeProvider]:
        made: list[tuple[str, str]] = []

        async def make(cluster_id: str, node_name: str = "node-1") -> NetworkProvider:
            provider = LocalNetworkProvider(cluster_id, node_name, tmp_path)
            made.append((cluster_id, node_name))
            await provider.open()
            return provider

        yield make
        for cluster_id, node_name in made:
            provider = LocalNetworkProvider(cluster_id, node_name, tmp_path)
            await provider.close(remove=True)

    async def test_a_capture_on_a_tenants_bridge_holds_no_frame_of_another(self, wiring: Wiring) -> None:
        acme, globex = network("acme"), network("globex")
        await wiring.pod(port(acme, "10.0.0.77"))
        prober = await wiring.pod(port(globex, "10.0.0.5"))
        router = Namespace(f"/run/netns/{names.router(wiring.site.cluster_ids[0], acme.tenant_uid)}")
        try:
            capture = router.run(_capture_everything)
            with capture:
                for address in ("10.0.0.77", GATEWAY, "100.64.0.1"):
                    prober.ping(address, wait=SILENCE)
                    prober.ask(address, ECHO_PORT, wait=SILENCE)
                    prober.ask_udp(address, ECHO_PORT, wait=SILENCE)
                prober.send(udp(prober.mac_address, prober.address, "255.255.255.255"))
                assert _received(capture) == []
        finally:
            router.close()

    async def test_another_tenants_uplink_does_not_answer(self, wiring: Wiring) -> None:
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        await wiring.pod(port(network("globex"), "10.0.0.5"))
        uplinks = wiring.site.host.command("ip -o -4 address show to 100.64.0.0/10").stdout.split()
        addresses = [word.partition("/")[0] for word in uplinks if word.startswith("100.")]
        assert len(addresses) == 2
        for host_end in addresses:
            head, _, last = host_end.rpartition(".")
            assert not one.ping(host_end, wait=SILENCE)
            router_end = f"{head}.{int(last) + 1}"
            own = one.ping(router_end, wait=SILENCE)  # its own router's end is its own gateway
            assert not own or host_end == _own_uplink(wiring, network("acme").tenant_uid)

    async def test_a_destination_nat_of_the_hosts_other_tables_opens_nothing(self, wiring: Wiring) -> None:
        site = wiring.site
        site.host.command("nft add table ip docker")
        site.host.command("nft add chain ip docker pre { type nat hook prerouting priority -100 ; }")
        rule = f"ip daddr {HOST_ADDRESS} tcp dport {ECHO_PORT} dnat to {OUTSIDE_ADDRESS}"
        site.host.command(f"nft add rule ip docker pre {rule}")
        one = await wiring.pod(port(network("acme"), "10.0.0.5"))
        outside = wiring.echo()
        assert one.ask(HOST_ADDRESS, ECHO_PORT, wait=SILENCE) is None
        assert outside.peers == []

    async def test_ranges_of_one_tenant_must_not_overlap_on_a_node(self, wiring: Wiring) -> None:
        await wiring.pod(port(network("acme"), "10.0.0.5"))
        other = network("acme", "other", Subnet("a", "10.0.0.128/25", "10.0.0.129"))
        with pytest.raises(NetworkError) as refused:
            await wiring.provider.plug(port(other, "10.0.0.130"))
        assert refused.value.reason == "SubnetConflict"

    async def test_a_namespace_that_was_never_mounted_is_made_again(self, wiring: Wiring) -> None:
        namespaces.prepare()
        acme = network("acme")
        (namespaces.DIRECTORY / names.router(wiring.site.cluster_ids[0], acme.tenant_uid)).touch()
        one = await wiring.pod(port(acme, "10.0.0.5"))
        assert one.ping(GATEWAY)

    async def test_after_kill_9_at_any_moment_the_next_agent_converges(
        self, wiring: Wiring, make_provider: MakeProvider
    ) -> None:
        cluster_id = wiring.site.cluster_ids[0]
        before = wiring.site.state()
        choose = random.Random(7)
        for _ in range(12):
            agent = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"{__package__}.plugging", cluster_id, stdout=asyncio.subprocess.PIPE
            )
            assert agent.stdout is not None
            assert await asyncio.wait_for(agent.stdout.readline(), 30) == b"open\n"
            await asyncio.sleep(choose.uniform(0, 0.15))
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
        next_agent = await make_provider(cluster_id)
        one = await wiring.pod(port(network("acme"), "10.0.0.5"), next_agent)
        wiring.echo()
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        await next_agent.sweep(frozenset({one.port.id}))
        assert one.ask(OUTSIDE_ADDRESS, ECHO_PORT) == b"hello"
        assert len(wiring.site.state()["namespaces"]) == 1  # type: ignore[arg-type]
        await next_agent.unplug(one.port.id)
        assert await eventually(lambda: wiring.site.state()["links"] == before["links"])
        assert wiring.site.state()["namespaces"] == before["namespaces"]

    async def test_a_cancelled_plug_leaks_no_queue(self, wiring: Wiring) -> None:
        def open_descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))

        await wiring.pod(port(network("acme"), "10.0.0.6"))
        before = open_descriptors()
        tasks = [asyncio.create_task(wiring.provider.plug(port(network("acme"), "10.0.0.5"))) for _ in range(3)]
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await wiring.provider.sweep(frozenset())  # behind the cancelled ones in the provider's queue
        assert await eventually(lambda: open_descriptors() <= before)


def _own_uplink(wiring: Wiring, tenant_uid: str) -> str:
    router = Namespace(f"/run/netns/{names.router(wiring.site.cluster_ids[0], tenant_uid)}")
    try:
        return router.command("ip route show default").stdout.split()[2]
    finally:
        router.close()


def _capture_everything() -> socket.socket:
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    capture.setblocking(False)
    return capture


def _received(capture: socket.socket) -> list[bytes]:
    frames = []
    while True:
        try:
            frames.append(capture.recv(65_600))
        except BlockingIOError:
            return frames
