"""CronJobs: which Job for which time, as tables; and days of them in virtual time."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.models.batch_v1 import CronJob, Job
from hypernetes.controllers.cronjobs import CronJobs, Plan, decide, job_name, new_job
from hypernetes.controllers.ttlafterfinished import TtlAfterFinished, expires_in
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

NOW = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)
Json = dict[str, Any]


def cron_json(schedule: str = "*/10 * * * *", status: Json | None = None, **spec: Any) -> Json:
    template = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "work:1"}]}}}}
    return {
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "prod", "uid": "u", "creationTimestamp": "2030-01-01T11:00:00Z"},
        "spec": {"schedule": schedule, "jobTemplate": template, **spec},
        **({"status": status} if status else {}),
    }  # fmt: skip


def cron(schedule: str = "*/10 * * * *", last: str | None = None, **spec: Any) -> CronJob:
    return CronJob.from_dict(cron_json(schedule, {"lastScheduleTime": last} if last else None, **spec))


def job(name: str, ended: str = "", started: str = "2030-01-01T11:00:00Z") -> Job:
    conditions = [{"type": ended, "status": "True", "lastTransitionTime": started}] if ended else []
    status = {
        "conditions": conditions,
        "startTime": started,
        **({"completionTime": started} if ended == "Complete" else {}),
    }
    return Job.from_dict({"metadata": {"name": name, "namespace": "prod", "uid": name}, "status": status})


def reasons(plan: Plan) -> list[str]:
    return [note.reason for note in plan.notes]


@pytest.mark.parametrize(
    ("made", "due"),
    [
        (cron(last="2030-01-01T11:50:00Z"), "12:00"),
        (cron(last="2030-01-01T12:00:00Z"), None),
        (cron(), "12:00"),  # the last one of those that were missed
        (cron(suspend=True), None),
        (cron("0 3 * * *", last="2029-12-31T03:00:00Z"), "03:00"),
        (cron("0 3 * * *", last="2029-12-31T03:00:00Z", timeZone="Asia/Tokyo"), "18:00"),
        (cron("0 3 30 2 *"), None),
        (cron(last="2030-01-01T11:50:00Z", startingDeadlineSeconds=60), "12:00"),
    ],
)
def test_the_last_time_that_is_due_gets_a_job(made: CronJob, due: str | None) -> None:
    found = decide(made, [], NOW).create
    assert (found and found.astimezone(UTC).strftime("%H:%M")) == due


def test_one_that_is_too_late_is_given_up_and_told() -> None:
    found = decide(cron("0 12 * * *", last="2029-12-31T12:00:00Z", startingDeadlineSeconds=29), [], NOW)
    assert (found.create, reasons(found)) == (None, ["MissSchedule"])


def test_many_missed_times_are_told_and_the_last_one_made_up_for() -> None:
    found = decide(cron("* * * * *", last="2029-12-01T00:00:00Z"), [], NOW)
    assert found.create is not None
    assert (found.create.minute, reasons(found)) == (0, ["TooManyMissedTimes"])


@pytest.mark.parametrize(
    ("policy", "creates", "replaced", "told"),
    [("Allow", True, [], []), ("Forbid", False, [], ["JobAlreadyActive"]), ("Replace", True, ["running"], [])],
)
def test_what_runs_still_decides_by_the_policy(
    policy: str, creates: bool, replaced: list[str], told: list[str]
) -> None:
    made = cron(last="2030-01-01T11:50:00Z", concurrencyPolicy=policy)
    found = decide(made, [job("running"), job("done", "Complete")], NOW)
    assert (found.create is not None, [each.metadata.name for each in found.replace], reasons(found)) == (
        creates,
        replaced,
        told,
    )
    assert [reference.name for reference in found.status.active] == ["running"]


def test_a_job_that_was_made_but_not_noted_isnt_made_again() -> None:
    made = cron(last="2030-01-01T11:50:00Z")
    found = decide(made, [job(job_name(made, datetime(2030, 1, 1, 12, tzinfo=UTC)))], NOW)
    assert (found.create, found.status.last_schedule_time) == (None, "2030-01-01T12:00:00Z")


def test_the_history_keeps_the_youngest_of_each_kind() -> None:
    done = [job(f"ok{hour}", "Complete", f"2030-01-01T0{hour}:00:00Z") for hour in range(5)]
    bad = [job(f"bad{hour}", "Failed", f"2030-01-01T0{hour}:00:00Z") for hour in range(3)]
    found = decide(cron(last="2030-01-01T12:00:00Z"), [*done, *bad], NOW)
    assert [each.metadata.name for each in found.expired] == ["ok0", "ok1", "bad0", "bad1"]
    assert found.status.last_successful_time == "2030-01-01T04:00:00Z"
    none = decide(cron(last="2030-01-01T12:00:00Z", successfulJobsHistoryLimit=0, failedJobsHistoryLimit=0), done, NOW)
    assert len(none.expired) == 5


def test_it_looks_again_at_the_next_time() -> None:
    assert decide(cron(last="2030-01-01T12:00:00Z"), [], NOW).again == 570.0


def test_a_schedule_that_cant_be_read_is_told() -> None:
    assert reasons(decide(cron("every now and then"), [], NOW)) == ["InvalidSchedule"]
    assert reasons(decide(cron(timeZone="Middle/Earth"), [], NOW)) == ["InvalidSchedule"]


def test_a_job_says_for_which_time_it_is() -> None:
    due = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
    made = new_job(cron(), due)
    assert made.metadata.name == f"tick-{int(due.timestamp()) // 60}"
    assert made.metadata.annotations == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2030-01-01T12:00:00+00:00"}
    assert [(owner.kind_, owner.name, owner.controller) for owner in made.metadata.owner_references] == [
        ("CronJob", "tick", True)
    ]


@pytest.mark.parametrize(
    ("ttl", "ended", "left"),
    [(None, "Complete", None), (60, "", None), (60, "Complete", 30.0), (60, "Failed", 30.0), (10, "Complete", 0.0)],
)
def test_a_finished_job_goes_when_its_time_is_over(ttl: int | None, ended: str, left: float | None) -> None:
    made = job("done", ended, "2030-01-01T12:00:00Z")
    made.spec.ttl_seconds_after_finished = ttl
    assert expires_in(made, NOW) == left


async def finish(cluster: FakeCluster, name: str) -> None:
    now = times.format_time(times.now())
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": now}
    await cluster.change("Job", name, status={"conditions": [condition], "startTime": now, "completionTime": now})


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    async def test_an_hour_of_jobs_keeps_its_history_short(self) -> None:
        async with Story(CronJobs).running() as cluster:
            await cluster.put(cron_json())
            seen = set()
            for _ in range(6):
                await settle(600)
                for each in cluster.all("Job"):
                    if not each.get("status", {}).get("conditions"):
                        seen.add(each["metadata"]["name"])
                        await finish(cluster, each["metadata"]["name"])
            await settle()
            assert len(seen) == 6
            assert len(cluster.all("Job")) == 3
            assert cluster.find("CronJob", "tick")["status"]["lastScheduleTime"] == "2030-01-01T01:00:00Z"

    async def test_starting_again_makes_no_job_twice(self) -> None:
        story = Story(CronJobs)
        for _ in range(4):
            async with story.running() as cluster:
                if not cluster.all("CronJob"):
                    await cluster.put(cron_json("*/1 * * * *"))
                await settle(90)
        names = cluster.names("Job")
        assert len(names) == len(set(names))
        assert 5 <= len(names) <= 7

    async def test_a_job_is_deleted_after_its_ttl(self) -> None:
        async with Story(TtlAfterFinished).running() as cluster:
            made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "done", "namespace": "prod"}}
            template = {"spec": {"containers": [{"name": "main"}]}}
            await cluster.put({**made, "spec": {"template": template, "ttlSecondsAfterFinished": 100}})
            await finish(cluster, "done")
            await settle(90)
            assert "deletionTimestamp" not in cluster.find("Job", "done")["metadata"]
            await settle(20)
            assert cluster.find("Job", "done")["metadata"]["deletionTimestamp"]
