"""`hn up` with a real Keystone and real machines: a member of a project logs in and runs a pod."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually, free_port
from tests.e2e.conftest import registry
from tests.openstack.keystones import Keystone
from tests.openstack.people import Person

__all__ = ["registry"]  # a fixture
_FOLLOW_SECONDS = 60.0


@dataclass(frozen=True)
class KeystoneCluster(Cluster):
    identity: str = ""

    def up_arguments(self) -> list[str]:
        return [*super().up_arguments(), "--identity-provider", self.identity]


@pytest.fixture
def cluster(keystone: Keystone, registry: str, tmp_path: Path) -> Iterator[KeystoneCluster]:
    file = tmp_path / "keystone.yaml"
    file.write_text(yaml.safe_dump({"cloud": "hypernetes", "clouds": str(keystone.clouds_file)}))
    made = KeystoneCluster(tmp_path / "data", free_port(), identity=f"keystone={file}")
    try:
        made.up()
        yield made
    finally:
        made.kill_everything()


@pytest.mark.vm
def test_a_member_of_a_project_runs_a_pod_in_it_and_a_reader_does_not(
    keystone: Keystone, cluster: KeystoneCluster
) -> None:
    keystone.project("machines", mara="member", rhea="reader")
    tenant = ("get", "tenants", "--ignore-not-found", "machines")
    eventually(lambda: cluster.kubectl("system", *tenant), within=_FOLLOW_SECONDS, why="the project's tenant")
    mara, rhea = (Person(keystone, cluster, name, "machines") for name in ("mara", "rhea"))
    for person in (mara, rhea):
        person.log_in()
    image, script = f"--image={REGISTRY}/busybox", "echo mara was here; sleep 3600"
    mara.does("run", "box", image, "--restart=Never", "--command", "--", "sh", "-c", script)

    def phase() -> Any:
        return json.loads(mara.does("get", "pod", "box", "-o", "json"))["status"].get("phase")

    eventually(lambda: phase() == "Running", within=POD_SECONDS, why="the pod to run")
    eventually(lambda: "mara was here" in mara.does("logs", "box"), within=POD_SECONDS, why="its output")
    assert mara.does("exec", "box", "--", "echo", "and inside").strip() == "and inside"
    assert len(cluster.machine_pids()) == 1
    assert rhea.does("get", "pod", "box", "-o", "jsonpath={.status.phase}") == "Running"
    refused = rhea.kubectl.run("delete", "pod", "box", **rhea.settings)
    assert refused.returncode != 0
    assert "Forbidden" in refused.stderr
