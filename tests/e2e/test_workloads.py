"""Each kind of workload as its documentation shows it, on real machines, through kubectl."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually

pytestmark = pytest.mark.vm

TENANT = "workloads"
BUSYBOX = f"{REGISTRY}/busybox"
WAIT = f"--timeout={POD_SECONDS:.0f}s"
SCALED_SECONDS = 120.0  # two samples, two looks of the autoscaler, a pod
SCHEDULED_SECONDS = 60.0 + POD_SECONDS


class Kubectl:
    def __init__(self, cluster: Cluster, tenant: str) -> None:
        self.cluster, self.tenant = cluster, tenant

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(self.tenant, *arguments, stdin=stdin, timeout=POD_SECONDS + 30)

    def get(self, *arguments: str) -> Any:
        return self.cluster.get(self.tenant, *arguments)

    def field(self, what: str, path: str) -> str:
        return self("get", what, "-o", f"jsonpath={{{path}}}")


def workload(kind: str, name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main", "image": BUSYBOX, "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}},
    }  # fmt: skip
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


STAYS = "trap exit TERM; sleep 1d & wait"


@pytest.fixture(scope="module")
def kubectl(shared_cluster: Cluster) -> Iterator[Kubectl]:
    """A tenant of this module's own. What takes its time (a load that is to be seen, a minute that is to begin) is
    there from the start."""
    shared_cluster.create_tenant(TENANT)
    kubectl = Kubectl(shared_cluster, TENANT)
    busy = workload("Deployment", "busy", "while true; do :; done", replicas=1)
    kubectl("create", "cronjob", "tick", f"--image={BUSYBOX}", "--schedule=* * * * *", "--", "echo", "tick")
    kubectl("create", "-f", "-", stdin=json.dumps(busy))
    kubectl("autoscale", "deployment/busy", "--cpu-percent=50", "--min=1", "--max=2")
    for kind, name, more in (
        ("Deployment", "site", {}),
        ("StatefulSet", "db", {"replicas": 2, "serviceName": "db"}),
        ("DaemonSet", "watcher", {}),
    ):
        kubectl("create", "-f", "-", stdin=json.dumps(workload(kind, name, STAYS, **more)))
    yield kubectl
    shared_cluster.hn("tenant", "delete", TENANT, "--dir", str(shared_cluster.directory), "--yes", timeout=POD_SECONDS)


def test_a_deployment_is_rolled_out_paused_resumed_and_undone(kubectl: Kubectl) -> None:
    def colour() -> str:
        status = kubectl("rollout", "status", "deployment/site", WAIT)
        assert 'deployment "site" successfully rolled out' in status
        return kubectl("exec", "deploy/site", "--", "sh", "-c", "echo $COLOUR").strip()

    assert colour() == ""
    kubectl("set", "env", "deployment/site", "COLOUR=blue")
    assert colour() == "blue"
    assert [line.split()[0] for line in kubectl("rollout", "history", "deployment/site").splitlines()[2:4]] == [
        "1",
        "2",
    ]
    kubectl("rollout", "pause", "deployment/site")
    kubectl("set", "env", "deployment/site", "COLOUR=red")
    seen = "jsonpath={.status.observedGeneration}={.metadata.generation}"

    def observed() -> bool:
        left, _, right = kubectl("get", "deployment/site", "-o", seen).partition("=")
        return left == right

    eventually(observed, within=30, why="the change to be seen")
    assert len(kubectl.get("replicasets", "-l", "app=site")["items"]) == 2
    kubectl("rollout", "resume", "deployment/site")
    assert colour() == "red"
    kubectl("rollout", "undo", "deployment/site")
    assert colour() == "blue"
    kubectl("rollout", "undo", "deployment/site", "--to-revision=1")
    assert colour() == ""
    history = kubectl("rollout", "history", "deployment/site").splitlines()[2:]
    assert [line.split()[0] for line in history if line] == ["3", "4", "5"]


def test_a_job_is_created_and_ends(kubectl: Kubectl) -> None:
    kubectl("create", "job", "hello", f"--image={BUSYBOX}", "--", "echo", "hello from a job")
    kubectl("wait", "--for=condition=Complete", "job/hello", WAIT)
    assert kubectl("logs", "job/hello") == "hello from a job\n"
    assert kubectl.field("job/hello", ".status.succeeded") == "1"


def test_a_cron_job_is_run_at_once_by_hand(kubectl: Kubectl) -> None:
    kubectl("create", "job", "tick-now", "--from=cronjob/tick")
    kubectl("wait", "--for=condition=Complete", "job/tick-now", WAIT)
    assert kubectl("logs", "job/tick-now") == "tick\n"


def test_a_stateful_sets_pods_keep_their_names(kubectl: Kubectl) -> None:
    kubectl("rollout", "status", "statefulset/db", WAIT)
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in kubectl.get("pods", "-l", "app=db")["items"]}
    assert sorted(before) == ["db-0", "db-1"]
    kubectl("delete", "pod", "db-1")
    eventually(
        lambda: kubectl("get", "pod/db-1", "--ignore-not-found", "-o", "name"), within=60, why="db-1 to be made again"
    )
    kubectl("wait", "--for=condition=Ready", "pod/db-1", WAIT)
    assert kubectl("exec", "db-1", "--", "hostname").strip() == "db-1"
    assert kubectl.field("pod/db-1", ".metadata.uid") != before["db-1"]
    assert kubectl.field("pod/db-0", ".metadata.uid") == before["db-0"]


def test_a_daemon_set_has_a_pod_on_the_node_and_is_rolled(kubectl: Kubectl) -> None:
    kubectl("rollout", "status", "daemonset/watcher", WAIT)
    kubectl("set", "env", "daemonset/watcher", "WATCH=all")
    assert "successfully rolled out" in kubectl("rollout", "status", "daemonset/watcher", WAIT)
    assert kubectl.field("daemonset/watcher", ".status.numberReady") == "1"
    assert kubectl("exec", "daemonset/watcher", "--", "sh", "-c", "echo $WATCH") == "all\n"
    kubectl("rollout", "undo", "daemonset/watcher")
    assert "successfully rolled out" in kubectl("rollout", "status", "daemonset/watcher", WAIT)
    assert kubectl("exec", "daemonset/watcher", "--", "sh", "-c", "echo $WATCH") == "\n"


def test_an_autoscaler_follows_the_load_of_its_machines(kubectl: Kubectl) -> None:
    eventually(
        lambda: kubectl.field("deployment/busy", ".status.readyReplicas") == "2", within=SCALED_SECONDS,
        why="busy to be scaled",
    )  # fmt: skip
    row = kubectl("get", "hpa", "busy", "--no-headers").split()
    assert row[:2] == ["busy", "Deployment/busy"]
    used = int(kubectl.field("hpa/busy", ".status.currentMetrics[0].resource.current.averageUtilization"))
    assert used > 50, "the load that its machine has"
    assert [line.split()[0].rpartition("-")[0].partition("-")[0] for line in _top(kubectl)][:1] == ["busy"]


def _top(kubectl: Kubectl) -> list[str]:
    return kubectl("top", "pods", "-l", "app=busy", "--no-headers").splitlines()


def test_a_cron_job_runs_by_its_schedule(kubectl: Kubectl) -> None:
    def ran() -> list[str]:
        jobs = kubectl.get("jobs")["items"]
        return [
            job["metadata"]["name"]
            for job in jobs
            if any(owner["kind"] == "CronJob" for owner in job["metadata"].get("ownerReferences", ()))
            and job["metadata"]["name"] != "tick-now"
            and job["status"].get("succeeded")
        ]

    name = eventually(ran, within=SCHEDULED_SECONDS, why="a minute's job", every=1.0)[0]
    assert kubectl("logs", f"job/{name}") == "tick\n"
    assert kubectl.field("cronjob/tick", ".status.lastScheduleTime") <= time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime()
    )


def test_a_drain_waits_for_the_budget(kubectl: Kubectl) -> None:
    """Of the node, with the pods of all tenants: kubectl's own sees those of one."""
    cluster = kubectl.cluster
    node = cluster.kubectl("system", "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    kubectl("rollout", "status", "deployment/site", WAIT)
    kubectl("create", "pdb", "site", "--selector=app=site", "--min-available=1")
    eventually(lambda: kubectl.field("pdb/site", ".status.currentHealthy") == "1", within=60, why="the budget to count")

    def hn(verb: str, *arguments: str, check: bool = True) -> str:
        directory = ("--dir", str(cluster.directory))
        done = cluster.hn("node", verb, node, *arguments, *directory, check=check, timeout=POD_SECONDS)
        return done.stdout + done.stderr

    try:
        assert "these pods are still there (disruption budgets" in hn(
            "drain", "--force", "--timeout", "10", check=False
        )
        assert _running(kubectl, "site")
        assert not _running(kubectl, "db"), "what no budget keeps is gone"
        kubectl("delete", "pdb", "site")
        hn("drain", "--force")  # what other tests may have left, too
        assert not _running(kubectl, "site")
    finally:
        hn("uncordon")
    kubectl("rollout", "status", "deployment/site", WAIT)


def _running(kubectl: Kubectl, app: str) -> list[str]:
    pods = kubectl.get("pods", "-l", f"app={app}")["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]
