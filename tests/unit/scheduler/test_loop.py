"""The life of pods in the scheduler: told by informers, decided, written, and what happens when writing fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.client import Key
from hypernetes.scheduler.binder import Decision, Outcome
from hypernetes.scheduler.loop import Scheduler
from tests.unit.scheduler.making import key, node, pod

pytestmark = pytest.mark.looptime


class World:
    """The API server as the scheduler sees it: pods and nodes, and what it wrote."""

    def __init__(self) -> None:
        self.pods: dict[Key, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.bound: list[tuple[str, str]] = []
        self.said: list[tuple[str, str]] = []
        self.outcomes: list[Outcome] = []  # of the next bindings; BOUND when empty
        self.tells = True  # whether a binding shows in the informer
        self.scheduler = Scheduler(self.pods.get, self)

    async def bind(self, decision: Decision) -> Outcome:
        await asyncio.sleep(0.01)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.BOUND
        self.bound.append((decision.key.name, decision.node))
        if outcome is Outcome.BOUND and self.tells:
            await asyncio.sleep(0.01)
            self.change(decision.key, _on(decision.pod, decision.node))
        return outcome

    async def explain(self, key: Key, pod: Pod, message: str) -> bool:
        self.said.append((key.name, message))
        condition = {"type": "PodScheduled", "status": "False", "message": message}
        self.change(key, Pod.from_dict({**pod.to_dict(), "status": {"conditions": [condition]}}))
        return True

    def change(self, at: Key, new: Pod | None) -> None:
        old = self.pods.pop(at, None)
        if new is not None:
            self.pods[at] = new
        self.scheduler.pod_changed(at, old, new)

    def change_node(self, name: str, new: Node | None) -> None:
        old = self.nodes.pop(name, None)
        if new is not None:
            self.nodes[name] = new
        self.scheduler.node_changed(Key("system", "", name), old, new)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(600):  # virtual seconds
            while not condition():
                await asyncio.sleep(0.05)


def _on(each: Pod, name: str) -> Pod:
    value = each.to_dict()
    return Pod.from_dict({**value, "spec": {**value["spec"], "nodeName": name}})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.ensure_future(world.scheduler.run())
    yield world
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_pod_is_bound_to_the_node_that_fits(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    world.change_node("n2", node("n2", cpu="4"))
    world.change(key(), pod(cpu="2"))
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("p", "n2")]


async def test_a_node_is_never_overcommitted_by_decisions_in_flight(world: World) -> None:
    world.change_node("n1", node("n1", cpu="3"))
    for n in range(5):
        world.change(key(str(n)), pod(str(n), cpu="1"))
    await world.until(lambda: len(world.bound) == 3 and len(world.said) == 2)
    assert {message for _, message in world.said} == {"0/1 nodes are available: 1 Insufficient cpu."}
    world.change(key("0"), None)
    await world.until(lambda: len(world.bound) == 4)


async def test_the_reason_is_said_once_and_again_when_it_changes(world: World) -> None:
    world.change(key(), pod(cpu="2"))
    await world.until(lambda: len(world.said) == 1)
    for n in range(5):
        world.change_node("n1", node("n1", cpu="1", labels={"beat": str(n)}))
        await asyncio.sleep(20)
    assert [message for _, message in world.said] == [
        "no nodes available to schedule pods",
        "0/1 nodes are available: 1 Insufficient cpu.",
    ]
    world.change_node("n1", node("n1", cpu="2"))
    await world.until(lambda: bool(world.bound))


async def test_a_finished_pod_makes_room_and_a_terminating_one_does_not(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("old"), _on(pod("old", cpu="1"), "n1"))
    world.change(key("new"), pod("new", cpu="1"))
    await world.until(lambda: bool(world.said))
    value = _on(pod("old", cpu="1"), "n1").to_dict()
    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.change(key("old"), Pod.from_dict(value))
    await asyncio.sleep(30)
    assert world.bound == []
    world.change(key("old"), Pod.from_dict({**value, "status": {"phase": "Succeeded"}}))
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("new", "n1")]


@pytest.mark.parametrize("spec", [{"schedulerName": "other"}, {"schedulingGates": [{"name": "quota"}]}])
async def test_pods_of_others_and_gated_ones_are_left_alone(world: World, spec: dict[str, object]) -> None:
    world.change_node("n1", node("n1"))
    world.change(key(), pod(**spec))
    await asyncio.sleep(60)
    assert (world.bound, world.said) == ([], [])
    world.change(key(), pod())
    await world.until(lambda: bool(world.bound))


async def test_a_terminating_pod_is_left_alone(world: World) -> None:
    world.change(key(), pod())
    await world.until(lambda: bool(world.said))
    value = pod().to_dict()
    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.change(key(), Pod.from_dict(value))
    world.change_node("n1", node("n1"))
    await asyncio.sleep(60)
    assert world.bound == []


async def test_a_refused_binding_is_tried_again_and_its_room_is_free_meanwhile(world: World) -> None:
    world.outcomes = [Outcome.REFUSED]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: len(world.bound) == 2)
    assert world.bound == [("a", "n1"), ("b", "n1")]
    world.change(key("b"), None)
    await world.until(lambda: len(world.bound) == 3)
    assert world.bound[-1] == ("a", "n1")


async def test_a_pod_bound_meanwhile_counts_where_it_is(world: World) -> None:
    world.outcomes = [Outcome.OBSOLETE]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("a"), _on(world.pods[key("a")], "n1"))
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: bool(world.said))
    assert len(world.bound) == 1


async def test_a_binding_that_is_never_seen_is_made_again(world: World) -> None:
    world.tells = False
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: bool(world.said))  # a still counts
    world.change(key("b"), None)
    world.tells = True
    await world.until(lambda: len(world.bound) == 2)
    assert world.bound == [("a", "n1"), ("a", "n1")]


async def test_a_binding_with_unknown_outcome_keeps_its_room(world: World) -> None:
    world.outcomes = [Outcome.UNKNOWN]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("a"), _on(world.pods[key("a")], "n1"))
    await asyncio.sleep(120)
    assert world.bound == [("a", "n1")]


async def test_a_pod_created_again_under_its_name_is_another_pod(world: World) -> None:
    world.outcomes = [Outcome.OBSOLETE]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key(), pod(cpu="1", uid="one"))
    await asyncio.sleep(0.005)  # its binding is on its way
    world.change(key(), pod(cpu="1", uid="two"))
    await world.until(lambda: len(world.bound) == 2 and world.pods[key()].spec.node_name == "n1")
    assert world.pods[key()].metadata.uid == "two"
    await asyncio.sleep(120)
    assert len(world.bound) == 2


async def test_a_pod_deleted_while_it_is_bound_is_forgotten(world: World) -> None:
    world.tells = False
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await asyncio.sleep(0.005)
    world.change(key("a"), None)
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: len(world.bound) == 2)
    assert world.bound[-1] == ("b", "n1")


async def test_a_node_that_says_nonsense_is_not_used(world: World) -> None:
    world.change_node("n1", node("n1", cpu="many"))
    world.change(key(), pod())
    await world.until(lambda: bool(world.said))
    assert world.said == [("p", "no nodes available to schedule pods")]


async def test_many_pods_are_all_placed(world: World) -> None:
    for n in range(20):
        world.change_node(f"n{n}", node(f"n{n}", cpu="10"))
    for n in range(200):
        world.change(key(str(n), tenant=f"t{n % 7}"), pod(str(n), cpu="1"))
    await world.until(lambda: len(world.bound) == 200)
    counts = [sum(on == f"n{n}" for _, on in world.bound) for n in range(20)]
    assert counts == [10] * 20
    assert world.said == []
