"""Jobs: the decision as tables, and whole Jobs in a small cluster whose containers the test ends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api import times
from hypernetes.api.models.batch_v1 import Job
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.status import conflict
from hypernetes.controllers.jobs import Jobs, indexes, plan
from hypernetes.controllers.jobs.tally import TRACKING
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


def job(status: Json | None = None, **spec: Any) -> Job:
    return Job.from_dict(job_json(status, **spec))


def job_json(status: Json | None = None, **spec: Any) -> Json:
    labels = {"job-name": "work"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]},
    }
    metadata = {"name": "work", "namespace": "prod", "uid": "job-uid", "generation": 1}
    spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec,
        **({"status": status} if status is not None else {}),
    }  # fmt: skip


def container_status(state: Json, restarts: int = 0) -> Json:
    return {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": restarts, "state": state}


def pod(name: str, phase: str = "Running", *, code: int = 1, index: int | None = None, **extra: Any) -> Pod:
    annotations = {} if index is None else {indexes.INDEX: str(index)}
    annotations |= extra.pop("annotations", {})
    state: Json = {"running": {}}
    if phase in ("Failed", "Succeeded"):
        ended = times.format_time(NOW - timedelta(seconds=extra.pop("ago", 1000)))
        state = {"terminated": {"exitCode": code if phase == "Failed" else 0, "finishedAt": ended}}
    metadata = {
        "name": name, "namespace": "prod", "uid": name, "labels": {"job-name": "work"}, "annotations": annotations,
        "creationTimestamp": times.format_time(NOW - timedelta(seconds=2000)), "finalizers": [TRACKING],
        **extra.pop("metadata", {}),
    }  # fmt: skip
    status = {"phase": phase, "containerStatuses": [container_status(state)], **extra}
    return Pod.from_dict({"metadata": metadata, "spec": {"containers": [{"name": "main"}]}, "status": status})


def conditions(found: plan.Plan) -> dict[str, str]:
    return {entry.type: entry.reason or "" for entry in found.status.conditions if entry.status == "True"}


class TestIndexes:
    @pytest.mark.parametrize(
        ("text", "found"),
        [("", set()), ("0", {0}), ("1,3-5,7", {1, 3, 4, 5, 7}), ("8-20", {8, 9}), ("x,2,-,3-", {2})],
    )
    def test_are_read_leniently(self, text: str, found: set[int]) -> None:
        assert indexes.parse(text, 10) == found

    @pytest.mark.parametrize(("found", "text"), [({1, 3, 4, 5, 7}, "1,3-5,7"), ({1, 2}, "1,2"), (set(), "")])
    def test_are_written_as_upstream_does(self, found: set[int], text: str) -> None:
        assert indexes.text(found) == text

    @given(st.sets(st.integers(0, 300)))
    def test_come_back(self, found: set[int]) -> None:
        assert indexes.parse(indexes.text(found), 301) == found


FAIL_ON_42 = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}


class TestDecision:
    @pytest.mark.parametrize(
        ("spec", "pods", "created"),
        [
            ({}, [], 1),
            ({"completions": 1}, [], 1),
            ({"completions": 5, "parallelism": 3}, [], 3),
            ({"completions": 5, "parallelism": 3}, [pod("a"), pod("b")], 1),
            ({"completions": 5, "parallelism": 3}, [pod("a", "Succeeded"), pod("b", "Succeeded"), pod("c")], 2),
            ({"completions": 3, "parallelism": 3}, [pod("a", "Succeeded"), pod("b")], 1),
            ({"parallelism": 2}, [pod("a", "Succeeded"), pod("b")], 0),
            ({"completions": 3, "parallelism": 0}, [], 0),
            ({"completions": 2, "parallelism": 2, "suspend": True}, [], 0),
        ],
    )
    def test_as_many_run_as_are_missing_and_no_more_than_allowed(
        self, spec: Json, pods: list[Pod], created: int
    ) -> None:
        assert len(plan.decide(job(**spec), pods, (), NOW).create) == created

    def test_too_many_are_deleted_the_least_useful_first(self) -> None:
        found = plan.decide(job(completions=5, parallelism=1), [pod("a"), pod("b", "Pending")], (), NOW)
        assert [each.metadata.name for each in found.delete] == ["b"]

    @pytest.mark.parametrize(
        ("status", "succeeded", "failed", "listed"),
        [
            ({}, 0, 0, ["done"]),  # first it is listed
            ({"uncountedTerminatedPods": {"succeeded": ["done"]}}, 0, 0, ["done"]),  # its finalizer is still there
            ({"uncountedTerminatedPods": {"succeeded": ["gone"]}}, 1, 0, ["done"]),  # one that is gone became a number
            ({"succeeded": 4, "uncountedTerminatedPods": {"failed": ["gone", "lost"]}}, 4, 2, ["done"]),
        ],
    )
    def test_a_finished_pod_is_listed_then_freed_then_counted(
        self, status: Json, succeeded: int, failed: int, listed: list[str]
    ) -> None:
        found = plan.decide(job(status, completions=9, backoffLimit=99), [pod("done", "Succeeded")], (), NOW)
        uncounted = found.status.uncounted_terminated_pods
        assert uncounted is not None
        assert (found.status.succeeded, found.status.failed, uncounted.succeeded) == (succeeded, failed, listed)
        assert [each.metadata.name for each in found.strip] == ["done"]

    def test_a_finalizer_that_we_took_off_counts_although_the_cache_lags(self) -> None:
        before = {"uncountedTerminatedPods": {"succeeded": ["done"]}}
        found = plan.decide(job(before, completions=9), [pod("done", "Succeeded")], {"done"}, NOW)
        assert (found.status.succeeded, found.strip) == (1, [])

    def test_success_waits_until_all_is_counted(self) -> None:
        first = plan.decide(job(completions=1), [pod("done", "Succeeded")], (), NOW)
        assert conditions(first) == {"SuccessCriteriaMet": "CompletionsReached"}
        status = first.status.to_dict()
        last = plan.decide(job(status, completions=1), [], (), NOW)
        assert conditions(last)["Complete"] == "CompletionsReached"
        assert last.status.completion_time == times.format_time(NOW)
        assert [event.reason for event in last.events] == ["Completed"]

    @pytest.mark.parametrize(
        ("spec", "pods", "reason"),
        [
            ({"backoffLimit": 1}, [pod("a", "Failed"), pod("b", "Failed"), pod("c")], "BackoffLimitExceeded"),
            ({"backoffLimit": 0}, [pod("a", "Failed")], "BackoffLimitExceeded"),
            ({"activeDeadlineSeconds": 10}, [pod("a")], "DeadlineExceeded"),
            (
                {"podFailurePolicy": {"rules": [FAIL_ON_42]}},
                [pod("a", "Failed", code=42)],
                "PodFailurePolicy",
            ),
        ],
    )  # fmt: skip
    def test_a_failing_job_ends_its_pods_and_says_why(self, spec: Json, pods: list[Pod], reason: str) -> None:
        status = {"startTime": times.format_time(NOW - timedelta(seconds=60))}
        found = plan.decide(job(status, **spec), pods, (), NOW)
        assert conditions(found) == {"FailureTarget": reason}
        assert {each.metadata.name for each in found.delete} == {
            p.metadata.name for p in pods if p.status.phase == "Running"
        }
        assert not found.create
        after = plan.decide(job({**found.status.to_dict(), "uncountedTerminatedPods": {}}, **spec), [], (), NOW)
        assert conditions(after)["Failed"] == reason

    def test_containers_that_restart_in_place_count_by_their_restarts(self) -> None:
        template = {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main"}]}}
        restarted = pod("a", containerStatuses=[container_status({"running": {}}, restarts=3)])
        found = plan.decide(job(backoffLimit=3, template=template), [restarted], (), NOW)
        assert conditions(found) == {"FailureTarget": "BackoffLimitExceeded"}
        assert not conditions(plan.decide(job(backoffLimit=4, template=template), [restarted], (), NOW))

    @pytest.mark.parametrize(("failed", "ago", "again"), [(1, 3, 7.0), (2, 3, 17.0), (3, 39, 1.0), (3, 41, None)])
    def test_the_next_one_waits_longer_each_time(self, failed: int, ago: int, again: float | None) -> None:
        pods = [pod(f"p{number}", "Failed", ago=ago) for number in range(failed)]
        found = plan.decide(job(completions=1), pods, (), NOW)
        assert (found.again, len(found.create)) == (again, 0 if again else 1)

    def test_ignored_failures_count_for_nothing(self) -> None:
        rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        evicted = pod("a", "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
        found = plan.decide(job(backoffLimit=0, podFailurePolicy={"rules": [rule]}), [evicted], (), NOW)
        assert not conditions(found)
        assert found.status.uncounted_terminated_pods is not None
        assert not found.status.uncounted_terminated_pods.failed
        assert [each.metadata.name for each in found.strip] == ["a"]

    def test_a_pod_that_is_deleted_is_replaced_at_once_or_when_it_has_ended(self) -> None:
        gone = pod("a", metadata={"deletionTimestamp": times.format_time(NOW - timedelta(seconds=900))})
        assert len(plan.decide(job(completions=1), [gone], (), NOW).create) == 1
        assert plan.decide(job(completions=1, podReplacementPolicy="Failed"), [gone], (), NOW).create == []

    def test_a_suspended_job_loses_its_pods_and_its_start(self) -> None:
        found = plan.decide(job({"startTime": times.format_time(NOW)}, suspend=True), [pod("a")], (), NOW)
        assert [each.metadata.name for each in found.delete] == ["a"]
        assert found.status.start_time is None
        assert conditions(found) == {"Suspended": "JobSuspended"}
        resumed = plan.decide(job(found.status.to_dict(), suspend=False), [], (), NOW + timedelta(seconds=5))
        assert conditions(resumed) == {}
        assert resumed.status.start_time == times.format_time(NOW + timedelta(seconds=5))
        assert len(resumed.create) == 1


class TestIndexed:
    @staticmethod
    def indexed(status: Json | None = None, **spec: Any) -> Job:
        return job(status, completionMode="Indexed", **spec)

    def test_the_lowest_missing_indexes_come_first(self) -> None:
        pods = [pod("a", "Succeeded", index=0), pod("b", index=2)]
        found = plan.decide(self.indexed(completions=5, parallelism=3), pods, (), NOW)
        assert [each.index for each in found.create] == [1, 3]
        assert found.status.completed_indexes == "0"

    def test_two_pods_of_one_index_are_one_too_many(self) -> None:
        found = plan.decide(self.indexed(completions=3, parallelism=3), [pod("a", index=1), pod("b", index=1)], (), NOW)
        assert [each.metadata.name for each in found.delete] == ["b"]

    def test_it_is_complete_when_every_index_is(self) -> None:
        found = plan.decide(
            self.indexed({"completedIndexes": "0,1"}, completions=3), [pod("a", "Succeeded", index=2)], (), NOW
        )
        assert conditions(found) == {"SuccessCriteriaMet": "CompletionsReached"}
        assert found.status.completed_indexes == "0-2"

    @pytest.mark.parametrize(
        ("rule", "met"),
        [
            ({"succeededIndexes": "0,2"}, False),
            ({"succeededIndexes": "0-1"}, True),
            ({"succeededCount": 2}, True),
            ({"succeededCount": 3}, False),
            ({"succeededIndexes": "1-4", "succeededCount": 1}, True),
            ({"succeededIndexes": "1-4", "succeededCount": 2}, False),
        ],
    )
    def test_a_success_policy_may_be_met_before(self, rule: Json, met: bool) -> None:
        pods = [pod("a", "Succeeded", index=0), pod("b", "Succeeded", index=1), pod("c", index=2)]
        found = plan.decide(self.indexed(completions=5, parallelism=3, successPolicy={"rules": [rule]}), pods, (), NOW)
        assert conditions(found) == ({"SuccessCriteriaMet": "SuccessPolicy"} if met else {})
        assert bool(found.delete) is met

    def test_each_index_has_failures_of_its_own(self) -> None:
        spec: Json = {"completions": 2, "parallelism": 2, "backoffLimit": 99, "backoffLimitPerIndex": 1}
        first = pod("a", "Failed", index=0)
        found = plan.decide(self.indexed(**spec), [first, pod("b", index=1)], (), NOW)
        assert [(each.index, each.failures) for each in found.create] == [(0, 1)]
        assert found.strip == [], "it is kept until its successor has taken over its count"
        second = pod("c", "Failed", index=0, annotations={"batch.kubernetes.io/job-index-failure-count": "1"})
        found = plan.decide(self.indexed(**spec), [first, second, pod("b", "Succeeded", index=1)], (), NOW)
        assert (found.status.failed_indexes, found.create) == ("0", [])
        assert {each.metadata.name for each in found.strip} == {"a", "b", "c"}
        assert conditions(found) == {"FailureTarget": "FailedIndexes"}

    def test_too_many_failed_indexes_end_it(self) -> None:
        spec: Json = {"completions": 9, "parallelism": 9, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1}
        pods = [pod(f"p{index}", "Failed", index=index) for index in range(2)]
        assert conditions(plan.decide(self.indexed(**spec), pods, (), NOW)) == {
            "FailureTarget": "MaxFailedIndexesExceeded"
        }

    def test_a_rule_may_fail_an_index_at_once(self) -> None:
        rule = {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1]}}
        spec: Json = {"completions": 3, "backoffLimitPerIndex": 5, "podFailurePolicy": {"rules": [rule]}}
        found = plan.decide(self.indexed(**spec), [pod("a", "Failed", code=7, index=1)], (), NOW)
        assert found.status.failed_indexes == "1"

    def test_a_pod_knows_its_index(self) -> None:
        made = plan.pod(self.indexed(completions=3), plan.NewPod(2))
        assert made.metadata.generate_name == "work-2-"
        assert made.spec.hostname == "work-2"
        assert made.metadata.labels[indexes.INDEX] == made.metadata.annotations[indexes.INDEX] == "2"
        (variable,) = made.spec.containers[0].env
        assert variable.value_from is not None
        assert variable.value_from.field_ref is not None
        assert (variable.name, variable.value_from.field_ref.field_path) == (
            "JOB_COMPLETION_INDEX",
            "metadata.annotations['batch.kubernetes.io/job-completion-index']",
        )
        assert TRACKING in made.metadata.finalizers


async def end(cluster: FakeCluster, name: str, *, code: int = 0) -> None:
    """The pod's container ends."""
    state = {"terminated": {"exitCode": code, "finishedAt": times.format_time(times.now())}}
    status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container_status(state)]}
    await cluster.change("Pod", name, status=status)


def running(cluster: FakeCluster) -> list[str]:
    return [each["metadata"]["name"] for each in cluster.all("Pod") if each.get("status", {}).get("phase") == "Running"]


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    async def test_a_job_runs_to_its_end_and_its_pods_can_go(self) -> None:
        async with Story(Jobs).running() as cluster:
            await cluster.put(job_json(completions=3, parallelism=2))
            for _ in range(3):
                await settle()
                assert len(running(cluster)) <= 2
                await end(cluster, running(cluster)[0])
            await settle()
            (found,) = cluster.all("Job")
            assert {entry["type"] for entry in found["status"]["conditions"]} == {"SuccessCriteriaMet", "Complete"}
            assert found["status"]["succeeded"] == 3
            assert not any(each["metadata"].get("finalizers") for each in cluster.all("Pod"))
            assert len(cluster.all("Pod")) == 3

    async def test_a_controller_that_starts_again_in_the_middle_counts_nothing_twice(self) -> None:
        story = Story(Jobs)
        async with story.running() as cluster:
            await cluster.put(job_json(completions=4, parallelism=4))
            await settle()
        ended = running(cluster)
        for name in ended[:3]:
            await end(cluster, name)
        for _ in range(3):  # each run is cut short, wherever it is
            async with story.running():
                pass
        async with story.running():
            await settle()
            await end(cluster, ended[3])
            await settle()
            (found,) = cluster.all("Job")
            assert (found["status"]["succeeded"], len(cluster.all("Pod"))) == (4, 4)

    async def test_a_pod_whose_finalizer_met_a_conflict_is_counted_once_and_let_go(self) -> None:
        async with Story(Jobs).running() as cluster:
            await cluster.put(job_json(completions=2, parallelism=1))
            await settle()
            real, refused = cluster.patch, []

            async def refuse_once(model: Any, name: str, body: Json, **options: Any) -> Any:
                cluster.patch = real
                refused.append(name)
                raise conflict("pods", name, "somebody else was faster")

            cluster.patch = refuse_once
            await end(cluster, running(cluster)[0])
            await settle()
            (first,) = refused
            assert "finalizers" not in cluster.find("Pod", first)["metadata"]
            assert cluster.all("Job")[0]["status"]["succeeded"] == 1

    async def test_a_cache_that_lags_makes_no_pod_too_many(self) -> None:
        async with Story(Jobs).running() as cluster:
            await cluster.put(job_json(completions=9, parallelism=2))
            await settle()
            cluster.lag, cluster.slowness = 2.0, 3.0
            for _ in range(2):
                await end(cluster, running(cluster)[0])
                await settle(0.5)
            most = 0
            for _ in range(60):
                await settle(0.5)
                ended = [each for each in cluster.all("Pod") if each.get("status", {}).get("phase") == "Succeeded"]
                most = max(most, len(cluster.all("Pod")) - len(ended))
            assert most == 2

    async def test_pods_of_a_job_that_is_gone_are_held_by_nothing(self) -> None:
        async with Story(Jobs).running() as cluster:
            await cluster.put(job_json(completions=1))
            await settle()
            (name,) = running(cluster)
            place = next(place for place in cluster.stored if place[0].kind == "Job")
            await cluster._delete(place, {})
            await settle()
            assert "finalizers" not in cluster.find("Pod", name)["metadata"]

    async def test_a_refused_pod_is_tried_again_and_told(self) -> None:
        async with Story(Jobs).running() as cluster:
            refusals = [True]

            def refuse(verb: str, resource: Any, obj: Json) -> None:
                if resource.kind == "Pod" and refusals:
                    refusals.pop()
                    raise ValueError("no")

            cluster.refuse = refuse
            await cluster.put(job_json(completions=1))
            await settle(120)
            assert len(running(cluster)) == 1

    @settings(max_examples=25, deadline=None)
    @given(st.integers(1, 6), st.integers(1, 4), st.lists(st.booleans(), max_size=8))
    def test_exactly_the_completions_asked_for_are_counted(
        self, completions: int, parallelism: int, ends: list[bool]
    ) -> None:
        """Whatever order pods end in: driven by the decision alone, with writes that may be lost."""
        found, pods, stripped = job(completions=completions, parallelism=parallelism, backoffLimit=99), [], set[str]()
        made, seen = 0, 0
        moment = NOW
        outcomes = [*ends, *([True] * completions)]
        for _ in range(400):
            moment += timedelta(seconds=700)
            decided = plan.decide(found, pods, stripped, moment)
            found = found.model_copy(update={"status": decided.status})
            for each in decided.strip:
                each.metadata.finalizers = []
            for _ in decided.create:
                made += 1
                pods.append(pod(f"p{made}"))
            active = [each for each in pods if each.status.phase == "Running"]
            assert len(active) <= parallelism
            if any(entry.type == "Complete" for entry in decided.status.conditions):
                break
            if active and outcomes:
                active[0].status.phase = "Succeeded" if outcomes.pop(0) else "Failed"
                seen += active[0].status.phase == "Succeeded"
        assert (found.status.succeeded, seen) == (completions, completions)
        assert found.status.failed == made - completions
