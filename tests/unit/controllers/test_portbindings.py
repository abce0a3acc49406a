"""Ports of a provider that binds them: what hn-controllers make of claims, policies and failures."""

from collections.abc import Mapping
from typing import Any

import pytest

from hypernetes.controllers.networks import Networks
from hypernetes.controllers.portbindings import FINALIZER, OPEN_KEY, PortBindings
from hypernetes.providers.network.base import (
    OPEN,
    EnsuredNetwork,
    NetworkError,
    NetworkSpec,
    PolicyGroup,
    PortSpec,
    Subnet,
)
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import delete, pod, thing

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]


class FakeBinder:
    """Ports by pod, with node and group; fails if told so."""

    binds_ports = True

    def __init__(self) -> None:
        self.error: NetworkError | None = None
        self.ports: dict[str, tuple[PortSpec, str, str]] = {}
        self.groups: dict[str, PolicyGroup] = {}
        self.made = 0

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        adopted = (Subnet("theirs", "10.9.0.0/24", "10.9.0.1"),) if network.provider_network_id else ()
        return EnsuredNetwork(0, "id", adopted)

    async def delete_network(self, network: NetworkSpec) -> None: ...

    async def bind_port(self, port: PortSpec, node: str, group: PolicyGroup) -> Mapping[str, str]:
        if self.error is not None:
            raise self.error
        if port.id not in self.ports:
            self.made += 1
        self.ports[port.id] = (port, node, group.key)
        self.groups[group.key] = group
        return {"portID": f"{port.id}-{self.made}"}

    async def set_group(self, network: NetworkSpec, group: PolicyGroup) -> None:
        self.groups[group.key] = group

    async def release_port(self, port: PortSpec) -> None:
        if self.error is not None:
            raise self.error
        self.ports.pop(port.id, None)

    def forget(self) -> None: ...

    async def sweep_ports(self, keep: Mapping[str, str]) -> frozenset[str]:
        self.ports = {id: entry for id, entry in self.ports.items() if id in keep}
        return frozenset(uid for uid, id in keep.items() if id and uid not in self.ports)


def story(binder: FakeBinder) -> Story:
    return Story(
        lambda *shared: Networks(*shared, binder),  # type: ignore[arg-type]
        lambda *shared: PortBindings(*shared, binder),
    )


async def tenant(cluster: FakeCluster, **spec: Any) -> None:
    await cluster.put(thing("Tenant", "acme", "hypernetes.io/v1", None), "system")
    wanted = spec or {"subnets": {"a": {"cidr": "10.0.0.0/24", "gateway": "10.0.0.1"}}}
    await cluster.put(thing("Network", "default", "hypernetes.io/v1", None, spec=wanted), "acme")


async def claim(cluster: FakeCluster, name: str, address: str, subnet: str = "a", **labels: str) -> str:
    """The pod's UID."""
    owner = await cluster.put(pod(name))
    uid: str = owner["metadata"]["uid"]
    spec = {
        "network": "default", "subnet": subnet, "address": address, "macAddress": "02:00:00:00:00:01",
        "nodeName": "n1", "podRef": {"namespace": "prod", "name": name, "uid": uid},
    }  # fmt: skip
    port = thing("Port", f"default.{address}", "hypernetes.io/v1", None, spec=spec)
    port["metadata"]["labels"] = labels
    await cluster.put(port)
    return uid


async def test_a_claim_is_bound_and_let_go_of_before_its_address_is_free() -> None:
    binder = FakeBinder()
    async with story(binder).running() as cluster:
        await tenant(cluster)
        uid = await claim(cluster, "a", "10.0.0.5")
        await settle()
        port = cluster.find("Port", "default.10.0.0.5")
        assert port["status"] == {"phase": "Ready", "binding": {"portID": f"{uid}-1"}}
        assert port["metadata"]["finalizers"] == [FINALIZER]
        assert binder.ports[uid][1:] == ("n1", OPEN_KEY)
        binder.error = NetworkError("Unavailable", "503")
        await delete(cluster, "Port", "default.10.0.0.5")
        await settle(10)
        assert cluster.names("Port") == ["default.10.0.0.5"]
        binder.error = None
        await settle(40)
        assert cluster.names("Port") == []
        assert binder.ports == {}


async def test_what_fails_is_said_and_tried_again() -> None:
    binder = FakeBinder()
    binder.error = NetworkError("BindingFailed", "no agent on host 'n1'")
    async with story(binder).running() as cluster:
        await tenant(cluster)
        await claim(cluster, "a", "10.0.0.5")
        await settle()
        status = cluster.find("Port", "default.10.0.0.5")["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "BindingFailed")
        assert status["message"] == "no agent on host 'n1'"
        binder.error = None
        await settle(40)
        assert cluster.find("Port", "default.10.0.0.5")["status"]["phase"] == "Ready"


async def test_a_port_that_the_provider_lost_is_bound_anew() -> None:
    binder = FakeBinder()
    async with story(binder).running() as cluster:
        await tenant(cluster)
        uid = await claim(cluster, "a", "10.0.0.5")
        await settle()
        binder.ports.clear()
        await settle(150)
        assert cluster.find("Port", "default.10.0.0.5")["status"]["binding"] == {"portID": f"{uid}-2"}
        assert uid in binder.ports


async def test_ports_that_the_same_policies_select_are_one_group_and_follow_them() -> None:
    binder = FakeBinder()
    async with story(binder).running() as cluster:
        await tenant(cluster)
        await cluster.put(thing("Namespace", "prod", "v1", None))
        web = [await claim(cluster, f"web-{number}", f"10.0.0.{number}", app="web") for number in (5, 6)]
        other = await claim(cluster, "other", "10.0.0.7", app="other")
        spec = {
            "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "other"}}}]}],
        }  # fmt: skip
        await cluster.put(thing("NetworkPolicy", "web", "networking.k8s.io/v1", "prod", spec=spec))
        await settle()
        keys = {binder.ports[uid][2] for uid in web}
        assert len(keys) == 1
        assert binder.ports[other][2] == OPEN_KEY
        [key] = keys
        assert [each.peers for each in binder.groups[key].policy.ingress or ()] == [("10.0.0.7/32",)]
        await claim(cluster, "another", "10.0.0.9", app="other")
        await settle()
        assert [each.peers for each in binder.groups[key].policy.ingress or ()] == [("10.0.0.7/32", "10.0.0.9/32")]
        await delete(cluster, "NetworkPolicy", "web")
        await settle()
        assert {entry[2] for entry in binder.ports.values()} == {OPEN_KEY}
        assert binder.groups[OPEN_KEY].policy == OPEN


async def test_a_network_that_was_there_has_the_subnets_that_its_provider_found() -> None:
    binder = FakeBinder()
    async with story(binder).running() as cluster:
        await tenant(cluster, providerNetworkID="theirs")
        uid = await claim(cluster, "a", "10.9.0.5", "theirs")
        await settle()
        status = cluster.find("Network", "default")["status"]
        assert status["subnets"] == {"theirs": {"cidr": "10.9.0.0/24", "gateway": "10.9.0.1"}}
        assert binder.ports[uid][0].subnet.cidr == "10.9.0.0/24"
