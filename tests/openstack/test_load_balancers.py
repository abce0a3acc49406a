"""The load balancer provider `octavia` on a real Octavia with OVN's provider; pods are namespaces."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from hypernetes.providers.loadbalancer.base import Listener, LoadBalancerError, LoadBalancerSpec, Member, Pending
from hypernetes.providers.loadbalancer.octavia import OctaviaProvider
from tests.integration.networks.machines import ECHO_PORT, EchoServer
from tests.integration.networks.pods import SILENCE, Pod
from tests.openstack.bindersuite import network_of, port_of
from tests.openstack.neutronnodes import NeutronSite, site
from tests.openstack.octavias import Octavia
from tests.openstack.test_network_provider import listed

Result = TypeVar("Result")

pytestmark = pytest.mark.timeout(900)  # Neutron and Octavia may be started for it


@pytest.fixture
async def wired(octavia: Octavia, tmp_path: Path) -> AsyncIterator[NeutronSite]:
    async with site(octavia.neutron, tmp_path, secrets.token_hex(3)) as made:
        yield made


@pytest.fixture
async def provider(octavia: Octavia, wired: NeutronSite, tmp_path: Path) -> AsyncIterator[OctaviaProvider]:
    made = OctaviaProvider("abc123", octavia.provider_file(tmp_path))
    yield made
    await made.close()


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0)


async def done(call: Callable[[], Awaitable[Result]]) -> Result:
    """What a call comes to, made again for as long as Octavia is at it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except Pending:
                await asyncio.sleep(0.25)


def behind(*pods: Pod) -> frozenset[Member]:
    return frozenset(Member(each.address, ECHO_PORT) for each in pods)


async def test_a_service_answers_at_a_floating_ip_follows_its_pods_and_leaves_nothing(
    octavia: Octavia, wired: NeutronSite, provider: OctaviaProvider
) -> None:
    project = octavia.keystone.project("balanced")
    network = network_of("balanced", project)
    ensured = await wired.control.ensure_network(network, frozenset())
    one, two = [await wired.pod(port_of(network, f"10.0.0.{number}"), f"host{number - 4}") for number in (5, 6)]
    client = await wired.pod(port_of(network, "10.0.0.7"), "host1")
    foreign = octavia.rest.post("/loadbalancers", json={"loadbalancer": {
        "name": "hypernetes_prod_web", "project_id": project, "provider": "ovn",
        "vip_network_id": ensured.provider_network_id,
    }}).json()["loadbalancer"]["id"]  # fmt: skip
    await until(lambda: state(octavia, foreign) == "ACTIVE")
    before = listed(octavia.neutron, project), octavia.load_balancers(project)
    outside = octavia.neutron.ovn.nodes[0].namespace
    wanted = LoadBalancerSpec(
        tenant="balanced", project=project, uid="8d2e5c1e-7c5e-4e0e-9f43-1c3d1a1f1d11", name="prod/web",
        network_id=ensured.provider_network_id, listeners=(Listener("TCP", 80, behind(one)),),
    )  # fmt: skip
    servers = [EchoServer(each.namespace) for each in (one, two)]
    try:
        address = await done(lambda: provider.ensure(wanted))
        assert address.startswith("198.51.100.")
        assert await provider.ensure(wanted) == address
        asks = Pod.ask  # any pod's way of asking, from the outside's place
        external = type("Outside", (), {"_namespace": outside})()
        await until(lambda: asks(external, address, 80, wait=SILENCE) == b"hello")
        assert client.ask(address, 80) == b"hello"
        assert servers[1].peers == []
        more = replace(wanted, listeners=(Listener("TCP", 80, behind(two)), Listener("TCP", 81, behind(one, two))))
        assert await done(lambda: provider.ensure(more)) == address
        await until(lambda: asks(external, address, 80, wait=SILENCE) == b"hello" and servers[1].peers != [])
        await until(lambda: asks(external, address, 81, wait=SILENCE) == b"hello")
        assert await done(lambda: provider.ensure(wanted)) == address
        await until(lambda: asks(external, address, 81, wait=SILENCE) is None)
    finally:
        for server in servers:
            server.close()
    await done(lambda: provider.delete(project, wanted.uid))
    await provider.delete(project, wanted.uid)
    assert asks(external, address, 80, wait=SILENCE) is None
    assert (listed(octavia.neutron, project), octavia.load_balancers(project)) == before


def state(octavia: Octavia, id: str) -> str:
    return str(octavia.rest.get(f"/loadbalancers/{id}").json()["loadbalancer"]["provisioning_status"])


async def test_what_cannot_be_meant_is_said(octavia: Octavia, wired: NeutronSite, provider: OctaviaProvider) -> None:
    project = octavia.keystone.project("unbalanced")
    wanted = LoadBalancerSpec("unbalanced", project, "uid", "prod/web", "00000000-0000-0000-0000-000000000000")
    with pytest.raises(LoadBalancerError) as refused:
        await provider.ensure(wanted)
    assert refused.value.reason == "NoSubnet"
    key = "loadbalancer.openstack.org/enable-health-monitor"
    with pytest.raises(LoadBalancerError) as refused:
        await provider.ensure(replace(wanted, annotations={key: "perhaps"}))
    assert refused.value.reason == "InvalidAnnotation"
