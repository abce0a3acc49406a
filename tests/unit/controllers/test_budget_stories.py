"""Disruption budgets and quotas, each in a small cluster: what happens, and what comes of it."""

import asyncio
import itertools
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.controllers.deployments import Deployments
from hypernetes.controllers.disruption import Disruption
from hypernetes.controllers.replicasets import ReplicaSets
from hypernetes.controllers.resourcequotas import ResourceQuotas
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import delete, pod, thing

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]
Json = dict[str, Any]


def budget(**spec: Any) -> Json:
    selector = {"matchLabels": {"app": "web"}}
    return thing("PodDisruptionBudget", "web", "policy/v1", spec={"selector": selector, **spec})


def deployment(replicas: int) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return thing("Deployment", "web", "apps/v1", spec=spec)


def told(cluster: FakeCluster) -> tuple[int, int, int, int]:
    """(allowed, healthy, wanted, expected)."""
    status = cluster.find("PodDisruptionBudget", "web")["status"]
    return tuple(status[name] for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"))


class TestDisruption:
    async def test_a_budget_follows_its_pods(self) -> None:
        async with Story(Disruption).running() as cluster:
            await cluster.put(budget(minAvailable=2))
            await settle()
            assert told(cluster) == (0, 0, 2, 0)
            for name in "abc":
                await cluster.put(pod(name))
            await cluster.put(pod("other", metadata={"labels": {"app": "db"}}))
            await settle()
            assert told(cluster) == (1, 3, 2, 3)
            await delete(cluster, "Pod", "a")
            await settle()
            assert told(cluster) == (0, 2, 2, 2)

    async def test_shares_are_of_what_the_deployment_wants(self) -> None:
        async with Story(Deployments, ReplicaSets, Disruption).running() as cluster:
            await cluster.put(deployment(4))
            await cluster.put(budget(maxUnavailable="25%"))
            await settle()
            assert told(cluster) == (1, 4, 3, 4)
            await cluster.change("Deployment", "web", spec=deployment(8)["spec"])
            await settle()
            assert told(cluster) == (2, 8, 6, 8)

    async def test_pods_of_something_without_a_scale_may_not_go(self) -> None:
        async with Story(Disruption).running() as cluster:
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}
            await cluster.put(pod("a", metadata={"labels": {"app": "web"}, "ownerReferences": [owner]}))
            await cluster.put(budget(maxUnavailable=1))
            await settle()
            status = cluster.find("PodDisruptionBudget", "web")["status"]
            assert status["disruptionsAllowed"] == 0
            assert [condition["reason"] for condition in status["conditions"]] == ["SyncFailed"]
            events = [event["reason"] for event in cluster.all("Event")]
            assert "CalculateExpectedPodCountFailed" in events

    async def test_an_eviction_that_comes_to_nothing_is_given_back(self) -> None:
        async with Story(Disruption).running() as cluster:
            await cluster.put(budget(minAvailable=1))
            for name in "ab":
                await cluster.put(pod(name))
            await settle()
            assert told(cluster)[0] == 1
            status = cluster.find("PodDisruptionBudget", "web")["status"]
            going = {"a": times.format_time(times.now())}
            await cluster.change(
                "PodDisruptionBudget", "web", status={**status, "disruptionsAllowed": 0, "disruptedPods": going}
            )
            await settle()
            assert told(cluster) == (0, 1, 1, 2)
            await settle(120)
            assert told(cluster) == (1, 2, 1, 2)
            assert not cluster.find("PodDisruptionBudget", "web")["status"].get("disruptedPods")


class TestQuotas:
    @staticmethod
    def counting(story: Story) -> list[float]:
        """The moments at which the server is asked to count, which the fake then does."""
        moments, patch = [], story.cluster.patch

        async def counted(model: Any, name: str, body: Json, **options: Any) -> Any:
            assert options["subresource"] == "status"
            assert body["status"]["used"] is None
            moments.append(asyncio.get_running_loop().time())
            hard = {key: value for key, value in body["status"]["hard"].items() if value is not None}
            status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
            return await patch(model, name, {**body, "status": status}, **options)

        story.cluster.patch = counted  # type: ignore[method-assign]
        return moments

    async def test_what_is_bounded_comes_into_force_and_is_counted_now_and_then(self) -> None:
        story = Story(ResourceQuotas)
        moments = self.counting(story)
        async with story.running() as cluster:
            hard = {"pods": "3", "secrets": "2"}
            await cluster.put(thing("ResourceQuota", "q", spec={"hard": hard}))
            await settle(1)
            assert cluster.find("ResourceQuota", "q")["status"]["hard"] == hard
            await settle(640)
            gaps = [round(later - earlier) for earlier, later in itertools.pairwise(moments)]
            assert gaps == [15, 300, 300]

    async def test_usage_alone_is_no_reason_to_count(self) -> None:
        story = Story(ResourceQuotas)
        moments = self.counting(story)
        async with story.running() as cluster:
            await cluster.put(thing("ResourceQuota", "q", spec={"hard": {"pods": "3"}}))
            await settle(20)
            before = len(moments)
            await cluster.change("ResourceQuota", "q", status={"hard": {"pods": "3"}, "used": {"pods": "1"}})
            await settle(20)
            assert len(moments) == before

    async def test_what_is_not_bounded_any_more_is_dropped(self) -> None:
        story = Story(ResourceQuotas)
        self.counting(story)
        async with story.running() as cluster:
            await cluster.put(thing("ResourceQuota", "q", spec={"hard": {"pods": "3", "secrets": "2"}}))
            await settle(1)
            await cluster.change("ResourceQuota", "q", spec={"hard": {"pods": "5"}})
            await settle(1)
            assert cluster.find("ResourceQuota", "q")["status"] == {"hard": {"pods": "5"}, "used": {"pods": "0"}}
