"""Whatever goes wrong, it converges, runs no more pods than allowed, and deletes nothing that isn't its own."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.scheme import Resource
from hypernetes.api.status import conflict
from hypernetes.controllers.deployments import Deployments
from hypernetes.controllers.jobs import Jobs
from hypernetes.controllers.nodelifecycle import NodeLifecycle
from hypernetes.controllers.replicasets import ReplicaSets
from hypernetes.controllers.statefulsets import StatefulSets
from tests.unit.controllers.fake_cluster import START, FakeCluster, Json, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_zones import TestStories as Nodes

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock"), pytest.mark.timeout(300)]
PODS = 5000  # of each of the two


def owner(kind: str, name: str, replicas: int | None, app: str, version: str = "apps/v1", **spec: Any) -> Json:
    template = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "main", "image": "a"}]}}
    given = {"selector": {"matchLabels": {"app": app}}, "template": template, **spec}
    if replicas is not None:
        given["replicas"] = replicas
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "prod"}, "spec": given}


def bare(number: int) -> Json:
    metadata = {"name": f"bare-{number}", "namespace": "prod", "labels": {"app": "web"}}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "a"}]}, "status": {"phase": "Running"},
    }  # fmt: skip


async def test_of_many_pods_that_two_replica_sets_match_each_is_the_one_s_or_the_other_s() -> None:
    case = Story(ReplicaSets)
    case.kubelet.stopped = True
    async with case.running() as cluster:
        for number in range(PODS):
            await cluster.put(bare(number))
        await cluster.put(owner("ReplicaSet", "one", PODS, "web"))
        await cluster.put(owner("ReplicaSet", "two", PODS, "web"))
        for _ in range(60):
            await settle(10)
            pods = [pod for pod in cluster.all("Pod") if "deletionTimestamp" not in pod["metadata"]]
            owners = [[each["name"] for each in pod["metadata"].get("ownerReferences", [])] for pod in pods]
            if sorted(itertools.chain(*owners)) == ["one"] * PODS + ["two"] * PODS:
                break
        assert all(len(each) == 1 for each in owners), "never two owners"
        assert sorted(itertools.chain(*owners)) == ["one"] * PODS + ["two"] * PODS
        kept = {pod["metadata"]["name"] for pod in pods}
        assert {f"bare-{number}" for number in range(PODS)} <= kept, "none was deleted to make another"


async def _all_comes_out_as_asked(cluster: FakeCluster) -> None:
    jobs = {"completions": 3, "parallelism": 2, "backoffLimit": 6, "podReplacementPolicy": "Failed"}
    await cluster.put(owner("Deployment", "web", 4, "web", progressDeadlineSeconds=600))
    await cluster.put(owner("StatefulSet", "db", 3, "db", serviceName="db", podManagementPolicy="OrderedReady"))
    await cluster.put(owner("Job", "work", None, "work", "batch/v1", **jobs))
    await settle(60)
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "b"}]}}
    spec = cluster.find("Deployment", "web")["spec"]
    await cluster.change("Deployment", "web", spec={**spec, "template": template})
    for _ in range(3):
        await settle(40)
        for pod in cluster.all("Pod"):
            if pod["metadata"]["labels"]["app"] == "work" and pod.get("status", {}).get("phase") == "Running":
                await cluster.change("Pod", pod["metadata"]["name"], status={"phase": "Succeeded"})
    await settle(400)
    by_app: dict[str, list[str]] = {}
    for pod in cluster.all("Pod"):
        by_app.setdefault(pod["metadata"]["labels"]["app"], []).append(pod["spec"]["containers"][0]["image"])
    assert (by_app["web"], by_app["db"]) == (["b"] * 4, ["a"] * 3)
    status = cluster.find("Job", "work")["status"]
    assert (status["succeeded"], status.get("failed", 0)) == (3, 0)
    assert any(each["type"] == "Complete" and each["status"] == "True" for each in status["conditions"])


async def test_with_a_conflict_at_every_third_write_all_comes_out_as_asked() -> None:
    numbers = itertools.count(1)

    class Contested(FakeCluster):
        async def _commit(self, kind: str, place: tuple[Resource, Any], obj: Json) -> Json:
            task = asyncio.current_task()
            of_a_controller = task is not None and "run" not in str(task.get_coro()) and task is not self.author
            if of_a_controller and place[0].kind != "Event" and next(numbers) % 3 == 0:
                raise conflict(place[0].group_resource, place[1].name, "somebody else was faster")
            return await super()._commit(kind, place, obj)

        author: Any = None

    case = Story(Deployments, ReplicaSets, StatefulSets, Jobs)
    case.cluster = case.kubelet.cluster = Contested()
    case.cluster.author = asyncio.current_task()
    async with case.running() as cluster:
        await _all_comes_out_as_asked(cluster)
        assert next(numbers) > 30, "there were conflicts"


async def test_with_a_watch_that_breaks_every_second_all_comes_out_as_asked() -> None:
    async with Story(Deployments, ReplicaSets, StatefulSets, Jobs).running() as cluster:

        async def breaking() -> None:
            while True:
                await asyncio.sleep(1)
                await cluster.break_watches()

        task = asyncio.ensure_future(breaking())
        try:
            await _all_comes_out_as_asked(cluster)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_clock_that_jumps_neither_loses_nodes_nor_ends_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    jump = timedelta(0)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(times, "now", lambda: START + timedelta(seconds=loop.time()) + jump)
    async with Story(NodeLifecycle, Deployments, ReplicaSets).running() as cluster:
        await Nodes.nodes(cluster, "east", "n1", "n2")
        await cluster.put(owner("Deployment", "web", 2, "web", progressDeadlineSeconds=600))
        await Nodes.beat(cluster, 30, "n1", "n2")
        for days in (1, -2, 400):
            jump += timedelta(days=days)
            await Nodes.beat(cluster, 30, "n1", "n2")
            assert Nodes.tainted(cluster, "NoSchedule") == set(), "silence is measured by no wall clock"
        await cluster.change("Deployment", "web", spec={**cluster.find("Deployment", "web")["spec"], "replicas": 3})
        await Nodes.beat(cluster, 30, "n1", "n2")
        status = cluster.find("Deployment", "web")["status"]
        assert status["availableReplicas"] == 3
        assert [each["status"] for each in status["conditions"] if each["type"] == "Progressing"] == ["True"]
