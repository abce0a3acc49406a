"""Controllers at scale: real hn-apiserver (SQLite), hn-scheduler and hn-controllers, nodes without machines.

python -m benchmarks.controllers [--json FILE] [--part PART]... [--scale FRACTION]

rollout    a Deployment from 10 to 1,000 replicas on 100 nodes; another template
namespace  a namespace of 10,000 pods, of a Deployment on 100 nodes, is filled and deleted
services   5,000 Services with 10 endpoints each: how long one endpoint's change takes
tenants    20,000 pods of 2,000 Deployments in one tenant, and in 2,000: processor time, memory, idle load

Wall times are those of everything on this machine together; seconds of processor are told beside them.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.load.clusters import Cluster, all_of, running_cluster, until
from benchmarks.report import Figure, report
from hypernetes.api import scheme, times
from hypernetes.cli import tenants
from hypernetes.client import is_reason
from hypernetes.client.keys import key_of_metadata
from hypernetes.client.rest import Selection

_NODES = 100
_FIRST, _REPLICAS, _DELETED_PODS = 10, 1000, 10_000
_SERVICES, _ENDPOINTS, _CHANGES = 5000, 10, 200
_TENANTS, _PODS_PER_TENANT = 2000, 10
_IDLE_SECONDS = 20.0
_NODE_LEASE_SECONDS = 10.0
_SETTLED_SECONDS = 5.0  # without work on the side of the controllers

_SPACE = "/tenants/acme/api/v1/namespaces/shop"
_DEPLOYMENTS = "/tenants/acme/apis/apps/v1/namespaces/shop/deployments"
_IMAGE = "registry.example/shop/web"

Object = dict[str, Any]


def deployment(name: str, replicas: int, argument: str = "one") -> Object:
    labels = {"app": name}
    container = {
        "name": "main", "image": _IMAGE, "args": ["hollow", argument],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "COLOUR", "value": "green"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }  # fmt: skip
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


class Measure:
    """Time and processor seconds between its making and `figures`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._began, self._used = cluster, time.monotonic(), cluster.cpu()

    def figures(self, name: str, goal_seconds: float | None) -> list[Figure]:
        took = time.monotonic() - self._began
        used = {part: now - self._used.get(part, 0.0) for part, now in self._cluster.cpu().items()}
        return [
            Figure(name, took, "s", goal_seconds, True),
            *(Figure(f"  processor, {part}", seconds, "s") for part, seconds in used.items()),
        ]


async def rollout(directory: Path, scale: float) -> list[Figure]:
    replicas = round(_REPLICAS * scale)
    async with running_cluster(directory, "scheduler", "controllers", nodes=_NODES) as cluster:
        await _shop(cluster)
        await cluster.client.request("POST", _DEPLOYMENTS, json=deployment("web", _FIRST))
        await until(lambda: _rolled_out(cluster, _FIRST))
        figures = []
        for what, body, goal in (
            (f"a Deployment from {_FIRST} to {replicas} replicas", deployment("web", replicas), 20.0),
            (f"a rolling update of {replicas}", deployment("web", replicas, "two"), 60.0),
        ):
            measure = Measure(cluster)
            await cluster.client.request(
                "PATCH", f"{_DEPLOYMENTS}/web", json=body, content_type="application/merge-patch+json"
            )
            await until(lambda: _rolled_out(cluster, replicas))
            figures += measure.figures(what, goal)
        return figures


async def namespace(directory: Path, scale: float) -> list[Figure]:
    many = round(_DELETED_PODS * scale)
    async with running_cluster(directory, "scheduler", "controllers", nodes=_NODES) as cluster:
        await _shop(cluster)
        measure = Measure(cluster)
        await cluster.client.request("POST", _DEPLOYMENTS, json=deployment("web", many))
        await until(lambda: _rolled_out(cluster, many))
        figures = measure.figures(f"(a Deployment of {many} replicas)", None)
        figures.append(Figure("  memory of hn-controllers", cluster.rss_megabytes("controllers"), "MB"))
        measure = Measure(cluster)
        await cluster.client.request("DELETE", _SPACE)
        await until(lambda: _gone(cluster, _SPACE))
        return figures + measure.figures(f"a namespace of {many} pods deleted", 60.0)


async def _shop(cluster: Cluster) -> None:
    await tenants.create(cluster.client, cluster.plane.layout, "acme", None)
    await cluster.client.request("POST", "/tenants/acme/api/v1/namespaces", json={"metadata": {"name": "shop"}})


async def _rolled_out(cluster: Cluster, replicas: int) -> bool:
    cluster.check()
    found = await cluster.client.request("GET", f"{_DEPLOYMENTS}/web")
    status = found.get("status") or {}
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [replicas] * 3 and status["observedGeneration"] == found["metadata"]["generation"]


async def _gone(cluster: Cluster, path: str) -> bool:
    cluster.check()
    try:
        await cluster.client.request("GET", path)
    except Exception as error:
        if is_reason(error, "NotFound"):
            return True
        raise
    return False


def _running(address: str, ready: bool = True) -> Object:
    conditions = [
        {"type": name, "status": "True" if ready or name != "Ready" else "False",
         "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for name in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]  # fmt: skip
    container = {
        "name": "main", "image": _IMAGE, "imageID": f"{_IMAGE}@sha256:" + "0" * 64,
        "containerID": "hn://" + "0" * 64, "ready": ready, "started": True, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }  # fmt: skip
    return {
        "phase": "Running", "conditions": conditions, "containerStatuses": [container], "podIP": address,
        "podIPs": [{"ip": address}], "hostIP": "192.0.2.1", "startTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def _address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


async def _say_running(cluster: Cluster, pods: str, name: str, address: str, ready: bool = True) -> None:
    """As the agent of its node would."""
    body = {"status": _running(address, ready)}
    await cluster.client.request(
        "PATCH", f"{pods}/{name}/status", json=body, content_type="application/merge-patch+json"
    )


async def _say_pod_running(cluster: Cluster, pod: Object, number: int) -> None:
    key = key_of_metadata(pod["metadata"], "")
    pods = f"/tenants/{key.tenant}/api/v1/namespaces/{key.namespace}/pods"
    await _say_running(cluster, pods, key.name, _address(number))


async def _keep_node(cluster: Cluster) -> None:
    """Until cancelled: the node `n1` is there and alive, or its pods would be deleted."""
    await cluster.client.request("POST", "/api/v1/nodes", json={"metadata": {"name": "n1"}})
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    await cluster.client.request(
        "PATCH", "/api/v1/nodes/n1/status", json={"status": {"conditions": conditions}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    body = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
    await cluster.client.request("POST", leases, json=body)
    while True:
        body = {"spec": {"renewTime": times.format_micro_time(times.now())}}
        await cluster.client.request("PATCH", f"{leases}/n1", json=body, content_type="application/merge-patch+json")
        await asyncio.sleep(_NODE_LEASE_SECONDS)


async def services(directory: Path, scale: float) -> list[Figure]:
    async with running_cluster(directory) as cluster:
        node = asyncio.create_task(_keep_node(cluster))
        try:
            return await _services(cluster, round(_SERVICES * scale))
        finally:
            node.cancel()
            await asyncio.gather(node, return_exceptions=True)


async def _services(cluster: Cluster, count: int) -> list[Figure]:
    client = cluster.client
    await tenants.create(client, cluster.plane.layout, "acme", None)
    space = "/tenants/acme/api/v1/namespaces/default"

    async def backend(service: int, number: int) -> None:
        body = deployment(f"s{service}", 1)["spec"]["template"]
        body["metadata"]["name"] = f"s{service}-{number}"
        body["spec"]["nodeName"] = "n1"
        await client.request("POST", f"{space}/pods", json=body)
        await _say_running(cluster, f"{space}/pods", f"s{service}-{number}", _address(service * _ENDPOINTS + number))

    async def service(number: int) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        spec = {"selector": {"app": f"s{number}"}, "ports": ports, "clusterIP": "None"}
        await client.request("POST", f"{space}/services", json={"metadata": {"name": f"s{number}"}, "spec": spec})

    await all_of(service(number) for number in range(count))
    await all_of(backend(n, number) for n in range(count) for number in range(_ENDPOINTS))
    measure = Measure(cluster)
    await cluster.start("controllers")
    await until(lambda: _published(cluster, space, count), every=2.0)
    figures = measure.figures(f"endpoints of {count} Services from nothing", None)
    await _settled(cluster)
    measure = Measure(cluster)
    delays = [await _endpoint_change(cluster, f"{space}/pods", n * 23 % count) for n in range(_CHANGES)]
    delays.sort()
    return [
        *figures,
        Figure(f"one endpoint's change of {count} Services, p50", statistics.median(delays) * 1e3, "ms"),
        Figure("  p99", delays[round(len(delays) * 0.99) - 1] * 1e3, "ms", 100, True),
        *measure.figures(f"{_CHANGES} changes", None),
        Figure("memory of hn-controllers", cluster.rss_megabytes("controllers"), "MB"),
    ]


async def _published(cluster: Cluster, space: str, count: int) -> bool:
    cluster.check()
    slices = space.replace("/api/v1/", "/apis/discovery.k8s.io/v1/") + "/endpointslices"
    for path in (slices, f"{space}/endpoints"):
        answer = await cluster.client.request("GET", path, params={"limit": "1"})
        if 1 + answer["metadata"].get("remainingItemCount", 0) < count:
            return False
    return True


async def _endpoint_change(cluster: Cluster, pods: str, service: int) -> float:
    """Seconds from the status of a pod that is no longer ready to the event that its EndpointSlice says so."""
    resource = scheme.by_name("discovery.k8s.io/v1", "endpointslices")
    label = f"kubernetes.io/service-name=s{service}"
    selection = Selection(resource, "acme", "default", label_selector=label)
    revision = (await cluster.client.list_raw(selection)).resource_version
    name = f"s{service}-3"

    async def told() -> float:
        async for event in cluster.client.watch_raw(selection, revision):
            for endpoint in event.fields.get("endpoints") or ():
                if endpoint["targetRef"]["name"] == name and not endpoint["conditions"]["ready"]:
                    return time.monotonic()
        raise AssertionError("the watch ended")

    telling = asyncio.ensure_future(told())
    await asyncio.sleep(0.05)  # the watch is open by then; were it not, it would show what it missed
    began = time.monotonic()
    await _say_running(cluster, pods, name, _address(service * _ENDPOINTS + 3), ready=False)
    return await asyncio.wait_for(telling, 60) - began


async def many_tenants(directory: Path, scale: float) -> list[Figure]:
    count = round(_TENANTS * scale)
    figures, used, memory = [], [], []
    for names in (["one"], [f"t{number}" for number in range(count)]):
        title = f"{count * _PODS_PER_TENANT} pods of {count} Deployments in {len(names)} tenant{'s'[: len(names) - 1]}"
        async with running_cluster(directory / names[0]) as cluster:
            own, cost, megabytes = await _populated(cluster, names, count, title)
        figures += own
        used.append(cost)
        memory.append(megabytes)
    return [
        *figures,
        Figure("processor of hn-controllers, many tenants to one", used[1] / used[0], "", 1.2, True),
        Figure("memory of hn-controllers, many tenants to one", memory[1] / memory[0], "", 1.2, True),
    ]


async def _populated(cluster: Cluster, names: list[str], count: int, title: str) -> tuple[list[Figure], float, float]:
    """The figures; seconds of hn-controllers' processor for making the pods and following their start; its MB."""
    client = cluster.client
    await all_of(
        client.request("POST", "/apis/hypernetes.io/v1/tenants", json={"metadata": {"name": n}}) for n in names
    )
    await cluster.start("controllers")
    await _settled(cluster)
    figures = [Figure(f"{title}: memory before", cluster.rss_megabytes("controllers"), "MB")]
    measure, before = Measure(cluster), cluster.cpu()["controllers"]
    await all_of(
        client.request(
            "POST", f"/tenants/{names[number % len(names)]}/apis/apps/v1/namespaces/default/deployments",
            json=deployment(f"d{number}", _PODS_PER_TENANT),
        )
        for number in range(count)
    )  # fmt: skip
    selection = Selection(scheme.by_name("v1", "pods"), "*", metadata_only=True)
    total = count * _PODS_PER_TENANT

    async def made() -> bool:
        answer = await client.request("GET", "/tenants/*/api/v1/pods", params={"limit": "1"})
        return 1 + int(answer["metadata"].get("remainingItemCount", 0)) == total

    await until(made, every=1.0)
    found = (await client.list_raw(selection)).items
    await all_of(_say_pod_running(cluster, item, number) for number, item in enumerate(found))
    await _settled(cluster)
    cost = cluster.cpu()["controllers"] - before
    figures += measure.figures(f"{title}: made and running", None)
    memory = cluster.rss_megabytes("controllers")
    idle = cluster.cpu()["controllers"]
    await asyncio.sleep(_IDLE_SECONDS)
    idle = (cluster.cpu()["controllers"] - idle) / _IDLE_SECONDS * 100
    figures += [
        Figure(f"{title}: memory of hn-controllers", memory, "MB", 400, True),
        Figure(f"{title}: idle processor of hn-controllers", idle, "%", 1.0, True),
    ]
    return figures, cost, memory


async def _settled(cluster: Cluster) -> None:
    """Until the controllers have been doing next to nothing for a while."""
    used, since = cluster.cpu()["controllers"], time.monotonic()
    async with asyncio.timeout(400):
        while time.monotonic() - since < _SETTLED_SECONDS:
            await asyncio.sleep(1.0)
            cluster.check()
            now = cluster.cpu()["controllers"]
            if now - used > 0.05:
                since = time.monotonic()
            used = now


Part = Callable[[Path, float], Awaitable[list[Figure]]]
PARTS: dict[str, Part] = {"rollout": rollout, "namespace": namespace, "services": services, "tenants": many_tenants}


@click.command()
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--part", "parts", type=click.Choice(list(PARTS)), multiple=True, help="Only this; may be repeated.")
@click.option("--scale", type=click.FloatRange(0.01, 1), default=1.0, show_default=True, help="Of all numbers.")
def main(path: Path | None, parts: tuple[str, ...], scale: float) -> None:
    figures: list[Figure] = []
    try:
        for name in parts or PARTS:
            with tempfile.TemporaryDirectory(prefix="hypernetes-benchmark-") as directory:
                figures += asyncio.run(PARTS[name](Path(directory), scale))
    finally:
        if figures:
            report(figures, path)  # of the parts that have ended


if __name__ == "__main__":
    main()
