"""Jobs, CronJobs, and the end of both."""

from datetime import timedelta
from typing import Any

from hypernetes.api import times
from tests.integration.controllers.documented.running import Case, Json, template


def job(*args: str, **spec: Any) -> Json:
    made = template("job", "job:1", *args)
    del made["metadata"]
    made["spec"]["restartPolicy"] = "Never"
    return {"template": made, **spec}


async def _succeeded(it: Case, name: str) -> Json:
    await it.condition(f"jobs/{name}", "Complete", "True")
    found: Json = (await it.get(f"jobs/{name}"))["status"]
    return found


async def job_counts_completions_and_keeps_to_its_parallelism(it: Case) -> None:
    await it.create("jobs", "work", job("--exit-after=0.3", completions=5, parallelism=2))

    async def ended() -> bool:
        status = (await it.get("jobs/work"))["status"]
        assert status.get("active", 0) <= 2
        return bool(status.get("completionTime"))

    await it.until(ended)
    assert (await _succeeded(it, "work"))["succeeded"] == 5


async def job_of_a_work_queue_ends_with_its_pods(it: Case) -> None:
    await it.create("jobs", "queue", job("--exit-after=0.3", parallelism=3))
    status = await _succeeded(it, "queue")
    assert 1 <= status["succeeded"] <= 3


async def job_gives_each_index_a_pod_of_its_own(it: Case) -> None:
    await it.create("jobs", "parts", job("--exit-after=0.2", completions=3, parallelism=3, completionMode="Indexed"))
    assert (await _succeeded(it, "parts"))["completedIndexes"] == "0-2"
    pods = await it.list("pods", **{"batch.kubernetes.io/job-name": "parts"})
    label = "batch.kubernetes.io/job-completion-index"
    assert sorted(pod["metadata"]["labels"][label] for pod in pods) == ["0", "1", "2"]
    for pod in pods:
        index = pod["metadata"]["annotations"][label]
        assert pod["spec"]["hostname"] == f"parts-{index}"
        assert any(each["name"] == "JOB_COMPLETION_INDEX" for each in pod["spec"]["containers"][0]["env"])


async def job_tries_each_index_as_often_as_it_says(it: Case) -> None:
    spec = job(
        "--exit-after=0.1", "--exit-code=1", completions=3, parallelism=3, completionMode="Indexed",
        backoffLimitPerIndex=0, maxFailedIndexes=1,
    )  # fmt: skip
    await it.create("jobs", "parts", spec)
    await it.condition("jobs/parts", "Failed", "True", "MaxFailedIndexesExceeded")


async def job_fails_at_once_by_its_pod_failure_policy(it: Case) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    spec = job("--exit-after=0.1", "--exit-code=42", backoffLimit=6, podFailurePolicy={"rules": [rule]})
    await it.create("jobs", "fatal", spec)
    told = await it.condition("jobs/fatal", "Failed", "True", "PodFailurePolicy")
    assert "42" in told["message"]
    assert (await it.get("jobs/fatal"))["status"]["failed"] == 1


async def job_doesnt_count_evictions_that_its_policy_ignores(it: Case) -> None:
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    await it.create("jobs", "patient", job(backoffLimit=0, podFailurePolicy={"rules": [rule]}))
    selector = {"batch.kubernetes.io/job-name": "patient"}

    async def running() -> Any:
        return [pod for pod in await it.list("pods", **selector) if pod["status"].get("phase") == "Running"]

    (pod,) = await it.until(running)
    name = pod["metadata"]["name"]
    await it.client.request("POST", it.path(f"pods/{name}/eviction"), json={"metadata": {"name": name}})

    async def another() -> bool:
        return any(each["metadata"]["name"] != name for each in await running())

    await it.until(another)
    status = (await it.get("jobs/patient"))["status"]
    assert (status.get("failed", 0), status.get("conditions", [])) == (0, [])


async def job_succeeds_by_its_success_policy(it: Case) -> None:
    spec = job(
        "--exit-after=0.1", completions=3, parallelism=1, completionMode="Indexed",
        successPolicy={"rules": [{"succeededIndexes": "0"}]},
    )  # fmt: skip
    await it.create("jobs", "leader", spec)
    await it.condition("jobs/leader", "SuccessCriteriaMet", "True", "SuccessPolicy")
    await it.condition("jobs/leader", "Complete", "True", "SuccessPolicy")
    assert "0" in (await it.get("jobs/leader"))["status"]["completedIndexes"]


async def job_waits_for_the_end_of_a_pod_before_it_makes_another(it: Case) -> None:
    spec = job(podReplacementPolicy="Failed")
    spec["template"]["metadata"] = {"finalizers": ["example.com/hold"]}
    await it.create("jobs", "careful", spec)
    await it.status("jobs/careful", active=1, ready=1)
    (pod,) = await it.list("pods")
    await it.delete(f"pods/{pod['metadata']['name']}")

    async def replaced() -> bool:
        pods = await it.list("pods")
        old = next(each for each in pods if each["metadata"]["name"] == pod["metadata"]["name"])
        ended = old["status"].get("phase") in ("Failed", "Succeeded")
        assert ended or len(pods) == 1, "another one while the first still runs"
        return len(pods) == 2

    await it.until(replaced)
    for each in await it.list("pods"):
        await it.patch(f"pods/{each['metadata']['name']}", {"metadata": {"finalizers": None}})


async def job_suspended_has_no_pods_and_goes_on_when_it_is_resumed(it: Case) -> None:
    await it.create("jobs", "idle", job(suspend=True))
    await it.condition("jobs/idle", "Suspended", "True", "JobSuspended")
    assert await it.list("pods") == []
    await it.patch("jobs/idle", {"spec": {"suspend": False}})
    await it.condition("jobs/idle", "Suspended", "False", "JobResumed")
    running = await it.status("jobs/idle", active=1)
    assert running["status"]["startTime"]
    await it.patch("jobs/idle", {"spec": {"suspend": True}})
    await it.condition("jobs/idle", "Suspended", "True", "JobSuspended")

    async def none_left() -> bool:
        return await it.list("pods") == []

    await it.until(none_left)
    assert "startTime" not in (await it.get("jobs/idle"))["status"]


async def job_indexed_grows_and_shrinks(it: Case) -> None:
    await it.create("jobs", "elastic", job(completions=2, parallelism=2, completionMode="Indexed"))
    await it.status("jobs/elastic", active=2)
    await it.patch("jobs/elastic", {"spec": {"completions": 4, "parallelism": 4}})
    await it.status("jobs/elastic", active=4)
    await it.patch("jobs/elastic", {"spec": {"completions": 1, "parallelism": 1}})
    await it.status("jobs/elastic", active=1)

    async def one_is_left() -> bool:
        pods = await it.list("pods")
        label = "batch.kubernetes.io/job-completion-index"
        return [pod["metadata"]["labels"][label] for pod in pods] == ["0"]

    await it.until(one_is_left)
    assert await it.code(it.patch("jobs/elastic", {"spec": {"completions": 3}})) == 422, "only with parallelism"


async def job_goes_some_time_after_its_end(it: Case) -> None:
    await it.create("jobs", "brief", job("--exit-after=0.1", ttlSecondsAfterFinished=1))
    await it.gone("jobs/brief")

    async def none_left() -> bool:
        return await it.list("pods") == []

    await it.until(none_left)


async def job_that_takes_too_long_is_ended(it: Case) -> None:
    await it.create("jobs", "late", job(activeDeadlineSeconds=1))
    await it.condition("jobs/late", "Failed", "True", "DeadlineExceeded")


async def job_of_another_controller_is_left_alone(it: Case) -> None:
    await it.create("jobs", "theirs", job(managedBy="example.com/controller"))
    await it.create("jobs", "ours", job("--exit-after=0.1"))
    await _succeeded(it, "ours")
    assert (await it.get("jobs/theirs")).get("status", {}) == {}


def cron(**spec: Any) -> Json:
    return {"schedule": "* * * * *", "jobTemplate": {"spec": job()}, **spec}


async def _missed(it: Case, name: str, **spec: Any) -> None:
    """A CronJob that last ran three minutes ago, as if its controller had been away."""
    await it.create("cronjobs", name, cron(suspend=True, **spec))
    last = times.format_time(times.now() - timedelta(minutes=3))
    await it.patch(f"cronjobs/{name}/status", {"status": {"lastScheduleTime": last}})
    await it.patch(f"cronjobs/{name}", {"spec": {"suspend": False}})


async def cron_job_makes_up_for_the_last_run_it_missed(it: Case) -> None:
    await _missed(it, "report")
    (made,) = await it.until(lambda: it.list("jobs"))
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("CronJob", "report")
    assert "batch.kubernetes.io/cronjob-scheduled-timestamp" in made["metadata"]["annotations"]

    async def listed() -> Any:
        return (await it.get("cronjobs/report"))["status"].get("active")

    assert [each["name"] for each in await it.until(listed)] == [made["metadata"]["name"]]


async def cron_job_suspended_makes_nothing(it: Case) -> None:
    await _missed(it, "control")
    await it.create("cronjobs", "report", cron(suspend=True))
    last = times.format_time(times.now() - timedelta(minutes=3))
    await it.patch("cronjobs/report/status", {"status": {"lastScheduleTime": last}})
    (made,) = await it.until(lambda: it.list("jobs"))
    assert made["metadata"]["ownerReferences"][0]["name"] == "control"


async def cron_job_keeps_as_many_ended_jobs_as_it_says(it: Case) -> None:
    made = await it.create("cronjobs", "report", cron(schedule="0 0 1 1 *", successfulJobsHistoryLimit=1))
    reference = {
        "apiVersion": "batch/v1", "kind": "CronJob", "name": "report", "uid": made["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    for number in range(3):
        owned = {"ownerReferences": [reference]}
        await it.create("jobs", f"report-{number}", job("--exit-after=0.1"), metadata=owned)

    async def one_is_left() -> bool:
        return len(await it.list("jobs")) == 1

    await it.until(one_is_left)
    await it.delete("cronjobs/report")

    async def none_left() -> bool:
        return await it.list("jobs") == []

    await it.until(none_left)


async def cron_job_in_a_time_zone_that_isnt_there_is_refused(it: Case) -> None:
    assert await it.code(it.create("cronjobs", "lost", cron(timeZone="Atlantis/Capital"))) == 422
    assert await it.code(it.create("cronjobs", "found", cron(timeZone="Europe/Berlin"))) == 200
    assert await it.code(it.create("cronjobs", "old", cron(schedule="CRON_TZ=UTC 0 0 * * *"))) == 422
