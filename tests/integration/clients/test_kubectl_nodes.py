"""`kubectl` with nodes, as the provider: cordon, taint, drain; and what a tenant may not."""

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


def test_a_tenant_sees_nodes_and_changes_none(kubectl: Kubectl) -> None:
    assert ["hollow", "Ready"] in [row[:2] for row in kubectl.rows("nodes")]
    for command in (("cordon", "hollow"), ("taint", "node", "hollow", "a=b:NoSchedule"), ("delete", "node", "hollow")):
        assert 'nodes "hollow" is forbidden' in kubectl.run(*command).stderr  # cordon exits with 0 all the same
    assert "unschedulable" not in kubectl.get("node/hollow")["spec"]
