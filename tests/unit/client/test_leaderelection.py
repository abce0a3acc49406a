import asyncio
from typing import Any

import pytest

from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.status import conflict, not_found
from hypernetes.client.errors import Unreachable
from hypernetes.client.leaderelection import LeaderElector, LeadershipLost, Timing

pytestmark = pytest.mark.looptime


class Leases:
    """A server that keeps one Lease, and may be away."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.away = False
        self.reads = 0
        self._version = 0

    async def get(self, model: type[Lease], name: str, **_: Any) -> Lease:
        self._check()
        self.reads += 1
        if self.lease is None:
            raise not_found("leases.coordination.k8s.io", name)
        return self.lease

    async def create(self, lease: Lease, **_: Any) -> Lease:
        self._check()
        return self._store(lease)

    async def update(self, lease: Lease, **_: Any) -> Lease:
        self._check()
        if self.lease is None:
            raise not_found("leases.coordination.k8s.io", "work")
        if lease.metadata.resource_version != self.lease.metadata.resource_version:
            raise conflict("leases.coordination.k8s.io", "work", "modified")
        return self._store(lease)

    def _check(self) -> None:
        if self.away:
            raise Unreachable("refused")

    def _store(self, lease: Lease) -> Lease:
        self._version += 1
        metadata = lease.metadata.model_copy(update={"resource_version": str(self._version)})
        self.lease = lease.model_copy(update={"metadata": metadata})
        return self.lease

    @property
    def holder(self) -> str | None:
        return self.lease.spec.holder_identity if self.lease else None


class Candidate:
    """One process that wants to work; notes when it did."""

    def __init__(self, leases: Leases, name: str) -> None:
        self._elector = LeaderElector(leases, "work", identity=name)  # type: ignore[arg-type]
        self.working = False
        self.started = asyncio.Event()
        self.spans: list[tuple[float, float]] = []
        self.task = asyncio.create_task(self._elector.run(self._work))

    async def _work(self) -> None:
        self.working = True
        self.started.set()
        started = asyncio.get_running_loop().time()
        try:
            await asyncio.Event().wait()
        finally:
            self.working = False
            self.spans.append((started, asyncio.get_running_loop().time()))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_one_of_two_works_and_the_other_follows_at_once_after_a_clean_end() -> None:
    leases = Leases()
    first = Candidate(leases, "first")
    await asyncio.sleep(1)
    second = Candidate(leases, "second")
    await asyncio.sleep(60)
    assert (first.working, second.working, leases.holder) == (True, False, "first")
    await first.stop()
    assert leases.holder == ""
    await asyncio.sleep(3)
    assert (first.working, second.working, leases.holder) == (False, True, "second")
    assert leases.lease is not None
    assert leases.lease.spec.lease_transitions == 1
    await second.stop()


async def test_a_holder_that_cannot_renew_stops_before_another_may_start() -> None:
    leases = Leases()
    first = Candidate(leases, "first")
    await asyncio.sleep(5)
    leases.away = True
    with pytest.raises(LeadershipLost):
        await first.task
    loop = asyncio.get_running_loop()
    assert not first.working
    stopped = first.spans[0][1]
    assert 7 <= stopped - 5 <= 10
    leases.away = False
    second = Candidate(leases, "second")
    began = loop.time()
    await second.started.wait()
    assert 15 <= loop.time() - began <= 19
    await second.stop()


async def test_a_short_absence_of_the_server_is_survived() -> None:
    leases = Leases()
    first = Candidate(leases, "first")
    await asyncio.sleep(5)
    leases.away = True
    await asyncio.sleep(7)
    leases.away = False
    await asyncio.sleep(60)
    assert first.working
    await first.stop()


async def test_work_that_fails_gives_the_lease_up_and_tells_why() -> None:
    leases = Leases()

    async def work() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await LeaderElector(leases, "work", identity="first").run(work)  # type: ignore[arg-type]
    assert leases.holder == ""


async def test_a_holder_writes_without_reading_first() -> None:
    leases = Leases()
    first = Candidate(leases, "first")
    await asyncio.sleep(60)
    assert leases.reads == 1
    assert leases.lease is not None
    leases.lease = leases._store(leases.lease)  # somebody has touched it
    await asyncio.sleep(60)
    assert (first.working, leases.reads) == (True, 2)
    await first.stop()


async def test_why_a_lease_was_lost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    leases = Leases()
    first = Candidate(leases, "first")
    await asyncio.sleep(5)
    leases.away = True
    with pytest.raises(LeadershipLost, match="not renewed within 10 s: refused"):
        await first.task
    leases.away = False
    second = Candidate(leases, "second")
    await second.started.wait()
    loop = asyncio.get_running_loop()
    true, late = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: true() + late)
    await asyncio.sleep(1)
    late = 30.0  # as if a callback had taken as long
    with pytest.raises(LeadershipLost, match="this process stood still for"):
        await second.task


async def test_what_is_annotated_is_written_at_once_and_stays_with_the_next_holder() -> None:
    leases, seen = Leases(), []
    first = LeaderElector(leases, "work", identity="first")  # type: ignore[arg-type]
    task = asyncio.create_task(first.run(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(1)
    first.annotate("who", "acme")
    await asyncio.sleep(0.1)
    assert leases.lease is not None
    assert leases.lease.metadata.annotations == {"who": "acme"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    second = LeaderElector(
        leases, "work", identity="second", annotated=lambda: seen.append(second.lease)  # type: ignore[arg-type]
    )  # fmt: skip
    task = asyncio.create_task(second.run(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(30)
    assert (leases.holder, leases.lease.metadata.annotations) == ("second", {"who": "acme"})
    assert len(seen) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lease_of_ones_own_that_was_deleted_is_lost_and_not_made_again() -> None:
    leases = Leases()
    own = LeaderElector(leases, "work", identity="first", removes=True)  # type: ignore[arg-type]
    task = asyncio.create_task(own.run(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(1)
    leases.lease = None
    with pytest.raises(LeadershipLost, match="it was deleted"):
        await task
    assert leases.lease is None


def test_timing_in_which_two_could_work_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="lease_duration"):
        Timing(lease_duration=10, renew_deadline=10)


async def test_a_thread_knows_that_the_lease_ran_out_while_the_loop_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("hypernetes.client.leaderelection.time.monotonic", lambda: now)
    elector, found = LeaderElector(Leases(), "work", identity="a"), []  # type: ignore[arg-type]
    found.append(elector.held())

    async def work() -> None:
        nonlocal now
        for passed in (0.0, 14.9, 0.1):  # without a turn of the loop
            now += passed
            found.append(elector.held())
        await asyncio.sleep(5)  # renewed
        found.append(elector.held())

    await elector.run(work)
    assert [*found, elector.held()] == [False, True, True, False, True, False]
