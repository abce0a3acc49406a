"""The agent over several pods: one that makes trouble troubles nobody else."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Key
from hypernetes.nodeagent import podstatus
from hypernetes.nodeagent.agent import MAX_REVIVAL_SECONDS, Agent
from hypernetes.nodeagent.session import Session
from tests.unit.nodeagent.fakes import TENANT, World, now

pytestmark = pytest.mark.looptime


class FakeInformer:
    """The pods of a world; a test tells of changes."""

    def __init__(self, world: World, *names: str) -> None:
        self._world, self._names = world, names
        self._handlers: list[Callable[[Key, Pod | None, Pod | None], None]] = []

    async def wait_synced(self) -> None: ...

    def items(self) -> list[tuple[Key, Pod]]:
        return [(Key(TENANT, "web", name), self._world.stored(name)) for name in self._names]

    def on_change(self, handler: Callable[[Key, Pod | None, Pod | None], None]) -> None:
        self._handlers.append(handler)

    def tell_new(self, pod: Pod) -> None:
        for handler in self._handlers:
            handler(Key(TENANT, "web", pod.metadata.name or ""), None, pod)

    def tell_gone(self, pod: Pod) -> None:
        for handler in self._handlers:
            handler(Key(TENANT, "web", pod.metadata.name or ""), pod, None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def agent_of(world: World, *names: str) -> AsyncIterator[FakeInformer]:
    informer: Any = FakeInformer(world, *names)
    task = asyncio.create_task(Agent(world.parts, informer).run())
    try:
        yield informer
    finally:
        assert not task.done(), "the agent lives whatever its pods do"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 400) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def is_running(world: World, name: str) -> bool:
    return world.stored(name).status.phase == "Running"


async def test_a_worker_that_fails_unexpectedly_goes_on_from_its_record_with_its_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pod("a")
    world.pod("b")
    take = Session._take
    broken = {"uid-a"}

    def fail_once(session: Session, output: Any) -> None:
        if session.machine.id in broken:
            broken.clear()
            raise RuntimeError("nobody thought of this")
        take(session, output)

    monkeypatch.setattr(Session, "_take", fail_once)
    async with agent_of(world, "a", "b"):
        await until(lambda: is_running(world, "a") and is_running(world, "b"))
        machine = world.machine("a")
        machine.say("main.0", b"first\n", 1)
        await until(lambda: "FailedSync" in world.events.reasons)
        machine.exit("main.0", 3)
        await until(lambda: len(machine.started) == 2)
        assert [spec.id for spec in machine.started] == ["main.0", "main.1"]
        assert not machine.off
        assert [spec.id for spec in world.runtime.created] == ["uid-a", "uid-b"]
        machine.say("main.1", b"second\n", 2)
        await until(lambda: machine.acknowledged == 2)
        _, message = next(seen for seen in world.events.seen if seen[0] == "FailedSync")
        assert "RuntimeError" in message
        assert "nobody thought" not in message
        assert len(world.machine("b").started) == 1


async def test_a_worker_that_always_fails_is_tried_ever_more_slowly_and_can_still_be_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pod("a")
    world.pod("b")
    attempts: list[float] = []
    create = world.runtime.create

    async def refuse(spec: Any, services: Any) -> Any:
        if spec.id == "uid-a":
            attempts.append(now())
            raise KeyError("what")
        return await create(spec, services)

    monkeypatch.setattr(world.runtime, "create", refuse)
    with capture_logs() as lines:
        async with agent_of(world, "a", "b") as informer:
            await _watch_failures(world, informer, attempts)
    assert sum(line["event"] == "pod.worker.failed" for line in lines) >= len(attempts)


async def _watch_failures(world: World, informer: FakeInformer, attempts: list[float]) -> None:
    await until(lambda: len(attempts) == 12, seconds=3600)
    waits = [round(later - earlier) for earlier, later in itertools.pairwise(attempts)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, MAX_REVIVAL_SECONDS, MAX_REVIVAL_SECONDS]
    assert is_running(world, "b")
    informer.tell_gone(world.stored("a"))
    await until(lambda: [record.uid for record in world.records.load()] == ["uid-b"])
    assert set(world.network.ports) == {"uid-b"}


async def test_a_status_that_cannot_be_built_is_not_silence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status writer that ended alone would leave the pod's status as it is for ever."""
    world.pod("a")
    build, failures = podstatus.build, [1]

    def fail_once(*arguments: Any) -> Any:
        if failures:
            failures.pop()
            raise ZeroDivisionError
        return build(*arguments)

    monkeypatch.setattr(podstatus, "build", fail_once)
    async with agent_of(world, "a"):
        await until(lambda: is_running(world, "a"))
        assert "FailedSync" in world.events.reasons


async def test_a_worker_that_fails_as_its_machine_dies_boots_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pod("a")
    async with agent_of(world, "a"):
        await until(lambda: is_running(world, "a"))
        first, shutdowns = world.machine("a"), []

        async def fail_once(timeout: float) -> None:
            shutdowns.append(now())
            if len(shutdowns) == 1:
                raise RuntimeError("no")
            first.off = True

        monkeypatch.setattr(first, "shutdown", fail_once)
        first.die()
        await until(lambda: len(world.runtime.created) == 2 and is_running(world, "a"))
        assert len(shutdowns) == 2
        assert world.machine("a") is not first


async def test_pods_that_come_while_the_node_is_shut_down_are_left_to_the_next_agent(world: World) -> None:
    informer: Any = FakeInformer(world)
    agent = Agent(world.parts, informer)
    task = asyncio.create_task(agent.run())
    await agent.adopted.wait()
    agent.closing = True
    pod = world.pod()
    informer.tell_new(pod)
    await asyncio.sleep(60)
    assert agent.workers() == []
    assert (pod.metadata.uid or "") not in world.runtime.machines
    agent.closing = False
    informer.tell_new(pod)
    assert len(agent.workers()) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
