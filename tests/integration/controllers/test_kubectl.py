"""hn-apiserver and hn-controllers as processes, pods without machines, and kubectl as the user."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hypernetes.client import Client
from tests.integration.control_plane import ControlPlane, running
from tests.integration.hollow_kubelet import HollowKubelet

_DEADLINE = 90.0  # seconds; generous, since the machine may be busy


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator["Cluster"]:
    async with running(directory, "controllers", tenant="acme") as (plane, client):
        kubelet = asyncio.create_task(HollowKubelet(client).run())
        try:
            yield Cluster(plane, client)
        finally:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)


class Cluster:
    def __init__(self, plane: ControlPlane, client: Client) -> None:
        self.plane, self.client = plane, client

    async def kubectl(self, *arguments: str, **options: Any) -> str:
        return await self.plane.kubectl("acme", *arguments, **options)

    async def get(self, *arguments: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(await self.kubectl("get", *arguments, "-o", "json"))["items"]
        return items

    async def until(self, kind: str, holds: Callable[[list[dict[str, Any]]], bool], *options: str) -> None:
        async with asyncio.timeout(_DEADLINE):
            while not holds(found := await self.get(kind, *options)):
                await asyncio.sleep(0.3)
        del found

    async def images(self) -> list[str]:
        return sorted(pod["spec"]["containers"][0]["image"] for pod in await self.get("pods"))


@pytest.mark.killed
async def test_a_deployment_is_created_scaled_rolled_out_and_undone(tmp_path: Path) -> None:
    async with cluster(tmp_path) as it:
        await it.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=3")
        output = await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        assert 'deployment "web" successfully rolled out' in output
        assert await it.images() == ["web:1"] * 3
        await it.kubectl("scale", "deployment/web", "--replicas=5")
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        assert len(await it.get("pods")) == 5
        await it.kubectl("set", "image", "deployment/web", "web=web:2")
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        await it.until("pods", lambda pods: len(pods) == 5)
        assert await it.images() == ["web:2"] * 5
        assert "web:2" in await it.kubectl("rollout", "history", "deployment/web", "--revision=2")
        await it.kubectl("rollout", "undo", "deployment/web")
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        await it.until("pods", lambda pods: len(pods) == 5)
        assert await it.images() == ["web:1"] * 5
        history = await it.kubectl("rollout", "history", "deployment/web")
        assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["2", "3"]
        await it.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
        assert "ScalingReplicaSet" in await it.kubectl("describe", "deployment", "web")
        await it.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=90s")
        assert await it.get("replicasets") == []
        await it.until("pods", lambda pods: not pods)


async def test_pods_are_orphaned_adopted_and_collected_as_asked(tmp_path: Path) -> None:
    async with cluster(tmp_path) as it:
        await it.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2")
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        before = {pod["metadata"]["uid"] for pod in await it.get("pods")}
        await it.kubectl("delete", "deployment", "web", "--cascade=orphan", "--timeout=90s")
        await it.until("replicasets", lambda sets: not sets[0]["metadata"].get("ownerReferences"))
        assert {pod["metadata"]["uid"] for pod in await it.get("pods")} == before
        await it.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2")
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        assert {pod["metadata"]["uid"] for pod in await it.get("pods")} == before
        await it.kubectl("delete", "deployment", "web")
        await it.until("pods", lambda pods: not pods)
        assert await it.get("replicasets") == []


async def test_services_get_their_endpoints_and_a_namespace_ends_with_all_in_it(tmp_path: Path) -> None:
    async with cluster(tmp_path) as it:
        await it.kubectl("create", "namespace", "prod")
        await it.until("serviceaccounts", lambda found: len(found) == 1, "-n", "prod")
        await it.kubectl("-n", "prod", "create", "deployment", "web", "--image=web:1", "--replicas=2")
        await it.kubectl("-n", "prod", "expose", "deployment", "web", "--port=80", "--target-port=8080")
        await it.kubectl("-n", "prod", "rollout", "status", "deployment/web", "--timeout=90s")
        await it.until("endpoints", lambda found: bool(found) and len(addresses(found)) == 2, "-n", "prod")
        (entry,) = await it.get("endpointslices", "-n", "prod")
        assert entry["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
        pods = {pod["status"]["podIP"] for pod in await it.get("pods", "-n", "prod")}
        assert {endpoint["addresses"][0] for endpoint in entry["endpoints"]} == pods
        await it.kubectl("delete", "namespace", "prod", "--timeout=90s")
        assert "NotFound" in await it.kubectl("get", "namespace", "prod", fails=True)
        assert await it.get("pods", "-A") == []


def addresses(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        address for entry in found for subset in entry.get("subsets", ()) for address in subset.get("addresses", ())
    ]


async def test_a_networks_life(tmp_path: Path) -> None:
    async with cluster(tmp_path) as it:
        await it.until("networks", lambda found: [net["status"]["phase"] for net in found] == ["Active"])
        manifest = {
            "apiVersion": "hypernetes.io/v1", "kind": "Network", "metadata": {"name": "back"},
            "spec": {"subnets": {"a": {"cidr": "10.7.0.0/24", "gateway": "10.7.0.1"}}},
        }  # fmt: skip
        await it.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
        await it.until("networks", lambda found: [net["status"]["phase"] for net in found] == ["Active"] * 2)
        segments = {net["status"]["segmentID"] for net in await it.get("networks")}
        assert len(segments) == 2
        await it.kubectl("delete", "network", "back", "--timeout=60s")
        await it.until("networks", lambda found: len(found) == 1)


@pytest.mark.kills
async def test_killed_again_and_again_the_controllers_bring_a_rollout_to_its_end(tmp_path: Path) -> None:
    async with cluster(tmp_path) as it:
        await it.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=6")
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        await it.kubectl("set", "image", "deployment/web", "web=web:2")
        for _ in range(3):
            await it.plane.stop("controllers", signal.SIGKILL)
            await it.plane.start("controllers")
            await asyncio.sleep(1.5)
        await it.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        await it.until("pods", lambda pods: len(pods) == 6)
        assert await it.images() == ["web:2"] * 6
        assert await it.plane.stop("controllers") == 0
