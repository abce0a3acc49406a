"""`kubectl` with nodes, as the provider: cordon, taint, drain; and what a tenant may not."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.clients.commands import Kubectl
from tests.integration.clients.planes import Plane

WAIT = "--timeout=60s"


@pytest.fixture(scope="module")
def provider(plane: Plane) -> Iterator[Kubectl]:
    """With a node on which nothing runs."""
    provider = plane.provider()
    provider("create", "-f", "-", stdin='{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "spare"}}')
    yield provider
    provider("delete", "node", "spare")


def test_a_node_is_cordoned_and_uncordoned(provider: Kubectl) -> None:
    assert provider("cordon", "spare") == "node/spare cordoned\n"
    assert provider("cordon", "spare") == "node/spare already cordoned\n"
    assert "SchedulingDisabled" in provider.rows("node", "spare")[0][1]
    assert provider.get("node/spare")["spec"]["unschedulable"] is True
    assert provider("uncordon", "spare") == "node/spare uncordoned\n"
    assert "SchedulingDisabled" not in provider.rows("node", "spare")[0][1]
    assert "unschedulable" not in provider.get("node/spare")["spec"]


def test_a_node_is_tainted_and_untainted(provider: Kubectl) -> None:
    assert provider("taint", "node", "spare", "disk=slow:NoSchedule") == "node/spare tainted\n"
    taints = provider.get("node/spare")["spec"]["taints"]
    assert {"key": "disk", "value": "slow", "effect": "NoSchedule"} in taints
    assert "already has disk taint(s)" in provider.fails("taint", "node", "spare", "disk=fast:NoSchedule")
    changed = provider("taint", "node", "spare", "disk=fast:NoSchedule", "--overwrite")
    assert changed == "node/spare modified\n"
    assert provider("taint", "node", "spare", "disk-") == "node/spare untainted\n"
    assert "disk" not in [taint["key"] for taint in provider.get("node/spare")["spec"].get("taints", ())]
    assert "invalid taint effect: Never" in provider.fails("taint", "node", "spare", "disk=slow:Never")


def test_drain_cordons_a_node_and_evicts_its_pods(provider: Kubectl) -> None:
    pod = """
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guest"},
     "spec": {"nodeName": "spare", "terminationGracePeriodSeconds": 0, "containers": [{"name": "x", "image": "x"}]}}
    """
    provider("create", "-f", "-", stdin=pod)
    refused = provider.fails("drain", "spare", WAIT)
    assert "cannot delete Pods that declare no controller (use --force to override): default/guest" in refused
    lines = provider("drain", "spare", "--force", WAIT).splitlines()
    assert "evicting pod default/guest" in lines
    assert "pod/guest evicted" in lines
    assert "node/spare drained" in lines
    assert "NotFound" in provider.fails("get", "pod", "guest")
    provider("uncordon", "spare")


def test_drain_waits_for_a_budget_to_allow_it(provider: Kubectl) -> None:
    labels = {"app": "guarded"}
    containers = [{"name": "x", "image": "x"}]
    replicas = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "guarded"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"nodeName": "spare", "terminationGracePeriodSeconds": 0, "containers": containers},
            },
        },
    }  # fmt: skip
    provider("create", "-f", "-", stdin=json.dumps(replicas))
    provider("create", "poddisruptionbudget", "guarded", "--selector=app=guarded", "--min-available=1")
    provider("wait", "rs/guarded", "--for=jsonpath={.status.readyReplicas}=1", WAIT)
    provider("wait", "pdb/guarded", "--for=jsonpath={.status.currentHealthy}=1", WAIT)
    done = provider.run("drain", "spare", "--timeout=2s")
    assert done.returncode == 1
    assert "Cannot evict pod as it would violate the pod's disruption budget." in done.stderr
    provider("delete", "pdb", "guarded")
    provider("scale", "rs/guarded", "--replicas=0")
    assert "node/spare drained" in provider("drain", "spare", WAIT)
    provider("delete", "rs", "guarded")
    provider("uncordon", "spare")


def test_a_tenant_sees_nodes_and_changes_none(kubectl: Kubectl) -> None:
    assert ["hollow", "Ready"] in [row[:2] for row in kubectl.rows("nodes")]
    for command in (("cordon", "hollow"), ("taint", "node", "hollow", "a=b:NoSchedule"), ("delete", "node", "hollow")):
        assert 'nodes "hollow" is forbidden' in kubectl.run(*command).stderr  # cordon exits with 0 all the same
    assert "unschedulable" not in kubectl.get("node/hollow")["spec"]
    assert kubectl.run("auth", "can-i", "list", "nodes").stdout == "yes\n"
    assert kubectl.run("auth", "can-i", "patch", "nodes").stdout == "no - only the provider may do this\n"
