"""`kubectl` with what runs: set, autoscale, expose, scale, rollout, wait, delete."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.clients.commands import Kubectl

WAIT = "--timeout=60s"


@pytest.fixture(scope="module")
def web(kubectl: Kubectl) -> Iterator[str]:
    """A Deployment of two pods that run."""
    kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2", "--port=80")
    kubectl("rollout", "status", "deployment/web", WAIT)
    yield "deployment/web"
    kubectl("delete", "deployment/web", "--now")


def template(kubectl: Kubectl, deployment: str) -> dict[str, Any]:
    spec: dict[str, Any] = kubectl.get(deployment)["spec"]["template"]["spec"]
    return spec


def test_set_changes_images_environment_resources_and_account(kubectl: Kubectl, web: str) -> None:
    kubectl("rollout", "pause", web)
    assert kubectl("set", "image", web, "web=web:2") == "deployment.apps/web image updated\n"
    assert kubectl("set", "env", web, "LEVEL=debug") == "deployment.apps/web env updated\n"
    assert kubectl("set", "env", web, "--list") == "# Deployment web, container web\nLEVEL=debug\n"
    limits = ("set", "resources", web, "--limits=cpu=200m,memory=64Mi", "--requests=cpu=0.1")
    assert kubectl(*limits) == "deployment.apps/web resource requirements updated\n"
    assert kubectl("set", "serviceaccount", web, "default") == "deployment.apps/web serviceaccount updated\n"
    spec = template(kubectl, web)
    assert spec["serviceAccountName"] == "default"
    (container,) = spec["containers"]
    assert container["image"] == "web:2"
    assert container["env"] == [{"name": "LEVEL", "value": "debug"}]
    assert container["resources"] == {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}
    kubectl("set", "env", web, "LEVEL-")
    assert "env" not in template(kubectl, web)["containers"][0]
    kubectl("rollout", "resume", web)
    assert "successfully rolled out" in kubectl("rollout", "status", web, WAIT)


def test_set_takes_environment_from_a_config_map(kubectl: Kubectl, web: str) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=colour=red")
    kubectl("set", "env", web, "--from=configmap/settings", "--prefix=APP_")
    listed = kubectl("set", "env", web, "--list", "--resolve")
    assert "APP_COLOUR=red" in listed.splitlines()
    kubectl("set", "env", web, "APP_COLOUR-")


def test_set_changes_selectors_and_subjects(kubectl: Kubectl) -> None:
    kubectl("create", "service", "clusterip", "chosen", "--tcp=80")
    assert kubectl("set", "selector", "service/chosen", "tier=front") == "service/chosen selector updated\n"
    assert kubectl.get("service/chosen")["spec"]["selector"] == {"tier": "front"}
    kubectl("create", "rolebinding", "readers", "--clusterrole=view", "--user=ann")
    changed = kubectl("set", "subject", "rolebinding", "readers", "--user=bob", "--serviceaccount=default:default")
    assert changed == "rolebinding.rbac.authorization.k8s.io/readers subjects updated\n"
    subjects = kubectl.get("rolebinding/readers")["subjects"]
    assert [(entry["kind"], entry["name"]) for entry in subjects] == [
        ("User", "ann"), ("User", "bob"), ("ServiceAccount", "default"),
    ]  # fmt: skip


def test_autoscale_makes_an_autoscaler_that_both_versions_read(kubectl: Kubectl, web: str) -> None:
    made = kubectl("autoscale", web, "--min=2", "--max=5", "--cpu-percent=80")
    assert made == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    newer = kubectl.get("horizontalpodautoscalers.v2.autoscaling", "web")["spec"]
    assert newer["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
    older = kubectl.get("horizontalpodautoscalers.v1.autoscaling", "web")["spec"]
    assert older == {
        "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 80,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
    }  # fmt: skip
    kubectl("wait", "--for=jsonpath={.status.currentReplicas}=2", "hpa/web", WAIT)
    name, target, metric, *rest = kubectl.rows("hpa", "web")[0]
    assert (name, target, metric) == ("web", "Deployment/web", "cpu:")
    assert rest[:4] == ["<unknown>/80%", "2", "5", "2"]
    described = kubectl("describe", "hpa", "web").splitlines()
    assert "Min replicas:                                          2" in described
    kubectl("delete", "hpa", "web")


def test_expose_makes_a_service_of_a_workloads_selector(kubectl: Kubectl, web: str) -> None:
    assert kubectl("expose", web, "--port=80", "--target-port=8080") == "service/web exposed\n"
    spec = kubectl.get("service/web")["spec"]
    assert spec["selector"] == {"app": "web"}
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(80, 8080)]
    pod = kubectl("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    assert kubectl("expose", pod, "--name=one", "--port=81", "--type=NodePort") == "service/one exposed\n"
    slices = ("endpointslice", "-l", "kubernetes.io/service-name=web")
    kubectl("wait", "--for=jsonpath={.endpoints[1].conditions.ready}=true", *slices, WAIT)
    kubectl("delete", "service", "web", "one")


def test_scale_changes_the_number_if_it_is_what_one_thinks(kubectl: Kubectl, web: str) -> None:
    assert kubectl("scale", web, "--replicas=3", "--current-replicas=2") == "deployment.apps/web scaled\n"
    kubectl("wait", web, "--for=jsonpath={.status.readyReplicas}=3", WAIT)
    assert "Expected replicas to be 7, was 3" in kubectl.fails("scale", web, "--replicas=1", "--current-replicas=7")
    kubectl("scale", web, "--replicas=2")
    kubectl("wait", web, "--for=jsonpath={.status.replicas}=2", WAIT)


def test_a_rollout_is_followed_paused_resumed_restarted_and_undone(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "site", "--image=site:1")
    kubectl("annotate", "deployment/site", "kubernetes.io/change-cause=first")
    kubectl("rollout", "status", "deployment/site", WAIT)
    assert kubectl("rollout", "pause", "deployment/site") == "deployment.apps/site paused\n"
    assert "already paused" in kubectl.fails("rollout", "pause", "deployment/site")
    kubectl("set", "image", "deployment/site", "site=site:2")
    assert kubectl("rollout", "resume", "deployment/site") == "deployment.apps/site resumed\n"
    kubectl("annotate", "deployment/site", "kubernetes.io/change-cause=second", "--overwrite")
    kubectl("rollout", "status", "deployment/site", WAIT)
    history = [line.split() for line in kubectl("rollout", "history", "deployment/site").splitlines()[2:] if line]
    assert history == [["1", "first"], ["2", "second"]]
    assert kubectl("rollout", "restart", "deployment/site") == "deployment.apps/site restarted\n"
    kubectl("rollout", "status", "deployment/site", WAIT)
    restarted = kubectl.get("deployment/site")["spec"]["template"]["metadata"]["annotations"]
    assert list(restarted) == ["kubectl.kubernetes.io/restartedAt"]
    undo = ("rollout", "undo", "deployment/site", "--to-revision=1")
    assert kubectl(*undo) == "deployment.apps/site rolled back\n"
    kubectl("rollout", "status", "deployment/site", WAIT)
    assert template(kubectl, "deployment/site")["containers"][0]["image"] == "site:1"
    complaint = kubectl.fails("rollout", "undo", "deployment/site", "--to-revision=9")
    assert "unable to find specified revision 9" in complaint
    kubectl("delete", "deployment/site")


def test_stateful_and_daemon_sets_are_rolled_out_and_undone(kubectl: Kubectl) -> None:
    labels = {"app": "numbered"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x:1"}]}}
    selector = {"matchLabels": labels}
    for kind, spec in (("StatefulSet", {"serviceName": "numbered"}), ("DaemonSet", {})):
        body = {
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "numbered"},
            "spec": {**spec, "selector": selector, "template": template},
        }  # fmt: skip
        kubectl("create", "-f", "-", stdin=json.dumps(body))
        name = f"{kind.lower()}/numbered"
        kubectl("rollout", "status", name, WAIT)
        kubectl("set", "image", name, "x=x:2")
        kubectl("rollout", "status", name, WAIT)
        pods = "jsonpath={.items[*].spec.containers[0].image}"
        assert kubectl("get", "pods", "-l", "app=numbered", "-o", pods) == "x:2"
        history = kubectl("rollout", "history", name).splitlines()
        assert [line.split() for line in history[2:] if line] == [["1", "<none>"], ["2", "<none>"]]
        assert "x:1" in kubectl("rollout", "history", name, "--revision=1")
        assert kubectl("rollout", "undo", name) == f"{kind.lower()}.apps/numbered rolled back\n"
        kubectl("rollout", "status", name, WAIT)
        assert kubectl("get", "pods", "-l", "app=numbered", "-o", pods) == "x:1"
        kubectl("delete", name, "--cascade=foreground", WAIT)


def test_jobs_are_waited_for_and_cron_jobs_triggered_and_suspended(kubectl: Kubectl) -> None:
    kubectl("create", "cronjob", "nightly", "--image=x", "--schedule=0 3 * * *", "--", "true")
    kubectl("create", "job", "tonight", "--from=cronjob/nightly")
    assert kubectl("wait", "job/tonight", "--for=condition=Complete", WAIT) == "job.batch/tonight condition met\n"
    assert kubectl.rows("job", "tonight")[0][:3] == ["tonight", "Complete", "1/1"]
    kubectl("create", "job", "hopeless", "--image=x", "--", "false")
    kubectl("patch", "job", "hopeless", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
    kubectl("wait", "job/hopeless", "--for=condition=Failed", WAIT)
    assert kubectl.rows("job", "hopeless")[0][:3] == ["hopeless", "Failed", "0/1"]
    kubectl("patch", "cronjob", "nightly", "-p", '{"spec":{"suspend":true}}')
    name, *schedule, zone, suspended, active, last, _ = kubectl.rows("cronjob", "nightly")[0]
    assert (name, schedule, zone, suspended, active, last) == (
        "nightly", ["0", "3", "*", "*", "*"], "<none>", "True", "0", "<none>",
    )  # fmt: skip
    kubectl("delete", "cronjob,job", "--all", WAIT)


def test_a_rollout_that_does_not_come_up_is_seen_to_wait(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "stuck", "--image=broken:1")
    done = kubectl.run("rollout", "status", "deployment/stuck", "--timeout=1s")
    assert done.returncode == 1
    assert 'Waiting for deployment "stuck" rollout to finish: 0 of 1 updated replicas are available...' in done.stdout
    assert "timed out waiting for the condition" in done.stderr
    kubectl("delete", "deployment/stuck")


def test_wait_sees_creation_conditions_values_and_deletion(kubectl: Kubectl) -> None:
    with kubectl.background("wait", "--for=create", "pod/late", WAIT) as waiting:
        kubectl("run", "late", "--image=late:1", "--labels=app=late")
        out, _ = waiting.communicate(timeout=60)
        assert (waiting.returncode, out) == (0, "pod/late condition met\n")
    assert kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=late", WAIT) == "pod/late condition met\n"
    assert kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/late", WAIT) == "pod/late condition met\n"
    assert kubectl("wait", "--for=jsonpath={.status.podIP}", "pod/late", WAIT) == "pod/late condition met\n"
    with kubectl.background("wait", "--for=delete", "pod/late", WAIT) as waiting:
        assert kubectl("delete", "pod", "late", "--now") == 'pod "late" deleted\n'
        out, _ = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, out
    assert "no matching resources found" in kubectl.fails("wait", "--for=condition=Ready", "pod", "-l", "app=late")


def test_a_pod_that_ends_is_waited_for_and_shown_as_completed(kubectl: Kubectl) -> None:
    kubectl("run", "short", "--image=short:1", "--restart=Never", "--command", "--", "true")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/short", WAIT)
    assert kubectl.rows("pod", "short")[0][:4] == ["short", "0/1", "Completed", "0"]
    assert kubectl("get", "pods", "--field-selector=status.phase=Succeeded", "-o", "name") == "pod/short\n"
    kubectl("delete", "pods", "--field-selector=status.phase=Succeeded")


def test_a_pod_is_debugged_by_another_container_or_a_copy(kubectl: Kubectl) -> None:
    kubectl("run", "sick", "--image=sick:1")
    kubectl("wait", "--for=condition=Ready", "pod/sick", WAIT)
    kubectl("debug", "pod/sick", "--image=tools:1", "-c", "tools", "--attach=false", "--profile=general")
    (added,) = kubectl.get("pod/sick")["spec"]["ephemeralContainers"]
    assert (added["name"], added["image"], added["securityContext"]) == (
        "tools", "tools:1", {"capabilities": {"add": ["SYS_PTRACE"]}},
    )  # fmt: skip
    copied = ("--copy-to=copy", "--set-image=sick=sick:debug", "--attach=false", "--profile=general")
    kubectl("debug", "pod/sick", *copied)
    assert [container["image"] for container in kubectl.get("pod/copy")["spec"]["containers"]] == ["sick:debug"]
    kubectl("delete", "pod", "sick", "copy", "--now")


def test_delete_lets_go_of_or_takes_along_what_it_owns(kubectl: Kubectl) -> None:
    for cascade, left in (("orphan", True), ("background", False), ("foreground", False)):
        name = f"owner-{cascade}"
        kubectl("create", "deployment", name, "--image=x:1")
        kubectl("rollout", "status", f"deployment/{name}", WAIT)
        answer = kubectl("delete", "deployment", name, f"--cascade={cascade}")
        assert answer == f'deployment.apps "{name}" deleted\n'
        if left:
            (replicas,) = kubectl.get("rs", "-l", f"app={name}")
            kubectl("wait", f"rs/{replicas['metadata']['name']}", "--for=jsonpath={.status.readyReplicas}=1", WAIT)
            kubectl("delete", "rs", "-l", f"app={name}")
        if cascade != "foreground":
            kubectl("wait", "--for=delete", "pod,rs", "-l", f"app={name}", WAIT)
        assert kubectl("get", "rs,pods", "-l", f"app={name}", "-o", "name") == ""


def test_delete_takes_what_is_named_selected_or_all(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "swept")
    sweep = ("-n", "swept", "delete", "configmap")
    for name in ("a", "b", "c", "d", "e"):
        kubectl("-n", "swept", "create", "configmap", name)
    kubectl("-n", "swept", "label", "configmap", "b", "c", "heap=yes")
    assert kubectl(*sweep, "a", "--wait=false") == 'configmap "a" deleted\n'
    assert kubectl(*sweep, "-l", "heap=yes").splitlines() == ['configmap "b" deleted', 'configmap "c" deleted']
    assert kubectl(*sweep, "d", "--dry-run=server") == 'configmap "d" deleted (server dry run)\n'
    assert '"nothing" not found' in kubectl.fails(*sweep, "nothing")
    assert kubectl(*sweep, "nothing", "--ignore-not-found") == ""
    deleted = kubectl(*sweep, "--all").splitlines()
    assert deleted[:2] == ['configmap "d" deleted', 'configmap "e" deleted']
    assert kubectl("delete", "namespace", "swept", WAIT) == 'namespace "swept" deleted\n'
    assert "NotFound" in kubectl.fails("get", "namespace", "swept")


def test_delete_waits_for_finalizers_and_forces_at_once(kubectl: Kubectl) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "held", "finalizers": ["example.com/hold"]},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "x", "image": "x"}]},
    }  # fmt: skip
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    done = kubectl.run("delete", "pod", "held", "--timeout=1s")
    assert (done.returncode, done.stdout) == (1, 'pod "held" deleted\n')
    assert "timed out waiting for the condition on pods/held" in done.stderr
    assert kubectl.rows("pod", "held")[0][2] == "Terminating"
    kubectl("patch", "pod", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "--for=delete", "pod/held", WAIT)
    kubectl("run", "broken", "--image=broken:1")
    forced = kubectl("delete", "pod", "broken", "--force", "--grace-period=0")
    assert 'pod "broken" force deleted' in forced.splitlines()
