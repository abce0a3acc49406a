"""Quotas, disruption budgets and protected claims with a real server and real controllers beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hypernetes.client import Client, is_reason
from tests.integration.control_plane import running

Object = dict[str, Any]

SPACE = "/tenants/acme/api/v1/namespaces/space"
BUDGETS = "/tenants/acme/apis/policy/v1/namespaces/space/poddisruptionbudgets"
_DEADLINE_SECONDS = 60.0


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """The provider's administrator, who may write what agents write."""
    async with running(tmp_path, "controllers", tenant="acme") as (_, client):
        await client.request("POST", "/tenants/acme/api/v1/namespaces", json={"metadata": {"name": "space"}})
        await until(lambda: found(client, f"{SPACE}/serviceaccounts/default"))
        yield client


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives once that is true."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while not (result := await condition()):
            await asyncio.sleep(0.1)
        return result


async def found(client: Client, path: str) -> Object | None:
    try:
        return await client.request("GET", path)
    except Exception as error:
        if is_reason(error, "NotFound"):
            return None
        raise


async def status(client: Client, path: str, **wanted: Any) -> bool:
    told = (await client.request("GET", path)).get("status") or {}
    return all(told.get(name) == value for name, value in wanted.items())


def pod(name: str, **spec: Any) -> Object:
    resources = {"requests": {"cpu": "500m"}}
    container = {"name": "c", "image": "x", "resources": resources}
    metadata = {"name": name, "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"containers": [container], "nodeName": "n1", **spec}}


async def run(client: Client, name: str) -> None:
    """Says that a pod runs, as its agent would."""
    body = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    now = await client.request("GET", f"{SPACE}/pods/{name}")
    await client.request("PUT", f"{SPACE}/pods/{name}/status", json={**now, **body})


async def test_a_quota_comes_into_force_and_follows_what_is_there(client: Client) -> None:
    await client.request("POST", f"{SPACE}/pods", json=pod("first"))
    hard = {"pods": "2", "requests.cpu": "2", "count/deployments.apps": "0"}
    await client.request("POST", f"{SPACE}/resourcequotas", json={"metadata": {"name": "q"}, "spec": {"hard": hard}})
    quota = f"{SPACE}/resourcequotas/q"
    used = {"pods": "1", "requests.cpu": "500m", "count/deployments.apps": "0"}
    await until(lambda: status(client, quota, hard=hard, used=used))
    await client.request("POST", f"{SPACE}/pods", json=pod("second"))
    with pytest.raises(Exception) as caught:
        await client.request("POST", f"{SPACE}/pods", json=pod("third"))
    assert "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in str(caught.value)
    now = await client.request("GET", f"{SPACE}/pods/first")
    await client.request("PUT", f"{SPACE}/pods/first/status", json={**now, "status": {"phase": "Succeeded"}})
    assert await status(client, quota, used={**used, "pods": "1", "requests.cpu": "500m"})
    await client.request("POST", f"{SPACE}/pods", json=pod("third"))
    larger = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "5"}}}
    await client.request("PUT", quota, json=larger)
    await until(lambda: status(client, quota, hard={"pods": "5"}, used={"pods": "2"}))


async def test_a_budget_lets_go_what_it_can_spare(client: Client) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    await client.request("POST", BUDGETS, json={"metadata": {"name": "b"}, "spec": spec})
    for name in ("one", "two"):
        await client.request("POST", f"{SPACE}/pods", json=pod(name))
        await run(client, name)
    await until(lambda: status(client, f"{BUDGETS}/b", disruptionsAllowed=1, currentHealthy=2, expectedPods=2))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}}
    await client.request("POST", f"{SPACE}/pods/one/eviction", json=eviction)
    await until(lambda: status(client, f"{BUDGETS}/b", disruptionsAllowed=0, currentHealthy=1))
    eviction["metadata"] = {"name": "two"}
    with pytest.raises(Exception) as caught:
        await client.request("POST", f"{SPACE}/pods/two/eviction", json=eviction)
    assert is_reason(caught.value, "TooManyRequests")


async def test_a_namespace_with_everything_in_it_ends(client: Client) -> None:
    """Also what has finalizers of its own: a claim that a pod uses goes when the pod does."""
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
             "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    await client.request("POST", f"{SPACE}/persistentvolumeclaims", json=claim)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    await client.request("POST", f"{SPACE}/pods", json=pod("user", volumes=volumes))
    hard = {"spec": {"hard": {"pods": "5"}}}
    await client.request("POST", f"{SPACE}/resourcequotas", json={"metadata": {"name": "q"}, **hard})
    await client.request("DELETE", SPACE)

    async def waiting() -> bool:
        conditions = (await client.request("GET", SPACE))["status"].get("conditions") or ()
        messages = {each["type"]: each["message"] for each in conditions if each["status"] == "True"}
        return "pods. has 1 resource instances" in messages.get(
            "NamespaceContentRemaining", ""
        ) and "kubernetes.io/pvc-protection in 1 resource instances" in messages.get("NamespaceFinalizersRemaining", "")

    await until(waiting)
    await client.request("DELETE", f"{SPACE}/pods/user", json={"gracePeriodSeconds": 0})  # as its agent does at the end

    async def gone() -> bool:
        return await found(client, SPACE) is None

    await until(gone)
