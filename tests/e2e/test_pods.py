"""A pod's life as its owner sees it: the API from inside, ends of all kinds, hooks, and what describe tells."""

import subprocess
from typing import Any

import pytest

from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually
from tests.e2e.tenants import NAMESPACE, Tenant, container

pytestmark = pytest.mark.vm

DOCUMENT_BYTES = 100_000
# Neither http.client nor json is in the image; HTTP/1.0 has no chunks.
ASK_THE_API = """
import socket, ssl
directory = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=directory + "ca.crt")
token = open(directory + "token").read()
def get(host, path):
    with context.wrap_socket(socket.create_connection((host, 443), 60), server_hostname=host) as stream:
        stream.sendall(f"GET {path} HTTP/1.0\\r\\nHost: {host}\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n".encode())
        head, _, body = b"".join(iter(lambda: stream.recv(65536), b"")).partition(b"\\r\\n\\r\\n")
    return head.split()[1].decode(), body
for host in ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.254.0.1"):
    status, body = get(host if "." in host else host + ".default", "/version")
    print(host, status, b"gitVersion" in body)
status, body = get("kubernetes.default.svc", "/openapi/v2")
print("document", status, len(body) if body.endswith(b"}") else 0)
"""


@pytest.fixture(scope="module")
def hooli(shared_cluster: Cluster) -> Tenant:
    tenant = Tenant(shared_cluster, "hooli", "")
    shared_cluster.create_tenant(tenant.name)
    tenant.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return tenant


def test_a_pod_asks_the_api_with_its_token_and_verifies_its_certificate(hooli: Tenant) -> None:
    asker: dict[str, Any] = {
        "name": "main",
        "image": f"{REGISTRY}/echo",
        "command": ["/usr/bin/python3.11", "-I", "-S", "-c", ASK_THE_API],
    }
    with hooli.pod("asker", restart_policy="Never", containers=[asker]):
        ended = hooli.wait_phase("asker", "Succeeded", "Failed")
        told = hooli.kubectl("logs", "asker")
        assert ended["status"]["phase"] == "Succeeded", told
        for host in ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.254.0.1"):
            assert f"{host} 200 True\n" in told
        word, status, count = told.splitlines()[-1].split()
        assert (word, status) == ("document", "200")
        assert int(count) > DOCUMENT_BYTES


def test_the_first_pods_machine_is_a_clone_already(shared_cluster: Cluster) -> None:
    """Of the template that hn-agent made as it started."""
    (log,) = shared_cluster.layout.logs.glob("hn-agent-*.log")
    eventually(lambda: "template" in log.read_text(), within=POD_SECONDS, why="a template to be made")
    lines = log.read_text().splitlines()
    made = next(number for number, line in enumerate(lines) if "a template is ready" in line)
    assert "memory_mib=192, cpus=1, nic=True" in lines[made]
    assert not [line for line in lines[:made] if "boot cold" in line]


def test_a_pod_that_completes_keeps_its_log_and_gives_back_address_and_machine(hooli: Tenant) -> None:
    with hooli.pod("job", restart_policy="OnFailure", containers=[container("echo done; test -e /tmp/no || exit 0")]):
        ended = hooli.wait_phase("job", "Succeeded")
        state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (state["exitCode"], state["reason"]) == (0, "Completed")
        uid = ended["metadata"]["uid"]
        eventually(lambda: uid not in hooli.cluster.machine_pids(), within=60, why="its machine to be gone")

        def has_port() -> bool:
            return any((port["spec"].get("podRef") or {}).get("uid") == uid for port in hooli.get("ports")["items"])

        eventually(lambda: not has_port(), within=60, why="its address to be free")
        assert hooli.kubectl("logs", "job") == "done\n"


def test_a_pod_on_failure_is_tried_again_until_it_succeeds_and_the_last_log_is_kept(hooli: Tenant) -> None:
    # A volume outlives the container's own files.
    script = "echo try; test -e /keep/seen && exit 0; touch /keep/seen; exit 7"
    made = {**container(script), "volumeMounts": [{"name": "keep", "mountPath": "/keep"}]}
    volumes = [{"name": "keep", "emptyDir": {}}]
    with hooli.pod("again", restart_policy="OnFailure", containers=[made], volumes=volumes):
        ended = hooli.wait_phase("again", "Succeeded", "Failed")
        status = ended["status"]["containerStatuses"][0]
        assert (ended["status"]["phase"], status["restartCount"]) == ("Succeeded", 1)
        assert status["lastState"]["terminated"]["exitCode"] == 7
        assert hooli.kubectl("logs", "again", "--previous") == "try\n"


def test_attach_shows_what_a_container_says_from_now_on_and_describe_tells_its_start(hooli: Tenant) -> None:
    def in_namespace(*arguments: str) -> list[str]:
        return hooli.cluster.kubectl_argv(hooli.name, "--namespace", NAMESPACE, *arguments)

    talk = container("while true; do echo tick; sleep 1; done")
    pre_stop = {"preStop": {"exec": {"command": ["sh", "-c", "echo farewell > /proc/1/fd/1; sleep 1"]}}}
    with hooli.pod("talker", containers=[{**talk, "lifecycle": pre_stop}]):
        hooli.wait_phase("talker", "Running")
        argv = in_namespace("attach", "talker")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as attached:
            assert attached.stdout is not None
            assert {attached.stdout.readline() for _ in range(3)} == {"tick\n"}
            attached.kill()
        describe = hooli.kubectl("describe", "pod", "talker")
        events = describe.partition("Events:")[2]
        reasons = [line.split()[1] for line in events.splitlines() if line.strip().startswith(("Normal", "Warning"))]
        told = [reason for reason in reasons if reason != "Pulling"]
        assert told == ["Scheduled", "MachineSized", "Pulled", "Created", "Started"]
        assert "Container created" in events
        assert "Container started" in events
        argv = hooli.cluster.kubectl_argv(
            hooli.name, "--namespace", NAMESPACE, "logs", "--follow", "--tail=1", "talker"
        )
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "tick\n"
            hooli.kubectl("delete", "pod", "talker", "--grace-period=30", "--wait=true", timeout=POD_SECONDS)
            assert "farewell\n" in following.stdout.read()
        hooli.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker"}, "spec": {"containers": [talk]}}
        )


def test_a_pod_is_debugged_and_resized_while_it_runs(hooli: Tenant) -> None:
    talk = container("while true; do echo tick; sleep 1; done")
    with hooli.pod("patient", containers=[talk]):
        hooli.wait_phase("patient", "Running")
        script = "ps; echo looked"
        hooli.kubectl(
            "debug", "patient", f"--image={REGISTRY}/busybox", "--target=main", "--container=doctor", "--attach=false",
            "--quiet", "--", "sh", "-c", script,
        )  # fmt: skip
        eventually(
            lambda: "looked" in hooli.kubectl("logs", "patient", "-c", "doctor"), within=POD_SECONDS, why="the doctor"
        )
        assert "echo tick" in hooli.kubectl("logs", "patient", "-c", "doctor")

        patch = '{"spec":{"containers":[{"name":"main","resources":{"limits":{"memory":"48Mi"}}}]}}'
        hooli.kubectl("patch", "pod", "patient", "--subresource=resize", "--patch", patch)

        def limit() -> str:
            return hooli.kubectl("exec", "patient", "-c", "main", "--", "cat", "/sys/fs/cgroup/memory.max").strip()

        eventually(lambda: limit() == str(48 << 20), within=60, why="the limit to move")

        def told() -> bool:
            status = hooli.get("pod", "patient")["status"]["containerStatuses"][0]
            return bool(status["resources"]["limits"]["memory"] == "48Mi" and status["restartCount"] == 0)

        eventually(told, within=60, why="the status to tell of the new limit")
