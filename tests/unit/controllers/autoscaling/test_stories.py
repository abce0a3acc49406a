"""HorizontalPodAutoscalers in a small cluster: the load changes, and replicas follow."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.models.autoscaling_v2 import CrossVersionObjectReference, MetricIdentifier
from hypernetes.api.scheme import Resource
from hypernetes.api.status import conflict
from hypernetes.controllers.autoscaling import HorizontalPodAutoscalers
from hypernetes.controllers.autoscaling.metricssource import MetricsUnavailable, Scope
from hypernetes.controllers.autoscaling.replicacounts import Sample
from tests.unit.controllers.fake_cluster import START, FakeCluster, Story, ready, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import delete, pod, thing

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]
Json = dict[str, Any]


class Load:
    """A MetricsSource; None: there is none."""

    def __init__(self) -> None:
        self.cluster: FakeCluster | None = None
        self.total: int | None = 0  # millicores of all pods together
        self.queue: int | None = None  # an external metric
        self.asked: list[str | None] = []  # containers

    async def resource(self, scope: Scope, name: str, container: str | None) -> Mapping[str, Sample]:
        assert self.cluster is not None
        self.asked.append(container)
        assert (scope.tenant, scope.namespace, scope.selector) == ("acme", "prod", "app=web")
        if self.total is None:
            raise MetricsUnavailable("no metrics returned from resource metrics API")
        names = self.cluster.names("Pod")
        return {each: Sample(self.total // len(names), times.now(), 15) for each in names}

    async def pods(self, scope: Scope, metric: MetricIdentifier) -> Mapping[str, Sample]:
        raise MetricsUnavailable("unable to fetch metrics from custom metrics API: not found")

    async def object(self, scope: Scope, described: CrossVersionObjectReference, metric: MetricIdentifier) -> int:
        raise MetricsUnavailable("unable to fetch metrics from custom metrics API: not found")

    async def external(self, scope: Scope, metric: MetricIdentifier) -> int:
        if self.queue is None:
            raise MetricsUnavailable("unable to fetch metrics from external metrics API: not found")
        return self.queue


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
EXTERNAL = {
    "type": "External",
    "external": {"metric": {"name": "jobs"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}


def autoscaler(name: str = "web", **spec: Any) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [CPU], **spec}
    return thing("HorizontalPodAutoscaler", name, "autoscaling/v2", spec=spec)


async def resize(cluster: FakeCluster, *beside: Json) -> None:
    """As the Deployment's controllers would: as many pods as it wants, all long ready."""
    wanted = cluster.find("Deployment", "web")["spec"]["replicas"]
    for name in cluster.names("Pod")[wanted:]:
        await delete(cluster, "Pod", name, grace_seconds=0)
    for number in range(len(cluster.names("Pod")), wanted):
        long_ready = {**ready(), "lastTransitionTime": "2029-01-01T00:00:00Z"}
        status = {"phase": "Running", "startTime": "2029-01-01T00:00:00Z", "conditions": [long_ready]}
        container = {"name": "web", "image": "i", "resources": {"requests": {"cpu": "200m"}}}
        await cluster.put(pod(f"web-{number:02}", spec={"containers": [container, *beside]}, status=status))


async def set_up(cluster: FakeCluster, load: Load, replicas: int) -> None:
    load.cluster = cluster
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {}}
    await cluster.put(thing("Deployment", "web", "apps/v1", spec=spec))
    await resize(cluster)


def story(load: Load) -> Story:
    made = Story(partial(HorizontalPodAutoscalers, source=load))
    made.kubelet.stopped = True
    return made


def replicas(cluster: FakeCluster) -> int:
    return int(cluster.find("Deployment", "web")["spec"]["replicas"])


def conditions(cluster: FakeCluster, name: str = "web") -> dict[str, tuple[str, str]]:
    told = cluster.find("HorizontalPodAutoscaler", name)["status"]["conditions"]
    return {each["type"]: (each["status"], each["reason"]) for each in told}


def events(cluster: FakeCluster) -> list[str]:
    return [f"{each['reason']}: {each['message']}" for each in cluster.all("Event")]


async def step(cluster: FakeCluster, seconds: float = 16) -> int:
    await settle(seconds)
    await resize(cluster)
    return replicas(cluster)


async def test_replicas_rise_with_the_load_and_fall_when_the_window_has_passed() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 1)
        load.total = 800  # of 200m requested: 8 pods for 50 %
        await cluster.put(autoscaler())
        await settle(1)
        await resize(cluster)
        assert replicas(cluster) == 4
        assert [await step(cluster) for _ in range(2)] == [8, 8]
        status = cluster.find("HorizontalPodAutoscaler", "web")["status"]
        assert (status["currentReplicas"], status["desiredReplicas"]) == (8, 8)
        assert status["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 50, "averageValue": "100m"}
        assert conditions(cluster) == {
            "AbleToScale": ("True", "ReadyForNewScale"),
            "ScalingActive": ("True", "ValidMetricFound"),
            "ScalingLimited": ("False", "DesiredWithinRange"),
        }
        load.total = 200
        assert await step(cluster, 240) == 8
        assert conditions(cluster)["AbleToScale"] == ("True", "ScaleDownStabilized")
        assert await step(cluster, 90) == 2
        assert (
            "SuccessfulRescale: New size: 8; reason: cpu resource utilization (percentage of request) above target"
            in (events(cluster))
        )
        assert "SuccessfulRescale: New size: 2; reason: All metrics below target" in events(cluster)


async def test_of_one_container_its_own_load_and_request_count() -> None:
    load = Load()
    sidecar = {"name": "proxy", "image": "i", "resources": {"requests": {"cpu": "2"}}}
    async with story(load).running() as cluster:
        load.cluster = cluster
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {}}
        await cluster.put(thing("Deployment", "web", "apps/v1", spec=spec))
        await resize(cluster, sidecar)
        load.total = 400  # of 200m requested by `web`, in each of two: 4 pods for 50 %; with the proxy's 2: 1
        await cluster.put(autoscaler(metrics=[_of_container("web")]))
        await settle(1)
        assert (set(load.asked), replicas(cluster)) == ({"web"}, 4)
        (told,) = cluster.find("HorizontalPodAutoscaler", "web")["status"]["currentMetrics"]
        assert told["containerResource"] == {
            "name": "cpu", "container": "web", "current": {"averageUtilization": 100, "averageValue": "200m"},
        }  # fmt: skip
        await cluster.change("HorizontalPodAutoscaler", "web", spec=autoscaler(metrics=[_of_container("none")])["spec"])
        await settle(16)
        assert conditions(cluster)["ScalingActive"] == ("False", "FailedGetContainerResourceMetric")


def _of_container(name: str) -> Json:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": name, "target": target}}


async def test_the_time_of_the_last_change_is_told() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 1)
        load.total = 400
        await cluster.put(autoscaler())
        await step(cluster)
        first = cluster.find("HorizontalPodAutoscaler", "web")["status"]["lastScaleTime"]
        await step(cluster, 60)
        assert times.parse_time(first) >= START
        assert cluster.find("HorizontalPodAutoscaler", "web")["status"]["lastScaleTime"] == first


async def test_a_settled_autoscaler_writes_nothing() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 2)
        load.total = 200
        await cluster.put(autoscaler())
        await settle(60)
        before = len(cluster.history)
        await settle(600)
        assert len(cluster.history) == before


@pytest.mark.parametrize(
    ("have", "spec", "wanted", "reason"),
    [
        (12, {}, 10, "Current number of replicas above Spec.MaxReplicas"),
        (1, {"minReplicas": 3}, 3, "Current number of replicas below Spec.MinReplicas"),
    ],
)
async def test_bounds_hold_whatever_the_metrics_say(have: int, spec: Json, wanted: int, reason: str) -> None:
    load = Load()
    load.total = None
    async with story(load).running() as cluster:
        await set_up(cluster, load, have)
        await cluster.put(autoscaler(**spec))
        assert await step(cluster, 5) == wanted
        assert f"SuccessfulRescale: New size: {wanted}; reason: {reason}" in events(cluster)


async def test_a_target_of_no_replicas_is_switched_off() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 0)
        await cluster.put(autoscaler())
        assert await step(cluster) == 0
        assert conditions(cluster)["ScalingActive"] == ("False", "ScalingDisabled")


async def test_without_metrics_the_target_stays_as_it_is() -> None:
    load = Load()
    load.total = None
    async with story(load).running() as cluster:
        await set_up(cluster, load, 4)
        await cluster.put(autoscaler())
        assert await step(cluster, 600) == 4
        assert conditions(cluster)["ScalingActive"] == ("False", "FailedGetResourceMetric")
        assert any(each.startswith("FailedComputeMetricsReplicas: invalid metrics (1 inv") for each in events(cluster))


async def test_a_metric_that_fails_allows_more_and_never_less() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 4)
        rules = {"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": []}}
        await cluster.put(autoscaler(metrics=[CPU, EXTERNAL], behavior=rules))
        load.total = 100
        assert await step(cluster) == 4
        assert conditions(cluster)["ScalingActive"] == ("False", "FailedGetExternalMetric")
        load.total = 600
        assert await step(cluster) == 6
        assert conditions(cluster)["ScalingActive"] == ("True", "ValidMetricFound")


async def test_of_several_metrics_the_one_that_asks_for_most_counts() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 4)
        load.total, load.queue = 400, 65_000
        await cluster.put(autoscaler(metrics=[CPU, EXTERNAL]))
        assert await step(cluster, 5) == 7
        assert "SuccessfulRescale: New size: 7; reason: external metric jobs above target" in events(cluster)
        told = cluster.find("HorizontalPodAutoscaler", "web")["status"]["currentMetrics"]
        assert told[1]["external"]["current"] == {"averageValue": "16250m"}


async def test_custom_metrics_that_nobody_serves_are_told() -> None:
    load = Load()
    metric = {
        "type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    }  # fmt: skip
    async with story(load).running() as cluster:
        await set_up(cluster, load, 2)
        await cluster.put(autoscaler(metrics=[metric]))
        await settle(5)
        assert conditions(cluster)["ScalingActive"] == ("False", "FailedGetPodsMetric")


async def test_a_target_that_is_missing_or_has_no_scale_is_told() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await cluster.put(autoscaler())
        await cluster.put(autoscaler("job", scaleTargetRef={"apiVersion": "batch/v1", "kind": "Job", "name": "j"}))
        await cluster.put(autoscaler("odd", scaleTargetRef={"apiVersion": "x.io/v1", "kind": "Odd", "name": "j"}))
        await settle(5)
        for name in ("web", "job", "odd"):
            assert conditions(cluster, name) == {"AbleToScale": ("False", "FailedGetScale")}


async def test_two_autoscalers_do_not_pull_at_one_pod() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 2)
        load.total = 800
        await cluster.put(autoscaler("one", maxReplicas=2))
        await cluster.put(autoscaler("two"))
        await settle(20)
        assert conditions(cluster, "two")["ScalingActive"] == ("False", "AmbiguousSelector")
        assert replicas(cluster) == 2
        await delete(cluster, "HorizontalPodAutoscaler", "one")
        await settle(20)
        assert replicas(cluster) == 4


async def test_a_scale_that_cannot_be_written_is_told_and_tried_again() -> None:
    load = Load()
    async with story(load).running() as cluster:
        await set_up(cluster, load, 1)
        load.total = 400

        def refuse(verb: str, resource: Resource, obj: Json) -> None:
            if (verb, resource.kind) == ("update", "Deployment"):
                raise conflict("deployments.apps", "web", "modified")

        cluster.refuse = refuse
        await cluster.put(autoscaler())
        assert await step(cluster, 40) == 1
        assert conditions(cluster)["AbleToScale"] == ("False", "FailedUpdateScale")
        cluster.refuse = lambda verb, resource, obj: None
        assert await step(cluster) == 4
        assert conditions(cluster)["AbleToScale"] == ("True", "SucceededRescale")
