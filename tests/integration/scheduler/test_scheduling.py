"""hn-scheduler as a process beside a real hn-apiserver: nodes that nobody runs, pods of two tenants."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from hypernetes.api.models.core_v1 import Event, Node, Pod
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.cli import tenants
from hypernetes.client import Client
from tests.integration.control_plane import running

T = TypeVar("T")
_DEADLINE_SECONDS = 60.0


async def eventually(look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while True:
            if (found := await look()) is not None:
                return found
            await asyncio.sleep(0.1)


async def add_node(client: Client, name: str, **allocatable: str) -> None:
    resources = {"cpu": "2", "memory": "4Gi", "pods": "10", **allocatable}
    value = {"metadata": {"name": name}, "status": {"allocatable": resources, "capacity": resources}}
    node = await client.create(Node.from_dict(value), tenant=SYSTEM_TENANT)
    await client.patch(Node, name, {"status": value["status"]}, tenant=SYSTEM_TENANT, subresource="status")
    zone = {"metadata": {"labels": {"zone": name[0]}}}
    await client.patch(Node, name, zone, tenant=SYSTEM_TENANT)
    if node.spec.taints:  # as of a node that has just registered
        await client.patch(Node, name, {"spec": {"taints": None}}, tenant=SYSTEM_TENANT)


async def add_pod(client: Client, name: str, tenant: str, cpu: str, app: str = "", **spec: Any) -> None:
    container = {"name": "c", "image": "127.0.0.1:5000/busybox", "resources": {"requests": {"cpu": cpu}}}
    value: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app or name}},
        "spec": {"containers": [container], "automountServiceAccountToken": False, **spec},
    }
    await client.create(Pod.from_dict(value), tenant=tenant)


async def bound(client: Client, name: str, tenant: str) -> str:
    async def look() -> str | None:
        return (await client.get(Pod, name, namespace="default", tenant=tenant)).spec.node_name

    return await eventually(look)


async def test_pods_of_all_tenants_are_bound_and_those_that_do_not_fit_say_why(tmp_path: Path) -> None:
    async with running(tmp_path / "c", "scheduler", tenant="acme") as (plane, client):
        await tenants.create(client, plane.layout, "globex", None)
        await add_pod(client, "web", "acme", "1")

        async def told() -> Pod | None:
            pod = await client.get(Pod, "web", namespace="default", tenant="acme")
            return pod if pod.status.conditions else None

        condition = (await eventually(told)).status.conditions[0]
        assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
        assert condition.message == "no nodes available to schedule pods"

        await add_node(client, "n1")
        assert await bound(client, "web", "acme") == "n1"
        await add_pod(client, "web", "globex", "1")
        assert await bound(client, "web", "globex") == "n1"
        conditions = (await client.get(Pod, "web", namespace="default", tenant="acme")).status.conditions
        assert [(each.type, each.status) for each in conditions] == [("PodScheduled", "True")]

        async def events() -> dict[str, str] | None:
            items = (await client.list(Event, tenant="acme", namespace="default")).items
            seen = {event.reason or "": event.message or "" for event in items}
            return seen if "Scheduled" in seen else None

        assert await eventually(events) == {
            "FailedScheduling": "no nodes available to schedule pods",
            "Scheduled": "Successfully assigned default/web to n1",
        }

        await add_pod(client, "more", "acme", "1500m")

        async def full() -> str | None:
            pod = await client.get(Pod, "more", namespace="default", tenant="acme")
            return pod.status.conditions[0].message if pod.status.conditions else None

        assert await eventually(full) == "0/1 nodes are available: 1 Insufficient cpu."
        await client.delete(Pod, "web", namespace="default", tenant="acme", grace_seconds=0)
        await client.delete(Pod, "web", namespace="default", tenant="globex", grace_seconds=0)
        assert await bound(client, "more", "acme") == "n1"
        assert await plane.stop("scheduler") == 0


async def test_killed_at_any_moment_it_goes_on_without_overcommitting(tmp_path: Path) -> None:
    async with running(tmp_path / "c", tenant="acme") as (plane, client):
        for n in range(3):
            await add_node(client, f"n{n}", cpu="4")
        async with asyncio.TaskGroup() as tasks:
            for n in range(15):
                tasks.create_task(add_pod(client, f"p{n}", "acme", "1"))

        async def placed(count: int) -> bool | None:
            pods = (await client.list(Pod, tenant="acme", namespace="default")).items
            return True if sum(bool(pod.spec.node_name) for pod in pods) >= count else None

        await plane.start("scheduler")
        await eventually(lambda: placed(1))
        await plane.stop("scheduler", signal.SIGKILL)
        await plane.start("scheduler")  # it waits until the dead one's lease is over
        await eventually(lambda: placed(12))
        pods = (await client.list(Pod, tenant="acme", namespace="default")).items
        nodes = [pod.spec.node_name for pod in pods if pod.spec.node_name]
        assert sorted(nodes) == sorted(["n0", "n1", "n2"] * 4)


async def test_pods_lie_apart_together_and_evenly_and_say_why_not(tmp_path: Path) -> None:
    def rule(app: str, topology: str) -> dict[str, Any]:
        return {"topologyKey": topology, "labelSelector": {"matchLabels": {"app": app}}}

    required = "requiredDuringSchedulingIgnoredDuringExecution"
    apart = {"affinity": {"podAntiAffinity": {required: [rule("web", "zone")]}}}
    together = {"affinity": {"podAffinity": {required: [rule("leader", "kubernetes.io/hostname")]}}}
    even = {
        "topologySpreadConstraints": [
            {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["app"], **rule("even", "zone")}
        ]
    }
    async with running(tmp_path / "c", "scheduler", tenant="acme") as (plane, client):
        await tenants.create(client, plane.layout, "globex", None)
        for name in ("a1", "a2", "b1"):
            await add_node(client, name, cpu="8")
            await client.patch(
                Node, name, {"metadata": {"labels": {"kubernetes.io/hostname": name}}}, tenant=SYSTEM_TENANT
            )
        await add_pod(client, "theirs", "globex", "1", "web", **apart)
        await bound(client, "theirs", "globex")  # it keeps nobody else's away
        for number in range(2):
            await add_pod(client, f"web-{number}", "acme", "1", "web", **apart)
        zones = [(await bound(client, f"web-{number}", "acme"))[0] for number in range(2)]
        assert sorted(zones) == ["a", "b"]
        await add_pod(client, "late", "acme", "1", "web", **apart)

        async def why() -> str | None:
            pod = await client.get(Pod, "late", namespace="default", tenant="acme")
            return pod.status.conditions[0].message if pod.status.conditions else None

        assert await eventually(why) == "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
        await client.delete(Pod, "web-1", namespace="default", tenant="acme", grace_seconds=0)
        assert (await bound(client, "late", "acme"))[0] == zones[1]

        await add_pod(client, "follower", "acme", "1", **together)
        await add_pod(client, "leader", "acme", "1")
        assert await bound(client, "follower", "acme") == await bound(client, "leader", "acme")

        for number in range(4):
            await add_pod(client, f"even-{number}", "acme", "1", "even", **even)
        spread = [(await bound(client, f"even-{number}", "acme"))[0] for number in range(4)]
        assert sorted(spread) == ["a", "a", "b", "b"]


async def test_a_pod_of_a_higher_class_takes_the_place_of_a_lower_one_of_its_tenant(tmp_path: Path) -> None:
    async with running(tmp_path / "c", "scheduler", tenant="acme") as (plane, client):
        await tenants.create(client, plane.layout, "globex", None)
        await add_node(client, "n1", cpu="2")
        for value, name in ((10, "low"), (1000, "high")):
            body = {"metadata": {"name": name}, "value": value}
            await client.request("POST", "/tenants/acme/apis/scheduling.k8s.io/v1/priorityclasses", json=body)
        await add_pod(client, "batch", "acme", "1", priorityClassName="low")
        await add_pod(client, "theirs", "globex", "1")
        for name, tenant in (("batch", "acme"), ("theirs", "globex")):
            assert await bound(client, name, tenant) == "n1"
        await add_pod(client, "web", "acme", "1", priorityClassName="high")

        async def going() -> Pod | None:
            pod = await client.get(Pod, "batch", namespace="default", tenant="acme")
            return pod if pod.metadata.deletion_timestamp else None

        reasons = {each.type: each.reason for each in (await eventually(going)).status.conditions}
        assert reasons["DisruptionTarget"] == "PreemptionByScheduler"

        async def nominated() -> str | None:
            return (await client.get(Pod, "web", namespace="default", tenant="acme")).status.nominated_node_name

        assert await eventually(nominated) == "n1"

        async def preempted() -> str | None:
            items = (await client.list(Event, tenant="acme", namespace="default")).items
            return next((each.message for each in items if each.reason == "Preempted"), None)

        assert await eventually(preempted) == "Preempted by pod default/web on node n1"
        await client.delete(Pod, "batch", namespace="default", tenant="acme", grace_seconds=0)  # as its agent would
        assert await bound(client, "web", "acme") == "n1"
        theirs = await client.get(Pod, "theirs", namespace="default", tenant="globex")
        assert theirs.metadata.deletion_timestamp is None


async def texts(client: Client, round_: str) -> dict[str, str]:
    """What acme is told of pods that only its own pods, or no node at all, could suit."""
    near = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "secret-of-globex"}}}
    wanted: dict[str, dict[str, Any]] = {
        "picky": {"nodeSelector": {"disk": "none"}},
        "huge": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "50"}}}]},
        "near": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}}},
        "far": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}}},
    }
    found = {}
    for name, spec in wanted.items():
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "10m"}}}
        value = {
            "metadata": {"name": f"{name}-{round_}", "namespace": "default"},
            "spec": {"containers": [container], "automountServiceAccountToken": False, **spec},
        }
        await client.create(Pod.from_dict(value), tenant="acme")

        async def told(name: str = name) -> str | None:
            pod = await client.get(Pod, f"{name}-{round_}", namespace="default", tenant="acme")
            condition = pod.status.conditions[0] if pod.status.conditions else None
            return None if condition is None else f"{condition.reason}: {condition.message}"

        found[name] = await eventually(told)
        await client.delete(Pod, f"{name}-{round_}", namespace="default", tenant="acme", grace_seconds=0)
    return found


async def test_what_a_tenant_is_told_is_the_same_whether_another_has_nothing_or_much(tmp_path: Path) -> None:
    async with running(tmp_path / "c", "scheduler", tenant="acme") as (plane, client):
        await tenants.create(client, plane.layout, "globex", None)
        await add_node(client, "n1")
        empty = await texts(client, "empty")
        for number in range(3):
            container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
            value = {
                "metadata": {"name": f"p{number}", "namespace": "default", "labels": {"app": "secret-of-globex"}},
                "spec": {"containers": [container], "automountServiceAccountToken": False},
            }
            await client.create(Pod.from_dict(value), tenant="globex")
            assert await bound(client, f"p{number}", "globex") == "n1"
        assert await texts(client, "full") == empty
        assert empty["picky"].startswith("Unschedulable: 0/1 nodes are available: 1 node(s) didn't match")
        assert empty["huge"] == "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
        assert not empty["far"].startswith("Unschedulable")
