"""A small cluster in which things go wrong, drawn by hypothesis: what holds all the same is checked at every write.

Faults are refused writes (409), caches that lag, watches that break, controllers that are killed between two calls,
and whatever a test does to pods. A killed controller's call hangs, before or after it took effect, until its successor
has begun.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import looptime
from hypothesis import strategies as st

from hypernetes.api.scheme import Resource
from hypernetes.api.status import conflict
from hypernetes.client import Key
from hypernetes.controllers.controller import Controller
from tests.unit.controllers.fake_cluster import FakeCluster, Json, Story

Check = Callable[["FaultyCluster", str, tuple[Resource, Key], Json | None], None]


@dataclass(frozen=True)
class Fault:
    """After some writes since the one before: `conflict`, `watches` (they break), `before` or `after` (a kill)."""

    after_writes: int
    kind: str


@dataclass(frozen=True)
class Plan:
    lag: float = 0.0
    faults: tuple[Fault, ...] = ()


plans = st.builds(
    Plan,
    st.sampled_from([0.0, 0.0, 0.3, 2.0]),
    st.lists(
        st.builds(Fault, st.integers(0, 6), st.sampled_from(["conflict", "before", "after", "watches"])), max_size=10
    ).map(tuple),
)


class FaultyCluster(FakeCluster):
    def __init__(self, plan: Plan, check: Check) -> None:
        super().__init__()
        self.lag, self._faults, self._check = plan.lag, list(plan.faults), check
        self._writes = 0
        self.killed = asyncio.Event()
        self.controller_writes = False  # who writes now: a controller, or the test and its kubelet
        self.violations: list[str] = []

    def _due(self) -> str:
        if not self._faults or self.killed.is_set():
            return ""
        self._writes += 1
        if self._writes <= self._faults[0].after_writes:
            return ""
        self._writes = 0
        return self._faults.pop(0).kind

    async def by_controller(self, write: Callable[[], Awaitable[Any]], what: str) -> Any:
        fault = self._due()
        if fault == "conflict":
            raise conflict(what, "any", "somebody else was faster")
        if fault == "watches":
            await self.break_watches()
        if fault == "before":
            await self._die()
        self.controller_writes = True
        try:
            result = await write()
        finally:
            self.controller_writes = False
        if fault == "after":
            await self._die()
        return result

    async def _die(self) -> None:
        self.killed.set()
        await asyncio.Event().wait()

    async def create(self, obj: Any, **options: Any) -> Any:
        return await self.by_controller(lambda: super(FaultyCluster, self).create(obj, **options), obj.KIND)

    async def update(self, obj: Any, **options: Any) -> Any:
        return await self.by_controller(lambda: super(FaultyCluster, self).update(obj, **options), obj.KIND)

    async def patch(self, model: type[Any], name: str, body: Json, **options: Any) -> Any:
        return await self.by_controller(lambda: super(FaultyCluster, self).patch(model, name, body, **options), name)

    async def delete(self, model: type[Any], name: str, **options: Any) -> Json:
        return await self.by_controller(lambda: super(FaultyCluster, self).delete(model, name, **options), name)

    async def _commit(self, kind: str, place: tuple[Resource, Key], obj: Json) -> Json:
        before = self.stored.get(place)
        result = await super()._commit(kind, place, obj)
        try:
            self._check(self, kind, place, before)
        except AssertionError as error:
            self.violations.append(str(error))
        return result

    def pods(self) -> list[Json]:
        return [pod for pod in self.all("Pod") if pod["metadata"]["namespace"] == "prod"]


@dataclass
class Trial:
    """Runs `controllers` through `steps` under a plan of faults, each step some seconds after the other."""

    controllers: Sequence[Callable[..., Controller]]
    plan: Plan
    check: Check
    steps: Sequence[tuple[float, Callable[[FaultyCluster], Awaitable[None]]]]
    rest: float = 400.0  # seconds, after the last step: long enough for every back-off
    cluster: FaultyCluster = field(init=False)

    def run(self, at_end: Callable[[FaultyCluster], None]) -> None:
        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(self._run(at_end))

    async def _run(self, at_end: Callable[[FaultyCluster], None]) -> None:
        story = Story(*self.controllers)
        self.cluster = story.cluster = story.kubelet.cluster = FaultyCluster(self.plan, self.check)
        living = asyncio.ensure_future(self._live(story))
        try:
            for seconds, step in self.steps:
                await asyncio.sleep(seconds)
                await step(self.cluster)
            await asyncio.sleep(self.rest)
        finally:
            living.cancel()
            with suppress(asyncio.CancelledError):
                await living
        assert not self.cluster.violations, self.cluster.violations
        at_end(self.cluster)

    async def _live(self, story: Story) -> None:
        """A process after the other."""
        while True:
            async with story.running():
                await self.cluster.killed.wait()
            self.cluster.killed.clear()


class _VirtualLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """Time passes when nothing is left to do."""


def virtual_loop() -> asyncio.AbstractEventLoop:
    loop = _VirtualLoop()
    loop.setup_looptime(start=0, end=None)
    return loop
