"""The network provider `neutron` on a real Neutron with OVN: pods are namespaces behind the taps that it makes."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypernetes.providers.network.base import NetworkError
from tests.openstack.bindersuite import NO_SEGMENTS, OPEN_GROUP, PortBinderSuite, network_of, port_of
from tests.openstack.neutronnodes import NeutronSite, site
from tests.openstack.neutrons import Neutron

# What changes by itself, and what is listed on its own.
CHANGING = ("updated_at", "revision_number", "status", "security_group_rules")
KINDS = ("networks", "subnets", "routers", "ports", "security-groups", "security-group-rules")

pytestmark = pytest.mark.timeout(900)  # Neutron may be started for it


@pytest.fixture
async def wired(neutron: Neutron, tmp_path: Path) -> AsyncIterator[NeutronSite]:
    async with site(neutron, tmp_path, secrets.token_hex(3)) as made:
        yield made


class TestNeutronNetworkProvider(PortBinderSuite):
    @pytest.fixture
    async def wired(self, neutron: Neutron, tmp_path: Path) -> AsyncIterator[NeutronSite]:
        async with site(neutron, tmp_path, secrets.token_hex(3)) as made:
            yield made


def listed(neutron: Neutron, project: str, *kinds: str) -> dict[str, dict[str, Any]]:
    """What a project has in Neutron, but for what changes by itself."""
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds or KINDS:
        for each in neutron.rest.get(f"/{kind}?project_id={project}").json()[kind.replace("-", "_")]:
            found[f"{kind}/{each['id']}"] = {name: value for name, value in each.items() if name not in CHANGING}
    return found


async def test_an_unknown_host_is_named_and_nothing_is_left(wired: NeutronSite) -> None:
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


async def test_a_sweep_leaves_a_port_that_looks_like_ours(wired: NeutronSite) -> None:
    project = wired.neutron.keystone.project("sweeping")
    network = network_of("sweeping", project)
    ensured = await wired.control.ensure_network(network, NO_SEGMENTS)
    leaked = port_of(network, "10.0.0.6")
    id = (await wired.control.bind_port(leaked, "host1", OPEN_GROUP))["portID"]
    foreign = wired.neutron.create(
        "port", network_id=ensured.provider_network_id, project_id=project, name=f"pod-{leaked.id}",
        device_id=leaked.id, device_owner="compute:nova",
    )  # fmt: skip
    for _ in range(2):
        await wired.control.sweep_ports({})
    assert foreign["id"] in wired.port_ids()
    assert id not in wired.port_ids()


async def test_an_address_of_somebody_elses_is_told_apart(wired: NeutronSite) -> None:
    project = wired.neutron.keystone.project("taken")
    network = network_of("taken", project)
    ensured = await wired.control.ensure_network(network, NO_SEGMENTS)
    wired.neutron.create(
        "port", network_id=ensured.provider_network_id, project_id=project, fixed_ips=[{"ip_address": "10.0.0.5"}]
    )
    with pytest.raises(NetworkError) as refused:
        await wired.control.bind_port(port_of(network, "10.0.0.5"), "host1", OPEN_GROUP)
    assert refused.value.reason == "AddressInUse"


async def test_a_deleted_network_leaves_nothing_and_one_with_foreign_ports_stays(wired: NeutronSite) -> None:
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


async def test_a_network_of_anothers_is_as_one_that_is_not_there(wired: NeutronSite) -> None:
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
