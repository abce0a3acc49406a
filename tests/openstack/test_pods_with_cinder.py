"""Pods of a whole cluster, whose tenant is a Keystone project, with volumes of Cinder's in their machines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypernetes.providers.volume.cinder.configuration import DRIVER
from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually, free_port
from tests.e2e.conftest import registry as registry
from tests.e2e.tenants import NAMESPACE, Tenant
from tests.openstack.cephs import Ceph
from tests.openstack.cinders import CONTROL_USER, Cinder
from tests.openstack.daemons import run, until
from tests.openstack.leftovers import Leftovers

pytestmark = pytest.mark.vm


class CinderCluster(Cluster):
    """`hn up` with a volume configuration beside its directory."""

    def up_arguments(self) -> list[str]:
        return [*super().up_arguments(), "--volume-config", str(self.directory.parent / "volumes.yaml")]


@pytest.fixture(scope="module")
def tenant(cinder: Cinder, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    directory = tmp_path_factory.mktemp("cinder-cluster")
    section = {"cloud": "volumes", "clouds": str(cinder.clouds(directory)), "ceph": cinder.section(CONTROL_USER)}
    (directory / "volumes.yaml").write_text(yaml.safe_dump({DRIVER: section}))
    cluster = CinderCluster(directory / "data", free_port())
    project = cinder.keystone.project("pods", paula="member")
    try:
        cluster.up()
        wanted = {
            "apiVersion": "hypernetes.io/v1", "kind": "Tenant", "metadata": {"name": "pods"},
            "spec": {"identity": {"keystone": {"projectID": project}}},
        }  # fmt: skip
        cluster.kubectl("system", "apply", "-f", "-", stdin=json.dumps(wanted))
        cluster.hn("tenant", "kubeconfig", "pods", "--dir", str(cluster.directory))
        made = Tenant(cluster, "pods", "")
        made.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield made
    finally:
        cluster.kill_everything()


def pod(name: str, volume: dict[str, Any]) -> dict[str, Any]:
    container = {
        "name": "main", "image": f"{REGISTRY}/busybox", "command": ["sh", "-c", "sleep 100000"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": [{"name": "data", **volume}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def sh(tenant: Tenant, name: str, script: str) -> str:
    return tenant.kubectl("exec", name, "--", "sh", "-c", script)


def ready(tenant: Tenant, name: str) -> None:
    limit = f"--timeout={POD_SECONDS:.0f}s"
    tenant.kubectl("wait", "--for=condition=Ready", f"pod/{name}", limit, timeout=POD_SECONDS + 10)


def gone(tenant: Tenant, name: str) -> None:
    tenant.kubectl("delete", "pod", name, "--wait=true", timeout=POD_SECONDS)


def test_an_in_line_volume_that_a_foreign_machine_wrote_is_used_and_given_back(
    tenant: Tenant, cinder: Cinder, ceph: Ceph, leftovers: Leftovers, tmp_path: Path
) -> None:
    rest = cinder.rest("pods", "paula", "paula")
    id: str = rest.post("/volumes", json={"volume": {"name": "theirs", "size": 1}}).json()["volume"]["id"]
    until(lambda: cinder.volume(id)["status"] == "available", "a foreign volume")
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "greeting").write_text("from elsewhere\n")
    run(["mke2fs", "-q", "-t", "ext4", "-d", tmp_path / "content", tmp_path / "disk", "1G"])
    target = f"rbd:volumes/volume-{id}:id=cinder:conf={ceph.configuration}"
    run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", tmp_path / "disk", target])

    tenant.create(pod("guest", {"cinder": {"volumeID": id, "fsType": "ext4"}}))
    ready(tenant, "guest")
    assert sh(tenant, "guest", "cat /data/greeting") == "from elsewhere\n"
    sh(tenant, "guest", "echo from a pod > /data/answer; sync")
    assert cinder.volume(id)["status"] == "in-use"
    gone(tenant, "guest")

    eventually(lambda: cinder.volume(id)["status"] == "available", within=POD_SECONDS, why="the volume is given back")
    assert not leftovers.new("attachments")
    ceph.rbd("export", f"volumes/volume-{id}", str(tmp_path / "after"))
    assert run(["debugfs", "-R", "cat /answer", tmp_path / "after"]) == "from a pod"
    assert json.loads(ceph.rbd("image-meta", "list", f"volumes/volume-{id}", "--format", "json") or "{}") == {}


def test_a_claim_is_a_volume_of_the_project_and_goes_with_it(
    tenant: Tenant, cinder: Cinder, ceph: Ceph, leftovers: Leftovers
) -> None:
    storage_class = {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "cinder"},
        "provisioner": DRIVER, "allowVolumeExpansion": True,
    }  # fmt: skip
    tenant.cluster.kubectl("system", "apply", "-f", "-", stdin=json.dumps(storage_class))
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    tenant.create({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"},
        "spec": {"storageClassName": "cinder", **asked},
    })  # fmt: skip
    tenant.create(pod("first", {"persistentVolumeClaim": {"claimName": "disk"}}))
    ready(tenant, "first")
    (id,) = leftovers.new("volumes")
    sh(tenant, "first", "echo kept > /data/word; sync")
    gone(tenant, "first")
    tenant.create(pod("second", {"persistentVolumeClaim": {"claimName": "disk"}}))
    ready(tenant, "second")
    assert sh(tenant, "second", "cat /data/word") == "kept\n"
    gone(tenant, "second")
    tenant.kubectl("delete", "pvc", "disk", "--wait=true", timeout=POD_SECONDS)
    eventually(lambda: not leftovers.new("volumes"), within=POD_SECONDS, why="the claim's volume to go")
    assert f"volume-{id}" not in ceph.images()
    assert not leftovers.new("attachments")
