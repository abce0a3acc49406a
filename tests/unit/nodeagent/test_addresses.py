"""Claims of addresses: one for each pod, whatever gets lost on the way."""

from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.client.errors import TransportError
from hypernetes.nodeagent.addresses import Addresses
from tests.unit.nodeagent.fakes import TENANT, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ports(world: World) -> list[Port]:
    return [obj for key, obj in world.client.objects.items() if key[0] == "Port"]


async def test_a_port_says_whose_it_is_and_where(world: World) -> None:
    named = [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]
    pod = world.pod(containers=[{"name": "main", "image": "img:1", "ports": named}])
    claim = await world.parts.addresses.claim(pod, TENANT)
    (port,) = ports(world)
    assert (port.metadata.name, port.spec.address) == (claim.port, claim.address)
    assert (port.spec.node_name, port.spec.node_address) == ("n1", "192.0.2.1")
    assert [each.name for each in port.spec.container_ports] == ["http"]


async def test_a_claim_whose_answer_was_lost_is_found_again(world: World) -> None:
    pod, views = world.pod(), world.parts.views
    world.client.lost_answers = 1
    with pytest.raises(TransportError):
        await world.parts.addresses.claim(pod, TENANT)
    behind: Any = views
    behind.port_of = _nothing  # the informer hasn't heard of it yet
    claim = await world.parts.addresses.claim(pod, TENANT)
    assert [port.metadata.name for port in ports(world)] == [claim.port]


async def test_what_an_earlier_agent_claimed_is_found_again(world: World) -> None:
    pod = world.pod()
    first = await world.parts.addresses.claim(pod, TENANT)
    client: Any = world.client
    assert await Addresses(client, world.parts.views, "n1", "192.0.2.1").claim(pod, TENANT) == first


async def _nothing(tenant: str, pod_uid: str) -> None:
    return None
