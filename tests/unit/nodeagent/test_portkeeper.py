"""When a pod's network policy is set, and what others learn of its labels. Time is virtual."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.portkeeper import QUIET_SECONDS, RETRY_SECONDS, PortKeeper
from hypernetes.providers.network.base import OPEN, NetworkError, Peer, PortPolicy
from tests.unit.nodeagent.fakes import TENANT, World

pytestmark = pytest.mark.looptime
CLOSED = PortPolicy(ingress=())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Labelled:
    """A pod whose labels a test changes."""

    def __init__(self, world: World) -> None:
        self.pod = world.pod()

    def label(self, **labels: str) -> None:
        metadata = self.pod.metadata.model_copy(update={"labels": labels})
        self.pod = self.pod.model_copy(update={"metadata": metadata})

    def __call__(self) -> Pod:
        return self.pod


@asynccontextmanager
async def kept(world: World, pod: Labelled) -> AsyncIterator[PortKeeper]:
    claim = await world.parts.addresses.claim(pod.pod, TENANT)
    keeper = PortKeeper(world.parts, PodRecord.of(pod.pod, TENANT), claim, pod)
    await keeper.enforce()
    running = asyncio.create_task(keeper.run())
    yield keeper
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def policies(world: World) -> dict[str, PortPolicy]:
    views: Any = world.parts.views
    found: dict[str, PortPolicy] = views.policies
    return found


async def changed(world: World, seconds: float = 2 * QUIET_SECONDS) -> None:
    world.parts.views.network_changed(TENANT)
    await asyncio.sleep(seconds)


async def test_a_policy_is_in_force_before_anything_else_happens(world: World) -> None:
    policies(world)["web"] = CLOSED
    async with kept(world, Labelled(world)):
        assert world.network.policies == {"uid-app": CLOSED}


async def test_what_an_earlier_agent_left_is_set_anew(world: World) -> None:
    world.network.policies["uid-app"] = CLOSED
    async with kept(world, Labelled(world)):
        assert world.network.policies == {"uid-app": OPEN}


async def test_a_changed_policy_is_set_and_an_unchanged_one_is_not(world: World) -> None:
    async with kept(world, Labelled(world)):
        policies(world)["web"] = CLOSED
        await changed(world)
        assert world.network.policies == {"uid-app": CLOSED}
        world.network.policies.clear()
        await changed(world)
        assert world.network.policies == {}


async def test_a_network_that_refuses_is_asked_again_and_the_owner_told(world: World) -> None:
    async with kept(world, Labelled(world)):
        policies(world)["web"] = CLOSED
        world.network.refusals.append(NetworkError("FilterFailed", "nft did not answer"))
        await changed(world)
        assert ("NetworkPolicyFailed", "The pod's network policies are not in force: nft did not answer") in (
            world.events.seen
        )
        assert world.network.policies == {"uid-app": OPEN}
        await asyncio.sleep(RETRY_SECONDS + 1)
        assert world.network.policies == {"uid-app": CLOSED}


async def test_a_network_learns_of_its_ports_on_other_nodes(world: World) -> None:
    views: Any = world.parts.views
    async with kept(world, Labelled(world)):
        assert world.network.peers == {"default": frozenset()}
        views.others = frozenset({Peer("02:00:00:00:00:07", "10.0.0.7", "192.0.2.7")})
        await changed(world)
        assert world.network.peers == {"default": views.others}
        world.network.peers.clear()
        await changed(world)  # of something else
        assert world.network.peers == {}
    async with kept(world, Labelled(world)):  # of a network that is new on the node
        assert world.network.peers == {"default": views.others}


async def test_the_ports_labels_follow_the_pods(world: World) -> None:
    pod = Labelled(world)
    pod.label(app="web", tier="front")
    async with kept(world, pod):
        port = _port(world)
        assert port.metadata.labels == {"app": "web", "tier": "front"}
        pod.label(app="api")
        await changed(world)
        assert _port(world).metadata.labels == {"app": "api"}


def _port(world: World) -> Port:
    (port,) = (obj for key, obj in world.client.objects.items() if key[0] == "Port")
    found: Port = port
    return found
