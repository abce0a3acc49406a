"""kubectl top and autoscale: real servers and controllers, nodes without machines whose containers say their use."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.cli import tenants
from hypernetes.client import Client
from hypernetes.nodeagent import usage
from hypernetes.pki import node_role
from tests.integration.control_plane import ControlPlane, running
from tests.integration.controllers.hollow_cluster import TENANT, hollow_cluster

Json = dict[str, Any]
_DEADLINE = 150.0  # seconds


@pytest.fixture(autouse=True)
def frequent_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "SAMPLE_SECONDS", 1.0)


def containers(*load: str, sidecar: bool = False) -> list[Json]:
    requests = {"requests": {"cpu": "200m", "memory": "64Mi"}}
    made: list[Json] = [
        {"name": "web", "image": "web:1", "command": ["hollow"], "args": list(load), "resources": requests}
    ]
    if sidecar:
        made.append({**made[0], "name": "side", "args": ["--cpu=0.05", "--memory=8Mi"]})
    return made


def deployment(*load: str) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers(*load)}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def pod(name: str, *load: str, sidecar: bool = False) -> Json:
    spec = {"containers": containers(*load, sidecar=sidecar)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives once that is true."""
    async with asyncio.timeout(_DEADLINE):
        while not (result := await condition()):
            await asyncio.sleep(0.5)
        return result


async def apply(plane: ControlPlane, *objects: Json, tenant: str = TENANT) -> None:
    body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    await plane.kubectl(tenant, "apply", "-f", "-", stdin=json.dumps(body))


async def top(plane: ControlPlane, *arguments: str, tenant: str = TENANT) -> list[list[str]]:
    return [line.split() for line in (await plane.kubectl(tenant, "top", *arguments, "--no-headers")).splitlines()]


async def known(plane: ControlPlane, tenant: str, count: int) -> bool:
    path = "/apis/metrics.k8s.io/v1beta1/pods"
    return len(json.loads(await plane.kubectl(tenant, "get", "--raw", path))["items"]) == count


async def test_top_shows_what_a_tenants_pods_use_and_nothing_of_others(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=1) as (plane, client):
        await tenants.create(client, plane.layout, "other", None)
        await apply(plane, pod("big", "--cpu=0.5", "--memory=64Mi", sidecar=True), pod("small", "--cpu=0.25"))
        await apply(plane, pod("foreign", "--cpu=2", "--memory=1Gi"), tenant="other")
        await silent_node(client)
        await until(lambda: known(plane, TENANT, 2))
        await until(lambda: known(plane, "other", 1))
        assert near(await top(plane, "pods"), {"big": (550, 72), "small": (250, 0)})
        assert near([line[1:] for line in await top(plane, "pods", "-A")], {"big": (550, 72), "small": (250, 0)})
        assert near(await top(plane, "pods", "-l", "app=small"), {"small": (250, 0)})
        by_container = [line[1:] for line in await top(plane, "pod", "big", "--containers")]
        assert near(by_container, {"web": (500, 64), "side": (50, 8)})
        assert near(await top(plane, "pods", tenant="other"), {"foreign": (2000, 1024)})
        # Of a node, a tenant sees its own share; the provider sees all of it.
        assert near(await shares(plane, TENANT), {"hollow-0": (800, 72)})
        assert near(await shares(plane, "other"), {"hollow-0": (2000, 1024), "silent": (0, 0)})
        whole = (await client.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes/hollow-0"))["usage"]
        assert near([["hollow-0", *cells(whole)]], {"hollow-0": (2800, 1096)})
        every = await client.request("GET", "/tenants/*/apis/metrics.k8s.io/v1beta1/pods")
        assert sorted(item["metadata"]["name"] for item in every["items"]) == ["big", "foreign", "small"]
        assert "NotFound" in await plane.kubectl(TENANT, "top", "pod", "foreign", fails=True)
        await only_a_viewer_sees(plane)


async def shares(plane: ControlPlane, tenant: str) -> list[list[str]]:
    answer = json.loads(await plane.kubectl(tenant, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))
    return [[item["metadata"]["name"], *cells(item["usage"])] for item in answer["items"]]


def cells(used: Json) -> list[str]:
    return [f"{int(used['cpu'].removesuffix('n')) // 10**6}m", f"{int(used['memory'].removesuffix('Ki')) // 1024}Mi"]


def near(lines: list[list[str]], wanted: dict[str, tuple[int, int]]) -> bool:
    """Millicores to a tenth: a busy machine samples late. Memory in MiB, exactly."""
    found = {line[0]: (int(line[1].removesuffix("m")), int(line[2].removesuffix("Mi"))) for line in lines}
    same = found.keys() == wanted.keys() and all(
        abs(found[name][0] - cpu) <= cpu / 10 and found[name][1] == memory for name, (cpu, memory) in wanted.items()
    )
    assert same, f"{found} is not about {wanted}"
    return same


async def only_a_viewer_sees(plane: ControlPlane) -> None:
    await plane.kubectl(TENANT, "create", "serviceaccount", "reader")
    asked = ("auth", "can-i", "list", "pods.metrics.k8s.io", "--as=system:serviceaccount:default:reader")
    refused = await plane.kubectl(TENANT, "top", "pods", "--as=system:serviceaccount:default:reader", fails=True)
    assert "Forbidden" in refused
    await plane.kubectl(TENANT, "create", "rolebinding", "r", "--clusterrole=view", "--serviceaccount=default:reader")
    assert (await plane.kubectl(TENANT, *asked)).strip() == "yes"
    assert "big" in await plane.kubectl(TENANT, "top", "pods", "--as=system:serviceaccount:default:reader")


async def test_a_process_of_hollow_nodes_with_a_certificate_tells_its_use(tmp_path: Path) -> None:
    async with running(tmp_path / "plane") as (plane, client):
        pki = plane.layout.pki_directory(plane.layout.load_or_create(bind="127.0.0.1", port=plane.port))
        role = node_role("solo-0")
        pki.ensure(role, times.now(), addresses=["127.0.0.1"])
        agent = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / "hn-agent", "--runtime", "fake", "--node-name", "solo",
            "--dir", tmp_path / "nodes", "--kubeconfig", plane.layout.admin_kubeconfig,
            "--cert", pki.certificate(role), "--key", pki.key(role), "--client-ca", pki.ca_certificate,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

        async def listed() -> list[str]:
            answer = await client.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes")
            return [item["metadata"]["name"] for item in answer["items"]]

        try:
            assert await until(listed) == ["solo-0"]
        finally:
            agent.terminate()
            await asyncio.wait_for(agent.wait(), 30)


async def silent_node(client: Client) -> None:
    """A node whose agent nobody reaches, with a pod."""
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}
    made = {"metadata": {"name": "silent"}, "status": status}
    await client.request("POST", "/api/v1/nodes", json=made)
    lost = pod("lost", "--cpu=1")
    lost["spec"]["nodeName"] = "silent"
    await client.request("POST", f"/tenants/{TENANT}/api/v1/namespaces/default/pods", json=lost)


async def test_replicas_follow_the_load(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path) as (plane, _):

        async def replicas(wanted: int) -> bool:
            found = json.loads(await plane.kubectl(TENANT, "get", "deployment", "web", "-o", "json"))
            return bool(found["spec"]["replicas"] == wanted)

        await apply(plane, deployment("--cpu=0.19"))
        await plane.kubectl(TENANT, "autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=50")
        rules = {"scaleDown": {"stabilizationWindowSeconds": 5}}
        await plane.kubectl(
            TENANT, "patch", "hpa", "web", "--type=merge", "-p", json.dumps({"spec": {"behavior": rules}})
        )
        await until(lambda: replicas(3))
        described = await plane.kubectl(TENANT, "describe", "hpa", "web")
        assert "SuccessfulRescale" in described
        assert "above target" in described
        await until(lambda: shows(plane, "cpu: 95%/50%"))
        template = {"spec": {"template": deployment("--cpu=0.02")["spec"]["template"]}}
        await plane.kubectl(TENANT, "patch", "deployment", "web", "-p", json.dumps(template))
        await until(lambda: replicas(1))
        assert "All metrics below target" in await plane.kubectl(TENANT, "describe", "hpa", "web")


async def shows(plane: ControlPlane, target: str) -> bool:
    return target in await plane.kubectl(TENANT, "get", "hpa", "web")
