"""Nodes without machines against a real API server: pods start, end, fail and become ready as their arguments say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.client import Client
from hypernetes.nodeagent import hollow
from tests.integration.control_plane import running

TENANT = "acme"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hollow")


@asynccontextmanager
async def nodes(directory: Path, count: int) -> AsyncIterator[Client]:
    async with running(directory / "plane", tenant=TENANT) as (_, client), asyncio.TaskGroup() as tasks:
        fleet = tasks.create_task(hollow.run(directory / "nodes", "hollow", count, client))
        yield client
        fleet.cancel()


async def until(client: Client, name: str, fits: Callable[[Pod], bool]) -> Pod:
    async with asyncio.timeout(60):
        while True:
            pod = await client.get(Pod, name, namespace="default", tenant=TENANT)
            if fits(pod):
                return pod
            await asyncio.sleep(0.05)


def pod(name: str, *args: str, node: str = "hollow-0", restart: str = "Never", **container: Any) -> Pod:
    spec = {
        "nodeName": node, "restartPolicy": restart, "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "any/image:1", "args": list(args), **container}],
    }  # fmt: skip
    return Pod.from_dict({"metadata": {"name": name, "namespace": "default"}, "spec": spec})


async def test_pods_live_and_end_as_their_arguments_say(directory: Path) -> None:
    async with nodes(directory, 3) as client:
        for each in (
            pod("runs", node="hollow-2"),
            pod("succeeds", "--exit-after=0.1"),
            pod("fails", "--exit-after=0.1", "--exit-code=3", node="hollow-1"),
            pod("restarts", "--exit-after=0.1", "--exit-code=3", restart="OnFailure"),
            pod("odd", "--exit-after=soon"),
            pod("commanded", command=["/bin/false"]),
            pod(
                "ready-later",
                "--start-after=1.5",
                readinessProbe={"httpGet": {"port": 80}, "periodSeconds": 1},
                ports=[{"containerPort": 80}],
            ),
        ):
            await client.create(each, tenant=TENANT)

        runs = await until(client, "runs", lambda found: found.status.phase == "Running")
        assert runs.status.pod_ip
        assert runs.status.pod_ip.startswith("100.64.")
        succeeded = await until(client, "succeeds", lambda found: found.status.phase == "Succeeded")
        assert succeeded.status.pod_ip != runs.status.pod_ip
        for name, code in (("fails", 3), ("odd", 2), ("commanded", 1)):
            failed = await until(client, name, lambda found: found.status.phase == "Failed")
            (status,) = failed.status.container_statuses
            assert status.state.terminated is not None
            assert status.state.terminated.exit_code == code, name
        restarted = await until(client, "restarts", lambda found: _restarts(found) >= 1)
        assert restarted.status.phase == "Running"
        begun = await until(client, "ready-later", lambda found: found.status.phase == "Running")
        assert not begun.status.container_statuses[0].ready
        await until(client, "ready-later", lambda found: found.status.container_statuses[0].ready)

        await client.delete(Pod, "runs", namespace="default", tenant=TENANT)
        async with asyncio.timeout(30):
            while "runs" in [found.metadata.name for found in (await client.list(Pod, tenant=TENANT)).items]:
                await asyncio.sleep(0.05)
        listed = await client.list(Node, tenant="system")
        ready = {
            node.metadata.name: next(each.status for each in node.status.conditions if each.type == "Ready")
            for node in listed.items
        }
        assert ready == {"hollow-0": "True", "hollow-1": "True", "hollow-2": "True"}


def _restarts(found: Pod) -> int:
    return sum(status.restart_count for status in found.status.container_statuses)
