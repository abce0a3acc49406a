"""Two processes' controllers and the tenants between them: each works for its own, and takes over what is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.controllers.assignment import owner
from hypernetes.controllers.manager import Controllers, Settings
from hypernetes.controllers.observing import Observed
from tests.unit.controllers.fake_cluster import FakeCluster, Kubelet, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import FakeProvider

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]
TENANTS = [f"t{number}" for number in range(6)]
MINE = {name: {tenant for tenant in TENANTS if owner(("a", "b"), tenant) == name} for name in ("a", "b")}


class Recorded:
    """A process's client: which tenants it wrote for."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._cluster, name)
        if name not in ("create", "update", "update_status", "patch", "delete"):
            return call

        def recorded(*arguments: Any, **options: Any) -> Any:
            self.written.add(options["tenant"])
            return call(*arguments, **options)

        return recorded


class Process:
    def __init__(self, cluster: FakeCluster, name: str) -> None:
        self.client, self.observed = Recorded(cluster), Observed()
        settings = Settings(controllers="*,-network")
        self.work = Controllers(self.client, FakeProvider(), settings, self.observed, name)  # type: ignore[arg-type]
        self.task = asyncio.ensure_future(self.work.run())

    def held(self, model: type[Any]) -> set[str]:
        """Whose objects of a kind are in its memory."""
        return {key.tenant for key in self.work._informers.of(model).keys()}  # noqa: SIM118


@asynccontextmanager
async def cluster_and(*names: str, kubelet_stopped: bool = False) -> AsyncIterator[tuple[FakeCluster, list[Process]]]:
    cluster = FakeCluster()
    node = Kubelet(cluster)
    node.stopped = kubelet_stopped
    kubelet = asyncio.ensure_future(node.run())
    processes = [Process(cluster, name) for name in names]
    try:
        yield cluster, processes
    finally:
        for task in (kubelet, *(process.task for process in processes)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "web", "namespace": "prod"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


async def assigned(processes: list[Process], *members: str) -> None:
    gains = [await process.work.narrow(members) for process in processes]
    for process, gain in zip(processes, gains, strict=True):
        if gain:
            await process.work.widen(tenants=True, elected=False)


async def test_each_works_for_its_own_tenants_and_holds_no_others() -> None:
    async with cluster_and("a", "b") as (cluster, processes):
        await cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}, "system")
        for tenant in TENANTS:
            await cluster.put(deployment(2), tenant)
        await assigned(processes, "a", "b")
        await settle(15)
        assert all(len(cluster.names("Pod", tenant)) == 2 for tenant in TENANTS)
        for name, process in zip("ab", processes, strict=True):
            assert process.client.written == MINE[name] != set()
            assert process.held(Pod) == MINE[name]
            assert process.held(Node) == {"system"}, "nodes are everybody's"


async def test_what_came_while_nobody_was_there_is_taken_over() -> None:
    async with cluster_and("a", "b") as (cluster, processes):
        for tenant in TENANTS:
            await cluster.put(deployment(2), tenant)
        await assigned(processes, "a", "b")
        await settle(15)
        first, second = processes
        second.task.cancel()
        for tenant in TENANTS:
            await cluster.change("Deployment", "web", tenant, spec=deployment(3)["spec"])
        await settle(15)
        assert {tenant for tenant in TENANTS if len(cluster.names("Pod", tenant)) == 3} == MINE["a"]
        await assigned([first], "a")
        await settle(15)
        assert all(len(cluster.names("Pod", tenant)) == 3 for tenant in TENANTS)


async def test_nothing_is_done_between_the_assignment_and_the_taking_over() -> None:
    async with cluster_and("a") as (cluster, processes):
        await assigned(processes, "a", "b")
        assert await processes[0].work.narrow(("a",))
        for tenant in TENANTS:
            await cluster.put(deployment(2), tenant)
        await settle(15)
        assert processes[0].client.written == MINE["a"]
        await processes[0].work.widen(tenants=True, elected=False)
        await settle(15)
        assert processes[0].client.written == set(TENANTS)


async def test_what_is_given_away_ends_before_it_is_confirmed() -> None:
    async with cluster_and("a") as (cluster, processes):
        await assigned(processes, "a")
        for tenant in TENANTS:
            await cluster.put(deployment(1), tenant)
        await settle(15)
        cluster.slowness = 5.0  # of writing a status
        for tenant in TENANTS:
            await cluster.change("Deployment", "web", tenant, spec=deployment(2)["spec"])
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        assert not await processes[0].work.narrow(("a", "b"))
        assert asyncio.get_running_loop().time() - began > 1, "a status was being written"
        processes[0].client.written.clear()
        for tenant in TENANTS:
            await cluster.change("Deployment", "web", tenant, spec=deployment(3)["spec"])
        await settle(15)
        assert processes[0].client.written == MINE["a"]
        assert processes[0].held(Pod) == MINE["a"]


async def test_a_tenant_whose_objects_were_here_anyway_is_looked_at_when_it_is_given() -> None:
    """The elected process has the pods of all tenants; that it was told of them before is no work done."""
    async with cluster_and("a", "b", kubelet_stopped=True) as (cluster, processes):
        await assigned(processes, "a", "b")
        await processes[0].work.widen(tenants=False, elected=True)
        ends = [tenant for tenant in TENANTS if tenant in MINE["b"]]
        for tenant in ends:
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waiting", "namespace": "prod"}}
            metadata = {**pod["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
            processes[1].task.cancel()
            spec = {"containers": [{"name": "main", "image": "web:1"}]}
            await cluster.put({**pod, "metadata": metadata, "spec": spec, "status": {}}, tenant)
        await settle(15)
        processes[0].client.written.clear()
        assert processes[0].held(Pod) >= set(ends)
        await assigned(processes[:1], "a")
        await settle(15)
        assert processes[0].client.written >= set(ends)


async def test_work_on_the_cluster_as_a_whole_is_the_elected_ones() -> None:
    async with cluster_and("a", "b") as (cluster, processes):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}, "status": {}}
        await cluster.put(node, "system")
        for tenant in TENANTS:
            await cluster.put(deployment(1), tenant)
        await assigned(processes, "a", "b")
        await settle(60)
        taints = cluster.find("Node", "n1", "system")["spec"].get("taints", [])
        assert taints == [], "nobody is elected yet"
        await processes[0].work.widen(tenants=False, elected=True)
        await settle(60)
        taints = cluster.find("Node", "n1", "system")["spec"].get("taints", [])
        assert [taint["key"] for taint in taints], "a node that nobody hears of"
        assert processes[0].held(Pod) == set(TENANTS), "its pods are evicted, whosever they are"
        assert processes[1].held(Pod) == MINE["b"]
