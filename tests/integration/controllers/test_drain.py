"""`hn node drain` with the pods of several tenants on a node, as their budgets allow."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.cli import nodes, tenants
from hypernetes.cli.errors import CommandError
from hypernetes.client import Client
from tests.integration.controllers.hollow_cluster import TENANT, hollow_cluster


def workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    pod = {
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "web:1"}],
    }  # fmt: skip
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }  # fmt: skip


async def placed(client: Client) -> dict[str, str]:
    """Where each running pod is."""
    pods = (await client.list(Pod, tenant="*")).items
    return {
        pod.metadata.name or "": pod.spec.node_name or ""
        for pod in pods
        if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None
    }


async def until_running(client: Client, number: int) -> dict[str, str]:
    async with asyncio.timeout(60):
        while len(found := await placed(client)) < number:
            await asyncio.sleep(0.1)
    return found


async def test_a_node_is_emptied_of_all_tenants_pods_and_used_again(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=2) as (plane, client):
        await tenants.create(client, plane.layout, "globex", None)
        for tenant in (TENANT, "globex"):
            for each in (workload("Deployment", "web", replicas=3), workload("DaemonSet", "agent")):
                await plane.kubectl(tenant, "apply", "-f", "-", stdin=json.dumps(each))
            await plane.kubectl(tenant, "create", "pdb", "web", "--selector=app=web", "--max-unavailable=1")
        await until_running(client, 2 * (3 + 1))
        said: list[str] = []
        drained = await nodes.drain(client, "hollow-0", timeout=90, force=False, tell=said.append)
        assert drained.evicted == len(said)
        after = await until_running(client, 2 * 3)
        assert {name: node for name, node in after.items() if node == "hollow-0" and name.startswith("web")} == {}
        node = await client.get(Node, "hollow-0", tenant="system")
        assert node.spec.unschedulable
        await nodes.cordon(client, "hollow-0", cordoned=False)
        assert not (await client.get(Node, "hollow-0", tenant="system")).spec.unschedulable


async def test_what_nobody_would_make_again_or_a_budget_holds_is_told(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=1) as (plane, client):
        await plane.kubectl(TENANT, "run", "alone", "--image=web:1", "--labels=app=alone")
        await plane.kubectl(TENANT, "wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
        with pytest.raises(CommandError, match=r"--force evicts them\): acme/default/alone"):
            await nodes.drain(client, "hollow-0", timeout=5, force=False, tell=print)
        assert "alone" in await placed(client)
        await plane.kubectl(TENANT, "create", "pdb", "alone", "--selector=app=alone", "--min-available=1")
        with pytest.raises(CommandError, match=r"still there .*: acme/default/alone"):
            await nodes.drain(client, "hollow-0", timeout=3, force=True, tell=print)
        await plane.kubectl(TENANT, "delete", "pdb", "alone")
        assert (await nodes.drain(client, "hollow-0", timeout=60, force=True, tell=print)).evicted == 1
        assert await placed(client) == {}
