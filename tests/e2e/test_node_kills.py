"""Agent and machines of a node are killed at random while pods come and go: nothing stays behind, nothing is lost."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clusters import Cluster, eventually, free_port
from tests.e2e.nodekills import pod, wreck

TENANT = "wreckers"


@pytest.fixture
def cluster(tmp_path: Path, registry: str) -> Iterator[Cluster]:
    """One of the test's own: what others' pods leave mustn't be taken for what these leave."""
    cluster = Cluster(tmp_path / "data", free_port())
    try:
        cluster.up()
        cluster.create_tenant(TENANT)
        yield cluster
    finally:
        cluster.kill_everything()


@pytest.mark.vm
@pytest.mark.timeout(900)
def test_a_node_that_is_shut_down_ends_its_pods_with_their_hooks(cluster: Cluster):
    (node,) = cluster.get("system", "nodes")["items"]
    hooked = pod("hooked", "trap 'echo termed; exit 0' TERM; while :; do sleep 0.2; done").to_dict()
    hooked["spec"]["terminationGracePeriodSeconds"] = 60
    hooked["spec"]["containers"][0]["lifecycle"] = {
        "preStop": {"exec": {"command": ["sh", "-c", "echo hook >/proc/1/fd/1"]}}
    }
    cluster.kubectl(TENANT, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", **hooked}))
    cluster.kubectl(TENANT, "wait", "pod/hooked", "--for=condition=Ready", "--timeout=240s", timeout=250)
    name = node["metadata"]["name"]
    said = cluster.hn("node", "shutdown", name, "--dir", str(cluster.directory), timeout=400).stdout
    assert "1 pods ended" in said
    status = cluster.get(TENANT, "pod", "hooked")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
    assert cluster.kubectl(TENANT, "logs", "hooked").split() == ["hook", "termed"]
    eventually(lambda: cluster.machine_pids() == {}, within=60, why="a machine is left")
    eventually(lambda: "shutting down" in problem(cluster), within=60, why="the node is still ready")
    refused = cluster.hn("node", "shutdown", "another", "--dir", str(cluster.directory), check=False)
    assert "no hn-agent of a node another runs on this machine" in refused.stderr


def problem(cluster: Cluster) -> str:
    (node,) = cluster.get("system", "nodes")["items"]
    return next(each["message"] for each in node["status"]["conditions"] if each["type"] == "Ready")


@pytest.fixture
def seed() -> int:
    """Printed by the test: `HN_SEED=… pytest …` kills in the same order again."""
    return int(os.environ.get("HN_SEED") or int.from_bytes(os.urandom(4)))


@pytest.mark.vm
@pytest.mark.timeout(1200)
def test_a_minute_of_kills_leaves_nothing_and_loses_nothing(cluster: Cluster, seed: int):
    asyncio.run(wreck(cluster, TENANT, kills=10, pods=6, seconds=60, coming=2, seed=seed))


@pytest.mark.vm
@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_two_hundred_kills_and_a_thousand_pods_leave_nothing_and_lose_nothing(cluster: Cluster, seed: int):
    asyncio.run(wreck(cluster, TENANT, kills=200, pods=1000, seconds=0, coming=4, seed=seed))
