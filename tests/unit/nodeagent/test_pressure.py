"""Who has to go from a node under pressure, and how the pods of one that is shut down end."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent.node import MachineFacts
from hypernetes.nodeagent.nodeshutdown import CRITICAL_PRIORITY, NodeShutdown, waves
from hypernetes.nodeagent.podcontainers import Ended
from hypernetes.nodeagent.pressure import LOOK_SECONDS, Candidate, PressureKeeper, requested, victim
from hypernetes.nodeagent.runtime.base import Footprint
from tests.unit.nodeagent.fakes import World
from tests.unit.nodeagent.test_podworker import at_work, is_running, saved, until

FINE = MachineFacts(2, 8 << 30, 4 << 30, 100 << 30, 50 << 30, 100, 30_000, "", "", "", "")
SHORT_OF_MEMORY = replace(FINE, memory_available_bytes=50 << 20)
SHORT_OF_DISK = replace(FINE, disk_free_bytes=1 << 30)
SHORT_OF_PIDS = replace(FINE, threads=29_000)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def candidate(uid: str, tenant: str, used: int, requested: int = 0, priority: int = 0) -> Candidate:
    return Candidate(uid, tenant, priority, used, requested)


@pytest.mark.parametrize(
    ("why", "pods", "chosen"),
    [
        ("no pod runs", [], None),
        (
            "of the tenant that is the most over its requests, though its pods are small ones",
            [candidate("large", "acme", 100), candidate("a", "globex", 60), candidate("b", "globex", 70)],
            "b",
        ),
        (
            "a tenant that asked for what it uses is left alone",
            [candidate("large", "acme", 1000, 1000), candidate("small", "globex", 10, 5)],
            "small",
        ),
        (
            "over its requests, before one that isn't though that one matters less",
            [candidate("within", "acme", 5, 10, -1), candidate("over", "acme", 50, 10, 1000)],
            "over",
        ),
        (
            "the lowest priority of those over their requests",
            [candidate("low", "acme", 11, 10, 1), candidate("high", "acme", 500, 10, 2)],
            "low",
        ),
        (
            "the most over of equal ones",
            [candidate("less", "acme", 20, 10), candidate("more", "acme", 31, 20)],
            "more",
        ),
    ],
)
def test_who_goes_next(why: str, pods: list[Candidate], chosen: str | None) -> None:
    found = victim(pods)
    assert (found and found.uid) == chosen, why


def test_requests_are_of_what_runs_all_the_time() -> None:
    def container(name: str, memory: str, **more: str) -> dict[str, Any]:
        return {"name": name, "image": "i", "resources": {"requests": {"memory": memory}}, **more}

    spec = {
        "initContainers": [container("first", "1Gi"), container("side", "2Mi", restartPolicy="Always")],
        "containers": [container("main", "3Mi"), {"name": "bare", "image": "i"}],
    }
    assert requested(Pod.from_dict({"metadata": {"name": "p"}, "spec": spec}), "memory") == 5 << 20


@pytest.mark.looptime
@pytest.mark.parametrize(("facts", "resource"), [(SHORT_OF_MEMORY, "memory"), (SHORT_OF_DISK, "ephemeral-storage")])
async def test_a_pod_is_evicted_by_a_node_under_pressure_with_its_grace(
    world: World, facts: MachineFacts, resource: str
) -> None:
    now = FINE
    async with at_work(world, world.pod()) as worker:
        keeper = PressureKeeper(lambda: [worker], lambda: now, lambda uid: Footprint(300 << 20, 300 << 20))
        keeping = asyncio.create_task(keeper.run())
        await until(lambda: is_running(world))
        await asyncio.sleep(3 * LOOK_SECONDS)
        assert is_running(world)
        now = facts
        await until(lambda: world.stored().status.phase == "Failed")
        await worker.given_back.wait()
        keeping.cancel()
        status = world.stored().status
        assert status.reason == "Evicted"
        assert f"low on resource: {resource}. The pod was using 307200Ki, request is 0Ki." in (status.message or "")
        assert ("DisruptionTarget", "TerminationByKubelet") in [(each.type, each.reason) for each in status.conditions]
        assert (world.machine().signals, world.machine().off) == ([("main.0", 15)], True)


@pytest.mark.looptime
async def test_lack_of_process_ids_evicts_nobody(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        keeper = PressureKeeper(lambda: [worker], lambda: SHORT_OF_PIDS, lambda uid: Footprint(1, 1))
        assert await keeper.look() is None


@pytest.mark.looptime
async def test_only_one_pod_goes_at_a_time() -> None:
    class Worker:
        def __init__(self, uid: str) -> None:
            self.record = SimpleNamespace(uid=uid, tenant="acme")
            self.pod = Pod.from_dict({"metadata": {"name": uid}, "spec": {"containers": []}})
            self.given_back, self.grace, self.ended = asyncio.Event(), 5.0, False

        @property
        def can_end(self) -> bool:
            return not self.ended

        def end(self, why: Ended) -> None:
            self.ended = True

    workers: Any = [Worker("a"), Worker("b")]
    keeping = asyncio.create_task(
        PressureKeeper(lambda: workers, lambda: SHORT_OF_MEMORY, lambda uid: Footprint(1, 1)).run()
    )
    await asyncio.sleep(LOOK_SECONDS * 2.5)
    assert [each.ended for each in workers] == [False, True]
    workers[1].given_back.set()
    await asyncio.sleep(LOOK_SECONDS * 1.5)
    assert [each.ended for each in workers] == [True, True]
    keeping.cancel()


@pytest.mark.looptime
async def test_a_node_that_cant_be_measured_evicts_nobody_and_is_looked_at_again(world: World) -> None:
    answers: list[Callable[[], MachineFacts]] = [broken, lambda: SHORT_OF_MEMORY]
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        keeper = PressureKeeper(lambda: [worker], lambda: answers.pop(0)(), lambda uid: Footprint(1, 1))
        keeping = asyncio.create_task(keeper.run())
        await until(lambda: world.stored().status.reason == "Evicted")
        keeping.cancel()


def broken() -> MachineFacts:
    raise OSError("no /proc")


def worker_of(priority: int | None) -> Any:
    spec = {"containers": [], "priority": priority}
    return SimpleNamespace(pod=Pod.from_dict({"metadata": {"name": "p"}, "spec": spec}), can_end=True)


def test_critical_pods_end_after_all_others() -> None:
    ordinary, none, critical = worker_of(1000), worker_of(None), worker_of(CRITICAL_PRIORITY)
    assert waves([critical, ordinary, none]) == [[ordinary, none], [critical]]
    assert waves([critical]) == [[critical]]
    assert waves([]) == []


@pytest.mark.looptime
async def test_a_node_that_is_shut_down_ends_its_pods_within_their_grace_and_isnt_ready(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        ending = NodeShutdown(lambda: [worker])
        working = asyncio.create_task(ending.run())
        await asyncio.sleep(100)
        assert (is_running(world), ending.problem) == (True, "")
        ending.begin()
        await ending.over.wait()
        await working
        assert ending.problem == "node is shutting down"
        status = world.stored().status
        assert (status.phase, status.reason) == ("Failed", "Terminated")
        assert "imminent node shutdown" in (status.message or "")
        assert world.machine().signals == [("main.0", 15)]
        assert world.machine().off


@pytest.mark.looptime
async def test_a_pod_that_the_node_ends_is_failed_when_nothing_runs_and_by_the_next_agent_if_need_be(
    world: World,
) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        world.machine().stubborn.add("main.0")
        worker.end(Ended("Evicted", "The node was low on memory."))
        await until(lambda: bool(world.machine().signals))
        await asyncio.sleep(5)  # less than its grace
        assert (world.stored().status.phase, worker.can_end) == ("Running", False)
    async with at_work(world, world.stored(), saved(world)):
        await until(lambda: world.stored().status.phase == "Failed")
        assert world.stored().status.reason == "Evicted"
        assert world.machine().signals[-1] == ("main.0", 9)
        assert [spec.id for spec in world.machine().started] == ["main.0"]


@pytest.mark.looptime
async def test_what_a_pod_asks_for_is_no_reason_to_wait_for_days(world: World) -> None:
    pod = world.pod()
    pod.spec.termination_grace_period_seconds = 10_000_000
    async with at_work(world, pod) as worker:
        keeper = PressureKeeper(lambda: [worker], lambda: SHORT_OF_MEMORY, lambda uid: Footprint(300 << 20, 0))
        await until(lambda: is_running(world))
        world.machine().stubborn.add("main.0")
        keeping = asyncio.create_task(keeper.run())
        await until(lambda: world.stored().status.phase == "Failed", 100)
        await worker.given_back.wait()
        keeping.cancel()
        assert world.machine().signals == [("main.0", 15), ("main.0", 9)]
