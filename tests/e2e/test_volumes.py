"""Claims as their users know them: a disk that survives its pods, grows, is copied, and never has two writers."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from hypernetes.cli import leftovers
from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually
from tests.e2e.tenants import NAMESPACE, Tenant

pytestmark = pytest.mark.vm


def claim(name: str, size: str = "64Mi", **spec: Any) -> dict[str, Any]:
    """Of the default class, which `hn up` has made."""
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec},
    }  # fmt: skip


# Says a number only once it is on the volume.
LOGGER = (
    "i=$(tail -n 1 /data/log 2>/dev/null || echo 0); i=$((${i:-0})); while true; do i=$((i+1));"
    " echo $i | dd of=/data/log oflag=append conv=notrunc,fsync 2>/dev/null && echo $i; sleep 0.05; done"
)


def pod(name: str, of: str, script: str = "sleep 100000", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main", "image": f"{REGISTRY}/busybox", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": of}}], **spec,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def piper(shared_cluster: Cluster) -> Tenant:
    tenant = Tenant(shared_cluster, "piper", "")
    shared_cluster.create_tenant(tenant.name)
    tenant.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return tenant


@pytest.fixture
def disk(piper: Tenant) -> Iterator[str]:
    piper.create(claim("disk"))
    yield "disk"
    piper.kubectl("delete", "pods", "--all", "--wait=true", timeout=POD_SECONDS)
    piper.kubectl("delete", "pvc", "--all", "--wait=true", timeout=POD_SECONDS)
    nothing_left(piper)


def nothing_left(tenant: Tenant) -> None:
    def left() -> list[Any]:
        kinds = ("persistentvolumes", "volumeattachments", "nodevolumes")
        cluster = tenant.cluster
        found: list[Any] = []
        for kind in kinds:
            listed = cluster.kubectl("system", "get", "--raw", f"/tenants/{tenant.name}/{PATHS[kind]}")
            found += [(kind, each["metadata"]["name"]) for each in json.loads(listed)["items"]]
        storage = list(cluster.directory.glob("**/local.hypernetes.io/*.img"))
        return [*found, *storage, *storage_processes(cluster)]

    eventually(lambda: not left(), within=POD_SECONDS, why=f"nothing of {tenant.name}'s volumes to be left")


PATHS = {
    "persistentvolumes": "api/v1/persistentvolumes",
    "volumeattachments": "apis/storage.k8s.io/v1/volumeattachments",
    "nodevolumes": "apis/hypernetes.io/v1/nodevolumes",
}


def storage_processes(cluster: Cluster) -> list[int]:
    found = leftovers.storage_processes(cluster.layout.load(), list(leftovers.running_processes()))
    return [process.pid for process in found]


def running(tenant: Tenant, name: str) -> None:
    tenant.kubectl(
        "wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={POD_SECONDS:.0f}s", timeout=POD_SECONDS + 10
    )


def sh(tenant: Tenant, name: str, script: str) -> str:
    return tenant.kubectl("exec", name, "--", "sh", "-c", script)


def said(tenant: Tenant, name: str) -> int:
    """The last number that the logger said; 0 while nobody can say."""
    asked = ("--namespace", NAMESPACE, "logs", name, "--tail=1")
    words = tenant.cluster.try_kubectl(tenant.name, *asked).stdout.split()
    return int(words[-1]) if words and words[-1].isdecimal() else 0


def events(tenant: Tenant, name: str) -> str:
    return tenant.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "wide")


def test_what_is_acknowledged_survives_everything_that_dies(piper: Tenant, disk: str) -> None:
    cluster = piper.cluster
    piper.create(pod("writer", disk, LOGGER))
    running(piper, "writer")

    def more(than: int) -> int:
        eventually(lambda: said(piper, "writer") > than, within=POD_SECONDS, why="the writer to go on")
        return said(piper, "writer")

    seen = more(3)
    (storage,) = storage_processes(cluster)
    os.kill(storage, signal.SIGKILL)
    seen = more(seen + 3)
    agent = next(pid for name, pid in cluster.control_pids().items() if name.startswith("hn-agent"))
    os.kill(agent, signal.SIGKILL)
    os.kill(storage_processes(cluster)[0], signal.SIGKILL)  # while nobody is there to start it again
    seen = more(seen + 3)
    machine = cluster.machine_pids()[piper.get("pod", "writer")["metadata"]["uid"]]
    os.kill(machine, signal.SIGKILL)
    eventually(lambda: said(piper, "writer") > seen, within=POD_SECONDS, why="the writer to come back")
    seen = said(piper, "writer")
    piper.kubectl("delete", "pod", "writer")
    piper.create(pod("reader", disk))
    running(piper, "reader")
    lines = [int(line) for line in sh(piper, "reader", "cat /data/log").split()]
    assert lines[:seen] == list(range(1, seen + 1))


def test_a_volume_grows_under_its_pod(piper: Tenant, disk: str) -> None:
    piper.create(pod("grower", disk))
    running(piper, "grower")
    before = int(sh(piper, "grower", "df -k /data | tail -n 1").split()[1])
    larger = json.dumps({"spec": {"resources": {"requests": {"storage": "128Mi"}}}})
    piper.kubectl("patch", "pvc", disk, "-p", larger)

    def grown() -> bool:
        return bool(piper.get("pvc", disk)["status"]["capacity"]["storage"] == "128Mi")

    eventually(grown, within=POD_SECONDS, why="the claim to have grown")
    assert int(sh(piper, "grower", "df -k /data | tail -n 1").split()[1]) > 1.7 * before


def test_a_second_pod_waits_for_the_first(piper: Tenant, disk: str) -> None:
    piper.create(pod("first", disk))
    running(piper, "first")
    piper.create(pod("second", disk))
    eventually(lambda: "in use by another pod" in events(piper, "second"), within=POD_SECONDS, why="an Event to say so")
    assert piper.get("pod", "second")["status"]["phase"] == "Pending"
    piper.kubectl("delete", "pod", "first")
    running(piper, "second")


def test_a_claim_that_is_not_there_is_named_in_an_event(piper: Tenant, disk: str) -> None:
    piper.create(pod("hopeful", "never"))
    eventually(lambda: '"never" not found' in events(piper, "hopeful"), within=POD_SECONDS, why="an Event to say so")


def test_a_device_is_given_as_one(piper: Tenant, disk: str) -> None:
    piper.create(claim("raw", volumeMode="Block"))
    made = pod("blocky", "raw")
    (container,) = made["spec"]["containers"]
    del container["volumeMounts"]
    container["volumeDevices"] = [{"name": "data", "devicePath": "/dev/disk"}]
    piper.create(made)
    running(piper, "blocky")
    size = sh(
        piper, "blocky", "echo there | dd of=/dev/disk conv=fsync 2>/dev/null; head -c 5 /dev/disk; wc -c < /dev/disk"
    )
    assert size.split() == [f"there{64 << 20}"] or size.split() == ["there", str(64 << 20)]
