"""The network provider `neutron` on a real Neutron with OVN: pods are namespaces behind the taps that it makes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypernetes.providers.network.base import Allowance, NetworkError, PolicyGroup, PortPolicy, PortRange
from tests.integration.networks.machines import ECHO_PORT, EchoServer
from tests.integration.networks.pods import SILENCE, arp
from tests.openstack.foreign import ForeignMachine
from tests.openstack.neutronnodes import OPEN_GROUP, Site, network_of, port_of, site
from tests.openstack.neutrons import Neutron
from tests.openstack.switches import OUTSIDE_GATEWAY

NO_SEGMENTS: frozenset[int] = frozenset()
# What changes by itself, and what is listed on its own.
CHANGING = ("updated_at", "revision_number", "status", "security_group_rules")
KINDS = ("networks", "subnets", "routers", "ports", "security-groups", "security-group-rules")

pytestmark = pytest.mark.timeout(900)  # Neutron may be started for it


@pytest.fixture
async def wired(neutron: Neutron, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(neutron, tmp_path, secrets.token_hex(3)) as made:
        yield made


def listed(neutron: Neutron, project: str, *kinds: str) -> dict[str, dict[str, Any]]:
    """What a project has in Neutron, but for what changes by itself."""
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds or KINDS:
        for each in neutron.rest.get(f"/{kind}?project_id={project}").json()[kind.replace("-", "_")]:
            found[f"{kind}/{each['id']}"] = {name: value for name, value in each.items() if name not in CHANGING}
    return found


async def test_pods_reach_each_other_across_nodes_and_the_outside_and_no_other_tenant(wired: Site) -> None:
    projects = {name: wired.neutron.keystone.project(f"reach-{name}") for name in ("acme", "globex")}
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


async def test_a_pod_that_lies_about_its_address_is_not_heard_and_the_host_hears_no_pod(wired: Site) -> None:
    project = wired.neutron.keystone.project("lies")
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


async def test_policies_are_security_groups(wired: Site) -> None:
    project = wired.neutron.keystone.project("policies")
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


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """`holds` takes its time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0)


async def test_an_unknown_host_is_named_and_nothing_is_left(wired: Site) -> None:
    project = wired.neutron.keystone.project("no-host")
    network = network_of("no-host", project)
    await wired.control.ensure_network(network, NO_SEGMENTS)
    before = listed(wired.neutron, project, "ports")
    with pytest.raises(NetworkError) as refused:
        await wired.control.bind_port(port_of(network, "10.0.0.5"), "host99", OPEN_GROUP)
    assert refused.value.reason == "BindingFailed"
    assert "host99" in refused.value.message
    assert "no agent" in refused.value.message
    assert listed(wired.neutron, project, "ports") == before


async def test_what_is_lost_is_told_and_what_leaked_is_swept_and_nothing_else(wired: Site) -> None:
    project = wired.neutron.keystone.project("sweeping")
    network = network_of("sweeping", project)
    ensured = await wired.control.ensure_network(network, NO_SEGMENTS)
    kept, leaked, lost = (port_of(network, f"10.0.0.{number}") for number in (5, 6, 7))
    ids = {
        port.id: (await wired.control.bind_port(port, "host1", OPEN_GROUP))["portID"] for port in (kept, leaked, lost)
    }
    foreign = wired.neutron.create(
        "port", network_id=ensured.provider_network_id, project_id=project, name=f"pod-{leaked.id}",
        device_id=leaked.id, device_owner="compute:nova",
    )  # fmt: skip
    wired.neutron.rest.delete(f"/ports/{ids[lost.id]}")
    keep = {port.id: ids[port.id] for port in (kept, lost)}
    assert await wired.control.sweep_ports(keep) == {lost.id}
    assert await wired.control.sweep_ports(keep) == {lost.id}
    there = {each["id"] for each in wired.neutron.rest.get(f"/ports?project_id={project}").json()["ports"]}
    assert ids[kept.id] in there
    assert foreign["id"] in there
    assert ids[leaked.id] not in there
    again = await wired.control.bind_port(lost, "host1", OPEN_GROUP)
    assert again["portID"] != ids[lost.id]
    assert await wired.control.sweep_ports({**keep, lost.id: again["portID"]}) == frozenset()


async def test_an_address_of_somebody_elses_is_told_apart(wired: Site) -> None:
    project = wired.neutron.keystone.project("taken")
    network = network_of("taken", project)
    ensured = await wired.control.ensure_network(network, NO_SEGMENTS)
    wired.neutron.create(
        "port", network_id=ensured.provider_network_id, project_id=project, fixed_ips=[{"ip_address": "10.0.0.5"}]
    )
    with pytest.raises(NetworkError) as refused:
        await wired.control.bind_port(port_of(network, "10.0.0.5"), "host1", OPEN_GROUP)
    assert refused.value.reason == "AddressInUse"


async def test_a_deleted_network_leaves_nothing_and_one_with_foreign_ports_stays(wired: Site) -> None:
    project = wired.neutron.keystone.project("deleting")
    before = listed(wired.neutron, project)
    network = network_of("deleting", project)
    ensured = await wired.control.ensure_network(network, NO_SEGMENTS)
    await wired.control.bind_port(port_of(network, "10.0.0.5"), "host1", OPEN_GROUP)
    foreign = wired.neutron.create("port", network_id=ensured.provider_network_id, project_id=project)
    with pytest.raises(NetworkError) as refused:
        await wired.control.delete_network(network)
    assert refused.value.reason == "NetworkInUse"
    wired.neutron.rest.delete(f"/ports/{foreign['id']}")
    await wired.control.delete_network(network)
    await wired.control.delete_network(network)
    for _ in range(2):
        await wired.control.sweep_ports({})
    left = {name: each for name, each in listed(wired.neutron, project).items() if name not in before}
    assert {name: each for name, each in left.items() if each.get("name") != "default" and "rule" not in name} == {}


async def test_a_network_of_anothers_is_as_one_that_is_not_there(wired: Site) -> None:
    own, other = (wired.neutron.keystone.project(name) for name in ("adopts", "is-not-adopted"))
    private = wired.neutron.create("network", name="private", project_id=other)
    texts = set()
    for id in (private["id"], "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(NetworkError) as refused:
            await wired.control.ensure_network(network_of("adopts", own, adopts=id), NO_SEGMENTS)
        texts.add((refused.value.reason, refused.value.message.replace(id, "ID")))
    assert len(texts) == 1
    policy = {"object_type": "network", "object_id": private["id"], "action": "access_as_shared", "target_tenant": own}
    wired.neutron.rest.post("/rbac-policies", json={"rbac_policy": policy})
    wired.neutron.create("subnet", network_id=private["id"], project_id=other, ip_version=4, cidr="10.7.0.0/24")
    found = await wired.control.ensure_network(network_of("adopts", own, adopts=private["id"]), NO_SEGMENTS)
    assert [each.cidr for each in found.subnets] == ["10.7.0.0/24"]
    assert found.subnets[0].ranges == (("10.7.0.2", "10.7.0.254"),)


async def test_beside_what_others_have_a_pod_and_a_foreign_machine_meet_and_nothing_of_theirs_changes(
    wired: Site,
) -> None:
    """Network, router and security group are made by the `openstack` client, under names that ours would have."""
    neutron = wired.neutron
    project = neutron.keystone.project("beside")

    def client(*words: str) -> str:
        return neutron.keystone.openstack(*words, "--project", project, "-f", "value", "-c", "id")

    network = client("network", "create", "hypernetes-default")
    subnet = client("subnet", "create", "a", "--network", network, "--subnet-range", "10.9.0.0/24")
    router = client("router", "create", "hypernetes-beside")
    neutron.keystone.openstack("router", "add", "subnet", router, subnet)
    group = client("security", "group", "create", "hypernetes-open")
    neutron.keystone.openstack(
        "security", "group", "rule", "create", group, "--remote-ip", "0.0.0.0/0", "--protocol", "any"
    )
    port = neutron.create(
        "port", network_id=network, project_id=project, name="pod", device_owner="compute:nova",
        security_groups=[group], **{"binding:host_id": "host2"},
    )  # fmt: skip
    machine = ForeignMachine(neutron, neutron.ovn.nodes[1], port)
    try:
        before = listed(neutron, project)
        adopting = network_of("beside", project, adopts=network)
        found = await wired.control.ensure_network(adopting, NO_SEGMENTS)
        pod = await wired.pod(port_of(replace(adopting, subnets=found.subnets), "10.9.0.77"), "host1")
        await until(lambda: pod.ping(machine.address))
        assert machine.pings(pod.address)
        own = await wired.control.ensure_network(network_of("beside", project, "own"), NO_SEGMENTS)
        assert own.provider_network_id != network
        await wired.control.delete_network(network_of("beside", project, "own"))
        await wired.control.release_port(pod.port)
        await wired.control.delete_network(adopting)
        for _ in range(2):
            await wired.control.sweep_ports({})
        assert listed(neutron, project) == before
    finally:
        machine.close()
