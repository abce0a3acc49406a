"""Several hn-controllers that come, go, are killed and cut off: no two ever work for one tenant, at last one does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.status import already_exists, conflict, not_found
from hypernetes.client import LeadershipLost
from hypernetes.client.errors import Interrupted
from hypernetes.client.rest import Listing
from hypernetes.controllers.membership import ASSIGNMENT, MEMBER_LABEL, Membership
from hypernetes.controllers.shard import Shard
from tests.unit.controllers.faults import virtual_loop

TENANTS = [f"t{number}" for number in range(12)]
LEASES = "leases.coordination.k8s.io"


class Server:
    """Keeps Leases, as an API server does."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self._revision = 0

    def store(self, lease: Lease) -> Lease:
        self._revision += 1
        changed: dict[str, Any] = {"resource_version": str(self._revision)}
        if lease.metadata.uid is None:
            changed["uid"] = f"uid-{self._revision}"
        lease = lease.model_copy(update={"metadata": lease.metadata.model_copy(update=changed)})
        self.leases[lease.metadata.name or ""] = lease
        return lease

    def there(self, name: str, *, version: str | None = None, uid: str | None = None) -> Lease:
        if name not in self.leases:
            raise not_found(LEASES, name)
        lease = self.leases[name]
        if (version or lease.metadata.resource_version) != lease.metadata.resource_version:
            raise conflict(LEASES, name, "modified")
        if (uid or lease.metadata.uid) != lease.metadata.uid:
            raise conflict(LEASES, name, "another one")
        return lease


class Link:
    """A member's way to the server: with a delay both ways, and perhaps cut for a while."""

    def __init__(self, server: Server, delay: float) -> None:
        self._server, self._delay = server, delay
        self.open = asyncio.Event()
        self.open.set()

    async def _through(self, what: Callable[[], Any], timeout: float) -> Any:
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(self._delay)
                await self.open.wait()
                answer = what()
                await asyncio.sleep(self._delay)
                await self.open.wait()
                return answer
        except TimeoutError:
            raise Interrupted("no answer") from None

    async def get(self, model: Any, name: str, *, timeout: float, **_: Any) -> Lease:
        found: Lease = await self._through(lambda: self._server.there(name), timeout)
        return found

    async def create(self, lease: Lease, *, timeout: float, **_: Any) -> Lease:
        def create() -> Lease:
            if lease.metadata.name in self._server.leases:
                raise already_exists(LEASES, lease.metadata.name or "")
            return self._server.store(lease)

        made: Lease = await self._through(create, timeout)
        return made

    async def update(self, lease: Lease, *, timeout: float, **_: Any) -> Lease:
        def update() -> Lease:
            self._server.there(lease.metadata.name or "", version=lease.metadata.resource_version)
            return self._server.store(lease)

        updated: Lease = await self._through(update, timeout)
        return updated

    async def delete(
        self, model: Any, name: str, *, timeout: float, uid: str | None = None, resource_version: str | None = None,
        **_: Any,
    ) -> None:  # fmt: skip
        def delete() -> None:
            self._server.there(name, version=resource_version, uid=uid)
            del self._server.leases[name]

        await self._through(delete, timeout)

    async def list(self, model: Any, *, label_selector: str, timeout: float, **_: Any) -> Listing[Lease]:
        label, _, value = label_selector.partition("=")

        def found() -> Listing[Lease]:
            items = [each for each in self._server.leases.values() if each.metadata.labels.get(label) == value]
            return Listing(items, "1")

        listing: Listing[Lease] = await self._through(found, timeout)
        return listing


class Work:
    """What a process would do: says for whom it acts, ends it only after a while, and needs a while to begin."""

    def __init__(self, name: str, slowness: float) -> None:
        self._shard, self._slowness = Shard(name), slowness
        self._ending: Callable[[str], bool] = lambda tenant: False  # what was begun before, and is under way
        self.running = False

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False

    def acts_on(self, tenant: str) -> bool:
        return self.running and (self._shard.acts_on(tenant) or self._ending(tenant))

    @property
    def leads(self) -> bool:
        return self.running and self._shard.elected_open

    async def narrow(self, members: tuple[str, ...]) -> bool:
        former = {tenant for tenant in TENANTS if self._shard.acts_on(tenant)}
        gains = self._shard.narrow(members)
        self._ending = former.__contains__
        await asyncio.sleep(self._slowness)
        self._ending = lambda tenant: False
        return gains

    async def widen(self, *, tenants: bool, elected: bool) -> None:
        self._shard.elected = self._shard.elected or elected
        await asyncio.sleep(self._slowness)
        if tenants:
            self._shard.open()
        self._shard.elected_open = self._shard.elected


class Process:
    def __init__(
        self, server: Server, name: str, *, delay: float = 0.01, slowness: float = 0.2, **options: Any
    ) -> None:
        self.name, self.link, self.work = name, Link(server, delay), Work(name, slowness)
        self.membership = Membership(self.link, "work", self.work, identity=name, **options)  # type: ignore[arg-type]
        self.task = asyncio.ensure_future(self.membership.run())

    async def kill(self) -> None:
        """SIGKILL: it says nothing any more, and does nothing."""
        self.link.open.clear()
        self.task.cancel()
        self.work.running = False
        await asyncio.gather(self.task, return_exceptions=True)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Fleet:
    def __init__(self) -> None:
        self.server = Server()
        self.processes: dict[str, Process] = {}
        self._watching = asyncio.ensure_future(self._watch())
        self._numbers = iter(range(1000))

    def start(self, **options: Any) -> Process:
        name = f"p{next(self._numbers)}"
        self.processes[name] = Process(self.server, name, **options)
        return self.processes[name]

    def owners(self, tenant: str) -> list[str]:
        return [name for name, each in self.processes.items() if each.work.acts_on(tenant)]

    def shares(self) -> dict[str, int]:
        return {
            name: sum(map(each.work.acts_on, TENANTS)) for name, each in self.processes.items() if not each.task.done()
        }

    async def _watch(self) -> None:
        while True:
            for tenant in TENANTS:
                assert len(self.owners(tenant)) <= 1, f"{tenant} has {self.owners(tenant)}"
            assert sum(each.work.leads for each in self.processes.values()) <= 1, "two lead"
            await asyncio.sleep(0.2)

    async def settled(self, seconds: float = 90.0) -> None:
        await asyncio.sleep(seconds)
        assert not self._watching.done(), self._watching.exception()
        for process in self.processes.values():
            if process.task.done() and not process.task.cancelled():
                assert isinstance(process.task.exception(), LeadershipLost)

    async def end(self) -> None:
        for process in self.processes.values():
            await process.stop()
        self._watching.cancel()


async def in_fleet(story: Callable[[Fleet], Coroutine[Any, Any, None]]) -> None:
    fleet = Fleet()
    try:
        await story(fleet)
        assert not fleet._watching.done(), fleet._watching.exception()
    finally:
        await fleet.end()


@pytest.mark.looptime
class TestStories:
    async def test_one_alone_has_all_within_moments_and_leaves_nothing_behind(self) -> None:
        fleet = Fleet()
        process = fleet.start()
        await fleet.settled(2.0)
        assert fleet.shares() == {"p0": len(TENANTS)}
        assert process.work.leads
        await fleet.end()
        assert list(fleet.server.leases) == ["work"]
        assert fleet.server.leases["work"].spec.holder_identity == ""

    async def test_one_that_comes_takes_its_part_and_nothing_moves_between_others(self) -> None:
        async def story(fleet: Fleet) -> None:
            fleet.start(), fleet.start()
            await fleet.settled()
            before = {tenant: fleet.owners(tenant) for tenant in TENANTS}
            fleet.start()
            await fleet.settled(10.0)
            assert fleet.shares()["p2"] == 0, "one that has only just come may end again"
            await fleet.settled(40.0)
            after = {tenant: fleet.owners(tenant) for tenant in TENANTS}
            moved = {tenant for tenant in TENANTS if before[tenant] != after[tenant]}
            assert all(after[tenant] == ["p2"] for tenant in moved)
            assert all(share > 0 for share in fleet.shares().values())

        await in_fleet(story)

    async def test_the_tenants_of_one_that_is_killed_are_worked_for_after_its_lease(self) -> None:
        async def story(fleet: Fleet) -> None:
            leader, other = fleet.start(), fleet.start()
            await fleet.settled()
            assert leader.work.leads
            await leader.kill()
            await fleet.settled(8.0)  # its last renewal may have been some seconds before
            assert fleet.shares()["p1"] < len(TENANTS), "its Lease still stands"
            await fleet.settled(34.0)
            assert fleet.shares() == {"p1": len(TENANTS)}
            assert other.work.leads

        await in_fleet(story)

    async def test_one_that_ends_cleanly_is_followed_at_once(self) -> None:
        async def story(fleet: Fleet) -> None:
            fleet.start()
            other = fleet.start()
            await fleet.settled()
            await other.stop()
            await fleet.settled(8.0)
            assert fleet.shares() == {"p0": len(TENANTS)}

        await in_fleet(story)

    async def test_one_that_is_cut_off_stops_before_others_take_over(self) -> None:
        async def story(fleet: Fleet) -> None:
            fleet.start()
            cut = fleet.start()
            await fleet.settled()
            cut.link.open.clear()
            await fleet.settled(12.0)
            assert cut.task.done()
            cut.link.open.set()
            await fleet.settled(30.0)
            assert fleet.shares() == {"p0": len(TENANTS)}

        await in_fleet(story)

    async def test_one_that_dies_all_the_time_takes_no_tenants(self) -> None:
        async def story(fleet: Fleet) -> None:
            fleet.start()
            await fleet.settled()
            for _ in range(10):
                dying = fleet.start()
                await fleet.settled(5.0)
                assert fleet.shares()["p0"] == len(TENANTS)
                await dying.kill()

        await in_fleet(story)

    async def test_further_ones_stand_by_where_only_some_are_to_be_active(self) -> None:
        async def story(fleet: Fleet) -> None:
            for _ in range(3):
                fleet.start(active=2)
                await fleet.settled(1.0)
            await fleet.settled()
            assert sorted(share > 0 for share in fleet.shares().values()) == [False, True, True]
            await fleet.processes["p1"].stop()
            await fleet.settled(12.0)
            assert all(share > 0 for share in fleet.shares().values())

        await in_fleet(story)

    async def test_an_assignment_that_somebody_deletes_is_made_anew_safely(self) -> None:
        async def story(fleet: Fleet) -> None:
            fleet.start(), fleet.start()
            await fleet.settled()
            lease = fleet.server.leases["work"]
            annotations = {name: text for name, text in lease.metadata.annotations.items() if name != ASSIGNMENT}
            metadata = lease.metadata.model_copy(update={"annotations": annotations})
            fleet.server.store(lease.model_copy(update={"metadata": metadata}))
            await fleet.processes["p0"].kill()
            await fleet.settled()
            assert fleet.shares() == {"p1": len(TENANTS)}

        await in_fleet(story)

    async def test_whose_lease_is_deleted_is_no_member_any_more(self) -> None:
        async def story(fleet: Fleet) -> None:
            fleet.start()
            other = fleet.start()
            await fleet.settled()
            del fleet.server.leases["work-p1"]
            await fleet.settled(12.0)
            assert other.task.done()
            assert fleet.server.leases.keys() == {"work", "work-p0"}
            assert all(
                MEMBER_LABEL in each.metadata.labels for name, each in fleet.server.leases.items() if "-" in name
            )

        await in_fleet(story)


happenings = st.lists(
    st.tuples(
        st.sampled_from(["start", "kill", "stop", "cut", "heal"]),
        st.integers(0, 5),
        st.sampled_from([0.1, 3.0, 9.0, 20.0]),
    ),
    max_size=14,
)


@settings(max_examples=20)
@given(happenings, st.sampled_from([0.001, 0.3, 1.2]), st.sampled_from([0.0, 2.0, 8.0]))
def test_no_two_work_for_one_tenant_whatever_happens(
    events: list[tuple[str, int, float]], delay: float, slowness: float
) -> None:
    async def story(fleet: Fleet) -> None:
        fleet.start(delay=delay, slowness=slowness)
        for kind, which, seconds in events:
            alive = [each for each in fleet.processes.values() if not each.task.done()]
            if kind == "start" and len(alive) < 4:
                fleet.start(delay=delay, slowness=slowness)
            elif alive:
                process = alive[which % len(alive)]
                if kind == "kill":
                    await process.kill()
                elif kind == "stop":
                    await process.stop()
                elif kind == "cut":
                    process.link.open.clear()
                elif kind == "heal":
                    process.link.open.set()
            await fleet.settled(seconds)
        for process in fleet.processes.values():
            if not process.task.done():
                process.link.open.set()
        fleet.start(delay=delay, slowness=slowness)
        await fleet.settled(150.0)
        assert all(len(fleet.owners(tenant)) == 1 for tenant in TENANTS), fleet.shares()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(in_fleet(story))
