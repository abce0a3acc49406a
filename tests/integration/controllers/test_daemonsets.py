"""DaemonSets on nodes without machines: the provider's on every node, a tenant's where the tenant is."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypernetes.api.models.apps_v1 import DaemonSet
from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Client
from tests.integration.controllers.hollow_cluster import TENANT, hollow_cluster


def manifest(image: str = "agent:1") -> dict[str, Any]:
    container = {"name": "main", "image": image}
    spec = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": {"app": "agent"}}, "spec": spec}
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
    }  # fmt: skip


async def until(client: Client, tenant: str, fits: Callable[[DaemonSet], bool]) -> DaemonSet:
    async with asyncio.timeout(60):
        while True:
            found = await client.get(DaemonSet, "agent", namespace="default", tenant=tenant)
            if fits(found):
                return found
            await asyncio.sleep(0.1)


def ready(number: int) -> Callable[[DaemonSet], bool]:
    def fits(found: DaemonSet) -> bool:
        return found.status.number_ready == found.status.desired_number_scheduled == number

    return fits


async def test_daemon_pods_are_where_they_belong_and_roll(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=3) as (plane, client):
        await client.create(DaemonSet.from_dict(manifest()), tenant="system")
        await until(client, "system", ready(3))
        pods = (await client.list(Pod, namespace="default", tenant="system")).items
        assert sorted(pod.spec.node_name or "" for pod in pods) == ["hollow-0", "hollow-1", "hollow-2"]

        await plane.kubectl(TENANT, "apply", "-f", "-", stdin=json.dumps(manifest()))
        found = await until(client, TENANT, lambda each: each.status.observed_generation == 1)
        assert found.status.desired_number_scheduled == 0, "the tenant has no pod anywhere"
        await plane.kubectl(TENANT, "run", "web", "--image=web:1")
        await plane.kubectl(TENANT, "wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
        await until(client, TENANT, ready(1))
        listed = await client.list(Pod, namespace="default", tenant=TENANT)
        assert len({pod.spec.node_name for pod in listed.items}) == 1

        await plane.kubectl(TENANT, "set", "image", "daemonset/agent", "main=agent:2")
        assert "successfully rolled out" in await plane.kubectl(
            TENANT, "rollout", "status", "daemonset/agent", "--timeout=60s"
        )
        printed = (await plane.kubectl(TENANT, "get", "daemonset", "agent", "--no-headers")).split()
        assert printed[:6] == ["agent", "1", "1", "1", "1", "1"]
        await plane.kubectl(TENANT, "rollout", "undo", "daemonset/agent")
        await plane.kubectl(TENANT, "rollout", "status", "daemonset/agent", "--timeout=60s")
        shown = "jsonpath={.items[*].spec.containers[0].image}"
        assert await plane.kubectl(TENANT, "get", "pods", "-l", "app=agent", "-o", shown) == "agent:1"
