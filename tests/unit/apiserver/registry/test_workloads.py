"""Workloads: one change of a good one, on create, on update and in its status, and the causes it is refused with."""

from typing import Any

import pytest

from hypernetes.apiserver.registry import daemonsets, jobs
from tests.unit.apiserver.registry.changes import Found, Object, changed, completed, creating, updating

TEMPLATE: Object = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
ONCE: Object = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}


def workload(api_version: str, kind: str, **spec: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "w", "namespace": "web"}, "spec": spec}


SELECTOR: Object = {"matchLabels": {"app": "x"}}
CLAIM: Object = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
STATEFUL_SET = workload(
    "apps/v1", "StatefulSet", selector=SELECTOR, template=TEMPLATE, serviceName="w", volumeClaimTemplates=[CLAIM]
)
DAEMON_SET = workload("apps/v1", "DaemonSet", selector=SELECTOR, template=TEMPLATE)
DEPLOYMENT = workload("apps/v1", "Deployment", selector=SELECTOR, template=TEMPLATE)
REPLICA_SET = workload("apps/v1", "ReplicaSet", selector=SELECTOR, template=TEMPLATE)
CONTROLLER = workload("v1", "ReplicationController", selector={"app": "x"}, template=TEMPLATE)
JOB = workload("batch/v1", "Job", template=ONCE)
INDEXED = workload("batch/v1", "Job", template=ONCE, completionMode="Indexed", completions=3, parallelism=3)
CRON_JOB = workload("batch/v1", "CronJob", schedule="*/5 * * * *", jobTemplate={"spec": {"template": ONCE}})
REVISION: Object = {
    "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r", "namespace": "web"},
    "data": {"a": 1}, "revision": 3,
}  # fmt: skip
ALL = [STATEFUL_SET, DAEMON_SET, DEPLOYMENT, REPLICA_SET, CONTROLLER, JOB, INDEXED, CRON_JOB, REVISION]

EXIT = {"operator": "In", "values": [1, 2]}
CREATES: list[tuple[Object, str, Any, Found]] = [
    (STATEFUL_SET, "spec.podManagementPolicy", "X", [("spec.podManagementPolicy", "Invalid")]),
    (STATEFUL_SET, "spec.updateStrategy", {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
     [("spec.updateStrategy.rollingUpdate", "Invalid")]),
    (STATEFUL_SET, "spec.template.spec.restartPolicy", "Never", [("spec.template.spec.restartPolicy", "NotSupported")]),
    (STATEFUL_SET, "spec.template.spec.containers.0.volumeMounts", [{"name": "data", "mountPath": "/d"}], []),
    (STATEFUL_SET, "spec.revisionHistoryLimit", -1, [("spec.revisionHistoryLimit", "Invalid")]),
    (DAEMON_SET, "spec.selector", {}, [("spec.selector", "Invalid")]),
    (DAEMON_SET, "spec.updateStrategy", {"type": "X"}, [("spec.updateStrategy", "NotSupported")]),
    (DAEMON_SET, "spec.updateStrategy", {"rollingUpdate": {"maxUnavailable": "0%", "maxSurge": "30%"}}, []),
    (DAEMON_SET, "spec.updateStrategy", {"rollingUpdate": {"maxUnavailable": "101%"}},
     [("spec.updateStrategy.rollingUpdate.maxUnavailable", "Invalid")]),
    (DEPLOYMENT, "spec.template.spec.ephemeralContainers", [{"name": "e", "image": "x"}],
     [("spec.template.spec.ephemeralContainers", "Forbidden")]),
    (DEPLOYMENT, "spec.template.spec.containers.0.image", " x", []),
    (DEPLOYMENT, "spec.selector", None, [("spec.selector", "Required"), ("spec.template.metadata.labels", "Invalid")]),
    (CONTROLLER, "spec.template", None, [("spec.template", "Required")]),
    (JOB, "spec.maxFailedIndexes", 1,
     [("spec.backoffLimitPerIndex", "Required"), ("spec.maxFailedIndexes", "Invalid")]),
    (JOB, "spec.managedBy", "example.com/x", []),
    (JOB, "spec.selector", {"matchLabels": {"a": "b"}},
     [("spec.selector", "Invalid"), ("spec.template.metadata.labels", "Invalid")]),
    (JOB, "spec.template.spec.restartPolicy", "OnFailure", []),
    (JOB, "spec.podFailurePolicy", {"rules": [{"action": "FailJob"}]},
     [("spec.podFailurePolicy.rules[0]", "Invalid")]),
    (JOB, "spec.podFailurePolicy", {"rules": [
        {"action": "Count", "onExitCodes": {**EXIT, "containerName": "none"}, "onPodConditions": [{"type": "X"}]}]},
     [("spec.podFailurePolicy.rules[0]", "Invalid"),
      ("spec.podFailurePolicy.rules[0].onExitCodes.containerName", "Invalid")]),
    (JOB, "spec.podFailurePolicy", {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X"}]}] * 21},
     [("spec.podFailurePolicy.rules", "TooMany")]),
    (JOB, "spec", {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "OnFailure"}},
                   "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": EXIT}]}},
     [("spec.template.spec.restartPolicy", "Invalid")]),
    (INDEXED, "spec.completions", None, [("spec.completions", "Required")]),
    (INDEXED, "spec.backoffLimitPerIndex", 1, []),
    (INDEXED, "metadata.name", "x" * 62, [("metadata.name", "Invalid")]),
    (INDEXED, "spec.successPolicy", {"rules": [{"succeededIndexes": "0,2-1"}]},
     [("spec.successPolicy.rules[0].succeededIndexes", "Invalid")]),
    (INDEXED, "spec.successPolicy", {"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}, {}]},
     [("spec.successPolicy.rules[0].succeededCount", "Invalid"), ("spec.successPolicy.rules[1]", "Required")]),
    (CRON_JOB, "spec.concurrencyPolicy", "Queue", [("spec.concurrencyPolicy", "NotSupported")]),
    (CRON_JOB, "spec.timeZone", "Europe/Zurich", []),
    (CRON_JOB, "spec.schedule", "CRON_TZ=UTC * * * * *", [("spec.schedule", "Invalid")]),
    (CRON_JOB, "metadata.name", "x" * 53, [("metadata.name", "Invalid")]),
    (CRON_JOB, "spec.jobTemplate.spec.parallelism", -1, [("spec.jobTemplate.spec.parallelism", "Invalid")]),
    (REVISION, "data", None, [("data", "Required")]),
]  # fmt: skip
UPDATES: list[tuple[Object, str, Any, Found]] = [
    (STATEFUL_SET, "spec.replicas", 5, []),
    (STATEFUL_SET, "spec.ordinals", {"start": 2}, []),
    (STATEFUL_SET, "spec.template.spec.containers.0.image", "other", []),
    (STATEFUL_SET, "spec.serviceName", "other", [("spec", "Forbidden")]),
    (STATEFUL_SET, "spec.podManagementPolicy", "Parallel", [("spec", "Forbidden")]),
    (STATEFUL_SET, "spec.volumeClaimTemplates", None, [("spec", "Forbidden")]),
    (DAEMON_SET, "spec.minReadySeconds", 5, []),
    (DAEMON_SET, "spec.selector", {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
     [("spec.selector", "Invalid")]),
    (REPLICA_SET, "spec.selector", {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
     [("spec.selector", "Invalid")]),
    (CONTROLLER, "spec.replicas", 2, []),
    (JOB, "spec.parallelism", 4, []),
    (JOB, "spec.suspend", True, []),
    (JOB, "spec.completions", 4, [("spec.completions", "Invalid")]),
    (JOB, "spec.completionMode", "Indexed", [("spec.completionMode", "Invalid")]),
    (JOB, "spec.template.spec.containers.0.image", "other", [("spec.template", "Invalid")]),
    (JOB, "spec.template.spec.nodeSelector", {"a": "b"}, [("spec.template", "Invalid")]),
    (INDEXED, "spec.completions", 5, [("spec.completions", "Invalid")]),
    (CRON_JOB, "spec.schedule", "TZ=UTC 0 0 * * *", [("spec.schedule", "Invalid")]),
    (CRON_JOB, "spec.suspend", True, []),
    (REVISION, "revision", 9, []),
    (REVISION, "data", {"a": 2}, [("data", "Invalid")]),
]  # fmt: skip
STATUSES: list[tuple[Object, Any, Found]] = [
    (DEPLOYMENT, {"replicas": 1, "readyReplicas": 2},
     [("status.readyReplicas", "Invalid")]),
    (DEPLOYMENT, {"replicas": 2, "availableReplicas": 1}, [("status.availableReplicas", "Invalid")]),
    (REPLICA_SET, {"replicas": 1, "fullyLabeledReplicas": 2}, [("status.fullyLabeledReplicas", "Invalid")]),
    (STATEFUL_SET, {"replicas": 1, "currentReplicas": 2, "collisionCount": -1},
     [("status.collisionCount", "Invalid"), ("status.currentReplicas", "Invalid")]),
    (DAEMON_SET, {"numberMisscheduled": -1}, [("status.numberMisscheduled", "Invalid")]),
    (JOB, {"active": 1, "ready": 2}, [("status.ready", "Invalid")]),
    (JOB, {"conditions": [{"type": "Complete", "status": "True"}], "active": 1},
     [("status.active", "Invalid"), ("status.startTime", "Required"), ("status.completionTime", "Required"),
      ("status.conditions", "Invalid")]),
    (JOB, {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:00Z"},
     [("status.completionTime", "Invalid")]),
    (JOB, {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z", "conditions": [
        {"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]}, []),
]  # fmt: skip


@pytest.mark.parametrize("good", ALL, ids=lambda good: str(good["kind"]))
def test_a_good_workload_is_taken(good: Object) -> None:
    assert creating(good) == []
    assert updating(good, ("metadata.labels", {"a": "b"})) == []


@pytest.mark.parametrize(("obj", "path", "value", "causes"), CREATES)
def test_a_bad_workload_is_refused(obj: Object, path: str, value: Any, causes: Found) -> None:
    assert creating(changed(obj, path, value)) == causes


@pytest.mark.parametrize(("obj", "path", "value", "causes"), UPDATES)
def test_what_an_update_may_change(obj: Object, path: str, value: Any, causes: Found) -> None:
    assert updating(obj, (path, value)) == causes


@pytest.mark.parametrize(("obj", "status", "causes"), STATUSES)
def test_a_status_adds_up(obj: Object, status: Any, causes: Found) -> None:
    assert updating(obj, ("status", status), subresource="status") == causes


def test_a_job_labels_its_pods_and_itself() -> None:
    job = completed(JOB)
    uid = job["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": "w", "controller-uid": uid,
        "job-name": "w",
    }  # fmt: skip
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"] == labels
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def test_a_job_with_a_selector_of_its_own_is_given_none() -> None:
    job = changed(changed(JOB, "spec.manualSelector", True), "spec.selector", {"matchLabels": {"j": "x"}})
    job = changed(job, "spec.template.metadata", {"labels": {"j": "x"}})
    assert completed(job)["spec"]["template"]["metadata"]["labels"] == {"j": "x"}
    assert creating(job) == []


def test_an_indexed_job_grows_with_its_parallelism() -> None:
    assert updating(INDEXED, ("spec.completions", 5), ("spec.parallelism", 5)) == []


def test_a_job_that_never_started_may_be_sent_elsewhere() -> None:
    suspended = changed(JOB, "spec.suspend", True)
    for path, value in (
        ("nodeSelector", {"a": "b"}), ("tolerations", [{"key": "a", "operator": "Exists"}]),
        ("affinity", {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {}}]}}),
    ):  # fmt: skip
        assert updating(suspended, (f"spec.template.spec.{path}", value)) == []
    assert updating(suspended, ("spec.template.spec.hostNetwork", True)) == [("spec.template", "Invalid")]


def test_the_end_of_a_job_is_for_good() -> None:
    ended = {"conditions": [{"type": "Failed", "status": "True"}, {"type": "FailureTarget", "status": "True"}],
             "startTime": "2026-01-01T00:00:00Z", "failed": 2}  # fmt: skip

    old = changed(completed(JOB), "status", ended)
    new = changed(old, "status", {"startTime": "2026-01-01T00:00:00Z"})
    causes = [each["field"] for each in jobs.STRATEGY.validate_status(new, old)]
    assert causes == ["status.conditions", "status.conditions", "status.failed"]


def test_the_generation_of_a_daemon_sets_template_counts_its_changes() -> None:

    old = completed(DAEMON_SET)
    assert old["metadata"]["annotations"] == {daemonsets.TEMPLATE_GENERATION: "1"}
    new = changed(old, "spec.template.spec.containers.0.image", "other")
    daemonsets.prepare_update(new, old)
    assert new["metadata"]["annotations"] == {daemonsets.TEMPLATE_GENERATION: "2"}


def test_a_cron_job_completes_no_more_than_the_pods_template() -> None:
    spec = completed(CRON_JOB)["spec"]["jobTemplate"]["spec"]
    assert set(spec) == {"template"}
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
