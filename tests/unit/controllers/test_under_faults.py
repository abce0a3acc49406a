"""Deployments, StatefulSets and Jobs while anything goes wrong: what must never be, and what comes of it in the end."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypernetes.api import times
from hypernetes.api.scheme import Resource
from hypernetes.client import Key
from hypernetes.controllers.deployments import Deployments
from hypernetes.controllers.jobs import Jobs
from hypernetes.controllers.replicasets import ReplicaSets
from hypernetes.controllers.statefulsets import StatefulSets
from tests.unit.controllers.fake_cluster import Json
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.faults import FaultyCluster, Plan, Trial, plans

pytestmark = pytest.mark.usefixtures("virtual_clock")
Place = tuple[Resource, Key]
Step = tuple[float, Callable[[FaultyCluster], Awaitable[None]]]

_KNOWN_AFTER_SECONDS = 10.0
EXAMPLES = 12  # of each kind; some hundreds were tried when this was written


def is_active(pod: Json) -> bool:
    phase = pod.get("status", {}).get("phase")
    return not pod["metadata"].get("deletionTimestamp") and phase not in ("Succeeded", "Failed")


def is_available(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return is_active(pod) and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_known_available(pod: Json) -> bool:
    """For so long that every cache and status may be expected to say so: what has just become ready may be taken for
    what isn't, and go first."""
    since = [each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready"]
    return is_available(pod) and times.now() - times.parse_time(since[0]) > timedelta(seconds=_KNOWN_AFTER_SECONDS)


def template(app: str, image: str, **spec: Any) -> Json:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "main", "image": image}], **spec}}


def was_taken_away(cluster: FaultyCluster, place: Place, before: Json | None) -> bool:
    """A controller has just deleted a pod that was alive."""
    if place[0].kind != "Pod" or before is None or not cluster.controller_writes or not is_active(before):
        return False
    now = cluster.stored.get(place)
    return now is None or bool(now["metadata"].get("deletionTimestamp"))


def stranger(kind: str, api_version: str, app: str) -> Json:
    """A pod that fits every selector and is somebody else's."""
    owner = {"apiVersion": api_version, "kind": kind, "name": "other", "uid": "of-another", "controller": True}
    metadata = {"name": "stranger", "namespace": "prod", "labels": {"app": app}, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template(app, "x")["spec"]}


def own(cluster: FaultyCluster) -> list[Json]:
    return [pod for pod in cluster.pods() if pod["metadata"]["name"] != "stranger"]


class TestDeployments:
    REPLICAS, SURGE, UNAVAILABLE = 4, 1, 1

    @classmethod
    def deployment(cls, image: str, replicas: int) -> Json:
        rolling = {"maxSurge": cls.SURGE, "maxUnavailable": cls.UNAVAILABLE}
        spec = {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}, "progressDeadlineSeconds": 600,
        }  # fmt: skip
        metadata = {"name": "web", "namespace": "prod"}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}

    def check(self, cluster: FaultyCluster, kind: str, place: Place, before: Json | None) -> None:
        if place[0].kind == "ReplicaSet":
            asked = sum(each["spec"]["replicas"] for each in cluster.all("ReplicaSet"))
            assert asked <= self.REPLICAS + self.SURGE, f"{asked} pods asked for"
        if kind == "ADDED":
            active = sum(map(is_active, own(cluster)))
            assert active <= self.REPLICAS + self.SURGE, f"{active} pods at once"
        if place[0].kind != "Pod":
            return
        assert "stranger" in cluster.names("Pod") or len(cluster.history) < 3, "what isn't ours was deleted"
        if was_taken_away(cluster, place, before) and before is not None and is_known_available(before):
            available = sum(map(is_available, own(cluster)))
            assert available >= self.REPLICAS - self.UNAVAILABLE, f"only {available} available"

    @settings(max_examples=EXAMPLES)
    @given(plans, st.lists(st.tuples(st.sampled_from([0.4, 3.0, 40.0]), st.sampled_from(["a", "b", "c"])), max_size=4))
    def test_a_rollout_keeps_within_its_limits_and_ends(self, plan: Plan, images: list[tuple[float, str]]) -> None:
        async def begin(cluster: FaultyCluster) -> None:
            await cluster.put(stranger("ReplicaSet", "apps/v1", "web"))
            await cluster.put(self.deployment("a", self.REPLICAS))

        def to(image: str) -> Callable[[FaultyCluster], Awaitable[None]]:
            spec = self.deployment(image, self.REPLICAS)["spec"]
            return lambda cluster: cluster.change("Deployment", "web", spec=spec)

        last = images[-1][1] if images else "a"

        def at_end(cluster: FaultyCluster) -> None:
            pods = own(cluster)
            assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [last] * self.REPLICAS
            assert all(map(is_available, pods))
            status = cluster.find("Deployment", "web")["status"]
            assert (status["updatedReplicas"], status["availableReplicas"]) == (self.REPLICAS, self.REPLICAS)

        steps: list[Step] = [(0, begin), *((seconds, to(image)) for seconds, image in images)]
        Trial((Deployments, ReplicaSets), plan, self.check, steps).run(at_end)


class TestStatefulSets:
    REPLICAS = 3

    @classmethod
    def stateful_set(cls, image: str, replicas: int) -> Json:
        spec = {
            "replicas": replicas, "selector": {"matchLabels": {"app": "db"}}, "template": template("db", image),
            "serviceName": "db", "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        }  # fmt: skip
        metadata = {"name": "db", "namespace": "prod"}
        return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}

    def check(self, cluster: FaultyCluster, kind: str, place: Place, before: Json | None) -> None:
        if place[0].kind != "Pod" or not cluster.controller_writes:
            return
        number = int(place[1].name.rpartition("-")[2]) if place[1].name != "stranger" else -1
        assert number >= 0, "what isn't ours was touched"
        by_name = {pod["metadata"]["name"]: pod for pod in own(cluster)}
        if kind == "ADDED":
            earlier = [f"db-{each}" for each in range(number)]
            assert all(each in by_name and is_available(by_name[each]) for each in earlier), f"db-{number} too early"
        if was_taken_away(cluster, place, before) and before is not None and is_available(before):
            # Of those that are to stay: as upstream, one that is to go anyway is waited for by none above it.
            (owner,) = cluster.all("StatefulSet")
            staying = {f"db-{each}" for each in range(owner["spec"]["replicas"])} - {place[1].name}
            others = [by_name[name] for name in staying & by_name.keys()]
            gone = [name for name, pod in by_name.items() if pod["metadata"].get("deletionTimestamp")]
            assert set(gone) <= {place[1].name}, f"{gone} at once"
            assert all(map(is_available, others)), "one goes while another isn't there"

    @settings(max_examples=EXAMPLES)
    @given(
        plans,
        st.lists(
            st.tuples(st.sampled_from([0.4, 3.0, 60.0]), st.sampled_from(["a", "b"]), st.integers(0, 4)), max_size=4
        ),
    )
    @example(Plan(), [(0.4, "b", 2), (3.0, "a", 0)])
    def test_pods_come_and_go_one_by_one(self, plan: Plan, changes: list[tuple[float, str, int]]) -> None:
        async def begin(cluster: FaultyCluster) -> None:
            await cluster.put(stranger("StatefulSet", "apps/v1", "db"))
            await cluster.put(self.stateful_set("a", self.REPLICAS))

        def to(image: str, replicas: int) -> Callable[[FaultyCluster], Awaitable[None]]:
            spec = self.stateful_set(image, replicas)["spec"]
            return lambda cluster: cluster.change("StatefulSet", "db", spec=spec)

        _, image, replicas = changes[-1] if changes else (0, "a", self.REPLICAS)

        def at_end(cluster: FaultyCluster) -> None:
            pods = own(cluster)
            assert sorted(pod["metadata"]["name"] for pod in pods) == [f"db-{n}" for n in range(replicas)]
            assert {pod["spec"]["containers"][0]["image"] for pod in pods} <= {image}
            assert all(map(is_available, pods))

        steps: list[Step] = [(0, begin), *((seconds, to(*wanted)) for seconds, *wanted in changes)]
        Trial((StatefulSets,), plan, self.check, steps).run(at_end)


class TestJobs:
    PARALLELISM = 2

    @settings(max_examples=EXAMPLES)
    @given(
        plans,
        st.integers(1, 4),
        st.lists(st.tuples(st.sampled_from([0.2, 2.5]), st.sampled_from(["succeed", "fail", "vanish"])), max_size=12),
    )
    def test_each_end_of_a_pod_is_counted_once(
        self, plan: Plan, completions: int, ends: list[tuple[float, str]]
    ) -> None:
        counted = {"Succeeded": 0, "Failed": 0}

        async def begin(cluster: FaultyCluster) -> None:
            spec = {
                "completions": completions, "parallelism": self.PARALLELISM, "backoffLimit": 100,
                "selector": {"matchLabels": {"app": "work"}}, "podReplacementPolicy": "TerminatingOrFailed",
                "template": template("work", "w", restartPolicy="Never"),
            }  # fmt: skip
            await cluster.put(stranger("Job", "batch/v1", "work"))
            metadata = {"name": "work", "namespace": "prod"}
            await cluster.put({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})

        async def end(cluster: FaultyCluster, how: str) -> None:
            running = sorted(
                (pod for pod in own(cluster) if is_available(pod)), key=lambda pod: pod["metadata"]["name"]
            )
            if not running:
                return
            name = running[0]["metadata"]["name"]
            if how == "vanish":
                (place,) = (place for place in cluster.stored if place[1].name == name and place[0].kind == "Pod")
                await cluster._delete(place, {"grace_seconds": 0})
                counted["Failed"] += 1
                return
            phase = "Succeeded" if how == "succeed" else "Failed"
            counted[phase] += 1
            await cluster.change("Pod", name, status={"phase": phase, "conditions": []})

        def check(cluster: FaultyCluster, kind: str, place: Place, before: Json | None) -> None:
            if place[0].kind == "Pod":
                active = sum(map(is_active, own(cluster)))
                assert active <= self.PARALLELISM, f"{active} pods at once"
                assert place[1].name != "stranger" or not cluster.controller_writes, "what isn't ours was touched"

        def at_end(cluster: FaultyCluster) -> None:
            status = cluster.find("Job", "work")["status"]
            told = status.get("succeeded", 0), status.get("failed", 0)
            assert told == (counted["Succeeded"], counted["Failed"])
            finished = [each["type"] for each in status.get("conditions", []) if each["status"] == "True"]
            assert ("Complete" in finished) is (counted["Succeeded"] >= completions)
            left = 0 if "Complete" in finished else min(self.PARALLELISM, completions - counted["Succeeded"])
            assert sum(map(is_active, own(cluster))) == left

        steps: list[Step] = [
            (0, begin), *((seconds, lambda cluster, how=how: end(cluster, how)) for seconds, how in ends)
        ]  # fmt: skip
        Trial((Jobs,), plan, check, steps, rest=900.0).run(at_end)
