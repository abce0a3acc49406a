"""What people do with kubectl, command by command, with its output checked."""

import json
import re
import subprocess
import time
from collections.abc import Iterator

import pexpect
import pytest

from tests.e2e.clusters import POD_SECONDS, Cluster, eventually

pytestmark = pytest.mark.vm

TENANT = "kubectl"
BUSYBOX = "127.0.0.1:5000/busybox"
WAIT = f"--timeout={POD_SECONDS:.0f}s"

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: talker, labels: {{app: talker}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {BUSYBOX}
    command: [sh, -c, "i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done"]
    env: [{{name: WORD, value: hello}}]
"""
DEPLOYMENT = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: site, labels: {{app: site}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: site}}}}
  template:
    metadata: {{labels: {{app: site}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: {BUSYBOX}, command: [sleep, 1d]}}]
"""


class Kubectl:
    """kubectl in one namespace of one tenant."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def __call__(self, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
        return self.cluster.kubectl(
            TENANT, "-n", self.namespace, *arguments, stdin=stdin, env=env, timeout=POD_SECONDS + 30
        )

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.cluster.try_kubectl(TENANT, "-n", self.namespace, *arguments, stdin=stdin)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def argv(self, *arguments: str) -> list[str]:
        return self.cluster.kubectl_argv(TENANT, "-n", self.namespace, *arguments)


@pytest.fixture(scope="module")
def kubectl(shared_cluster: Cluster) -> Iterator[Kubectl]:
    """A tenant of this module's own, with one namespace."""
    shared_cluster.create_tenant(TENANT)
    kubectl = Kubectl(shared_cluster, "default")
    kubectl("create", "namespace", "try")
    kubectl.namespace = "try"
    # Controllers make it; where they were just killed, the next leader does. As upstream, no pod before that.
    kubectl("wait", "--for=create", "serviceaccount/default", WAIT)
    yield kubectl
    kubectl("delete", "namespace", "try", "--wait=true")


@pytest.fixture(scope="module")
def talker(kubectl: Kubectl) -> str:
    """A pod that writes a line a second."""
    assert kubectl("create", "-f", "-", stdin=POD) == "pod/talker created\n"
    assert kubectl("wait", "--for=condition=Ready", "pod/talker", WAIT) == "pod/talker condition met\n"
    return "talker"


@pytest.fixture(scope="module")
def site(kubectl: Kubectl) -> str:
    """A Deployment."""
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/site created\n"
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/site", WAIT)
    return "site"


def test_get_prints_the_columns_people_know(kubectl: Kubectl, talker: str):
    header, row = kubectl("get", "pods", talker).splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["talker", "1/1", "Running", "0"]


def test_get_wide_shows_address_and_node(kubectl: Kubectl, talker: str):
    header, row = kubectl("get", "pods", talker, "-o", "wide").splitlines()
    assert header.split()[5:7] == ["IP", "NODE"]
    assert row.split()[5].startswith("10.0.0.")


def test_get_yaml_and_json_are_the_object(kubectl: Kubectl, talker: str):
    assert json.loads(kubectl("get", "pod", talker, "-o", "json"))["status"]["phase"] == "Running"
    text = kubectl("get", "pod", talker, "-o", "yaml")
    assert text.startswith("apiVersion: v1\nkind: Pod\nmetadata:\n")
    assert "phase: Running" in text


def test_get_jsonpath_and_selectors(kubectl: Kubectl, talker: str):
    path = "jsonpath={.items[*].metadata.name}"
    assert kubectl("get", "pods", "-l", "app=talker", "-o", path) == "talker"
    assert kubectl("get", "pods", "-l", "app=nobody", "-o", path) == ""
    assert kubectl("get", "pods", "--field-selector", "metadata.name=talker", "-o", path) == "talker"


def test_get_watch_tells_of_what_happens(kubectl: Kubectl):
    kubectl("create", "configmap", "watched", "--from-literal=a=1")
    argv = kubectl.argv("get", "configmaps", "--watch", "--output-watch-events", "--no-headers")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None

        def next_of(name: str) -> list[str]:
            while True:
                words = watching.stdout.readline().split()  # type: ignore[union-attr]
                assert words, "the watch ended"
                if words[1] == name:
                    return words[:3]

        try:
            assert next_of("watched") == ["ADDED", "watched", "1"]
            kubectl("patch", "configmap", "watched", "-p", '{"data":{"b":"2"}}')
            assert next_of("watched") == ["MODIFIED", "watched", "2"]
            kubectl("delete", "configmap", "watched")
            assert next_of("watched") == ["DELETED", "watched", "2"]
        finally:
            watching.kill()


def test_describe_tells_the_story_of_a_pod(kubectl: Kubectl, talker: str):
    text = kubectl("describe", "pod", talker)
    for line in ("Name:             talker", "Status:           Running", "WORD:  hello"):
        assert line in text
    assert re.search(r"^  Ready +True", text, re.MULTILINE)
    for reason in ("Scheduled", "Pulled", "Started"):
        assert reason in text, f"no event {reason}"


def test_logs_from_the_beginning_and_the_end(kubectl: Kubectl, talker: str):
    eventually(
        lambda: kubectl("logs", talker).startswith("line 0\nline 1\nline 2\n"), within=60, why="lines are missing"
    )
    assert len(kubectl("logs", talker, "--tail=2").splitlines()) == 2
    eventually(lambda: len(kubectl("logs", talker).splitlines()) > 8, within=60, why="it fell silent")
    recent, everything = kubectl("logs", talker, "--since=2s").splitlines(), kubectl("logs", talker).splitlines()
    assert set(recent) < set(everything)
    assert "line 0" not in recent
    stamped = kubectl("logs", talker, "--timestamps", "--tail=1").split()
    assert stamped[0].endswith("Z")
    assert stamped[1] == "line"


def test_logs_follow_as_they_are_written(kubectl: Kubectl, talker: str):
    argv = kubectl.argv("logs", talker, "-f", "--tail=1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        try:
            first = int(following.stdout.readline().split()[1])
            assert [following.stdout.readline() for _ in range(3)] == [f"line {first + n}\n" for n in (1, 2, 3)]
        finally:
            following.kill()


def test_top_tells_what_a_pod_uses(kubectl: Kubectl, talker: str):
    def told() -> str:
        done = kubectl.cluster.try_kubectl(TENANT, "-n", kubectl.namespace, "top", "pod", talker, "--containers")
        return done.stdout if done.returncode == 0 else ""

    # Two samples, 15 s apart, and what the API server remembers for 10 s.
    row = eventually(told, within=POD_SECONDS, why="no metrics", every=1.0).splitlines()[1].split()
    assert row[:2] == [talker, "main"]
    cores, memory = re.fullmatch(r"(\d+)m", row[2]), re.fullmatch(r"(\d+)Mi", row[3])
    assert cores is not None
    assert memory is not None
    assert int(cores[1]) < 1000
    assert int(memory[1]) < 64


def test_a_node_tells_its_provider_what_kubelets_tell(kubectl: Kubectl, talker: str):
    cluster = kubectl.cluster
    (node,) = cluster.get("system", "nodes")["items"]
    base = f"/api/v1/nodes/{node['metadata']['name']}/proxy"

    def raw(path: str) -> str:
        return cluster.kubectl("system", "get", "--raw", base + path)

    pod = f'tenant="{TENANT}"'
    eventually(lambda: pod in raw("/metrics/resource"), within=POD_SECONDS, why="its metrics", every=1.0)
    series = next(line for line in raw("/metrics/resource").splitlines() if pod in line)
    assert 'container="main"' in series
    assert pod in raw("/metrics/cadvisor")
    assert "kubelet_running_pods" in raw("/metrics")
    assert talker in [each["metadata"]["name"] for each in json.loads(raw("/pods"))["items"]]
    assert json.loads(raw("/configz"))["kubeletconfig"]["maxPods"] > 0
    eventually(lambda: f'"{talker}"' in raw("/stats/summary"), within=POD_SECONDS, why="its summary", every=1.0)
    assert kubectl.fails("get", "--raw", f"{base}/pods")  # a tenant


def test_exec_gives_output_and_exit_code(kubectl: Kubectl, talker: str):
    assert kubectl("exec", talker, "--", "sh", "-c", "echo $WORD; hostname") == "hello\ntalker\n"
    assert "exit code 7" in kubectl.fails("exec", talker, "--", "sh", "-c", "exit 7")
    assert kubectl("exec", "-i", talker, "--", "wc", "-c", stdin="x" * 100_000).strip() == "100000"
    assert "no-such-command" in kubectl.fails("exec", talker, "--", "no-such-command")


def test_exec_with_a_terminal_follows_its_size(kubectl: Kubectl, talker: str):
    argv = kubectl.argv("exec", "-it", talker, "--", "sh")
    shell = pexpect.spawn(argv[0], argv[1:], timeout=60, dimensions=(24, 80), encoding="utf-8")
    try:
        shell.expect("[#$] ")
        shell.sendline("tty && echo $((6*7))")
        shell.expect("/dev/.*42")
        shell.setwinsize(33, 111)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            shell.sendline("stty size")
            if shell.expect(["33 111", r"\d+ \d+"]) == 0:
                break
        else:
            pytest.fail("the terminal never learned its new size")
        shell.sendline("exit 3")
        shell.expect(pexpect.EOF)
    finally:
        shell.close()
    assert shell.exitstatus == 3


def test_apply_changes_what_changed_and_nothing_else(kubectl: Kubectl, site: str):
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/site unchanged\n"
    changed = DEPLOYMENT.replace("labels: {app: site}}\nspec", "labels: {app: site, tier: front}}\nspec")
    assert kubectl("apply", "-f", "-", stdin=changed) == "deployment.apps/site configured\n"
    assert kubectl("get", "deployment", site, "-o", "jsonpath={.metadata.labels.tier}") == "front"
    assert kubectl("diff", "-f", "-", stdin=changed) == ""


def test_patch_in_all_three_forms(kubectl: Kubectl, site: str):
    forms = {
        "json": '[{"op":"add","path":"/metadata/annotations/a","value":"json"}]',
        "merge": '{"metadata":{"annotations":{"a":"merge"}}}',
        "strategic": '{"metadata":{"annotations":{"a":"strategic"}}}',
    }
    for form, body in forms.items():
        assert kubectl("patch", "deployment", site, f"--type={form}", "-p", body) == "deployment.apps/site patched\n"
        assert kubectl("get", "deployment", site, "-o", "jsonpath={.metadata.annotations.a}") == form


def test_label_and_annotate(kubectl: Kubectl, site: str):
    assert kubectl("label", "deployment", site, "colour=red") == "deployment.apps/site labeled\n"
    assert kubectl("annotate", "deployment", site, "note=x") == "deployment.apps/site annotated\n"
    assert kubectl("get", "deployments", "-l", "colour=red", "-o", "name") == "deployment.apps/site\n"


def test_edit_writes_what_the_editor_wrote(kubectl: Kubectl):
    kubectl("create", "configmap", "edited", "--from-literal=word=before")
    answer = kubectl("edit", "configmap", "edited", env={"KUBE_EDITOR": "sed -i s/before/after/"})
    assert answer == "configmap/edited edited\n"
    assert kubectl("get", "configmap", "edited", "-o", "jsonpath={.data.word}") == "after"


def test_scale_up_and_down(kubectl: Kubectl, site: str):
    assert kubectl("scale", "deployment", site, "--replicas=2") == "deployment.apps/site scaled\n"
    kubectl("rollout", "status", "deployment/site", WAIT)
    assert kubectl("get", "deployment", site, "--no-headers").split()[1] == "2/2"
    kubectl("scale", "deployment", site, "--replicas=1")
    kubectl("wait", "deployment/site", "--for=jsonpath={.status.replicas}=1", WAIT)


def test_rollout_forth_and_back(kubectl: Kubectl, site: str):
    assert kubectl("set", "env", "deployment/site", "V=2") == "deployment.apps/site env updated\n"
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/site", WAIT)
    history = [line.split()[0] for line in kubectl("rollout", "history", "deployment/site").splitlines()[2:] if line]
    assert history == ["1", "2"]
    assert kubectl("rollout", "undo", "deployment/site") == "deployment.apps/site rolled back\n"
    kubectl("rollout", "status", "deployment/site", WAIT)
    assert kubectl("get", "deployment", site, "-o", "jsonpath={..containers[0].env}") == ""
    assert kubectl("rollout", "restart", "deployment/site") == "deployment.apps/site restarted\n"
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/site", WAIT)


def test_expose_makes_a_service(kubectl: Kubectl, site: str):
    assert kubectl("expose", "deployment", site, "--port=80") == "service/site exposed\n"
    header, row = kubectl("get", "service", site).splitlines()
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row.split()[1] == "ClusterIP"
    assert row.split()[2].startswith("10.254.")
    eventually(
        lambda: ":80" in kubectl("get", "endpoints", site, "--no-headers"), within=60, why="no endpoints were made"
    )


def test_delete_waits_until_it_is_gone(kubectl: Kubectl):
    kubectl("run", "short", f"--image={BUSYBOX}", "--restart=Never", "--", "sleep", "1d")
    kubectl("wait", "--for=condition=Ready", "pod/short", WAIT)
    assert 'pod "short" deleted' in kubectl("delete", "pod", "short", "--grace-period=1")
    assert 'pods "short" not found' in kubectl.fails("get", "pod", "short")
    assert kubectl("delete", "pod", "short", "--ignore-not-found") == ""


def test_discovery_and_explain(kubectl: Kubectl):
    kinds = {line.split()[-1] for line in kubectl("api-resources", "--no-headers").splitlines()}
    assert {"Pod", "Deployment", "Service", "Network", "Namespace"} <= kinds
    assert "apps/v1" in kubectl("api-versions").split()
    assert "replicas" in kubectl("explain", "deployment.spec")
    assert "Server Version" in kubectl("version")


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ("apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n", 'no matches for kind "Nonsense"'),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n", 'Invalid value: "Bad_Name"'),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: [1]\n", "data"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {}\n", "spec.containers"),
        ("a: b: c\n", "yaml"),
    ],
)
def test_bad_input_is_refused_with_a_reason(kubectl: Kubectl, manifest: str, complaint: str):
    assert complaint.lower() in kubectl.fails("create", "-f", "-", stdin=manifest).lower()
