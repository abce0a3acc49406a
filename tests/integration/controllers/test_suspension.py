"""A tenant is suspended and resumed with controllers, a scheduler and nodes at work."""

import asyncio
import json
from pathlib import Path

from tests.integration.controllers.hollow_cluster import TENANT, hollow_cluster

DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "web:1"}],
            },
        },
    },
}  # fmt: skip
_TENANT = f"/apis/hypernetes.io/v1/tenants/{TENANT}"
_MERGE = "application/merge-patch+json"


async def test_suspending_stops_the_pods_and_resuming_brings_them_back(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path) as (plane, client), asyncio.timeout(150):
        await plane.kubectl(TENANT, "apply", "-f", "-", stdin=json.dumps(DEPLOYMENT))
        await plane.kubectl(TENANT, "rollout", "status", "deployment/web", "--timeout=60s")
        await client.request("PATCH", _TENANT, json={"spec": {"suspended": True}}, content_type=_MERGE)
        while True:
            status = (await client.request("GET", _TENANT))["status"]
            if [each["reason"] for each in status.get("conditions", []) if each["type"] == "Suspended"] == [
                "PodsStopped"
            ]:
                break
            await asyncio.sleep(0.2)
        assert not (await plane.kubectl(TENANT, "get", "pods", "-o", "name")).split()
        complaint = await plane.kubectl(TENANT, "scale", "deployment/web", "--replicas=3", fails=True)
        assert "the tenant is suspended" in complaint
        await client.request("PATCH", _TENANT, json={"spec": {"suspended": False}}, content_type=_MERGE)
        await plane.kubectl(TENANT, "rollout", "status", "deployment/web", "--timeout=60s")
        assert len((await plane.kubectl(TENANT, "get", "pods", "-o", "name")).split()) == 2
