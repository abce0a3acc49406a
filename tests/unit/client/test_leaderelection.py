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
        self._version = 0

    async def get(self, model: type[Lease], name: str, **_: Any) -> Lease:
        self._check()
        if self.lease is None:
            raise not_found("leases.coordination.k8s.io", name)
        return self.lease

    async def create(self, lease: Lease, **_: Any) -> Lease:
        self._check()
        return self._store(lease)

    async def update(self, lease: Lease, **_: Any) -> Lease:
        self._check()
        assert self.lease is not None
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


def test_timing_in_which_two_could_work_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="lease_duration"):
        Timing(lease_duration=10, renew_deadline=10)
