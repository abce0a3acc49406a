"""A StatefulSet seen with kubectl, on nodes without machines: order, rollout, history, undo, scaling."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.controllers.hollow_cluster import TENANT, hollow_cluster

SET = {
    "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
    "spec": {
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}},
            "spec": {
                "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "db:1"}],
            },
        },
    },
}  # fmt: skip


@pytest.mark.killed
async def test_a_set_is_rolled_out_undone_and_scaled(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path) as (plane, _):

        async def kubectl(*arguments: str, stdin: str = "") -> str:
            return await plane.kubectl(TENANT, *arguments, stdin=stdin)

        async def images() -> str:
            return await kubectl(
                "get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name}={.spec.containers[0].image} {end}"
            )

        await kubectl("apply", "-f", "-", stdin=json.dumps(SET))
        status = await kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
        assert "statefulset rolling update complete" in status or "partitioned roll out complete" in status
        assert (await images()).split() == ["db-0=db:1", "db-1=db:1", "db-2=db:1"]
        printed = (await kubectl("get", "statefulset", "db", "--no-headers")).split()
        assert printed[:2] == ["db", "3/3"]

        await kubectl("set", "image", "statefulset/db", "main=db:2")
        await kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
        assert (await images()).split() == ["db-0=db:2", "db-1=db:2", "db-2=db:2"]
        lines = (await kubectl("rollout", "history", "statefulset/db")).splitlines()
        assert [line.split()[0] for line in lines if line[:1].isdigit()] == ["1", "2"]

        await kubectl("rollout", "undo", "statefulset/db")
        await kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
        assert (await images()).split() == ["db-0=db:1", "db-1=db:1", "db-2=db:1"]

        await kubectl("scale", "statefulset/db", "--replicas=1")
        async with asyncio.timeout(60):
            while (await images()).split() != ["db-0=db:1"]:
                await asyncio.sleep(0.2)
        await kubectl("rollout", "restart", "statefulset/db")
        await kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
        await kubectl("delete", "statefulset", "db", "--wait")
        await kubectl("wait", "--for=delete", "pod/db-0", "--timeout=60s")
