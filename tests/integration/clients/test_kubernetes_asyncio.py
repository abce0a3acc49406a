"""kubernetes_asyncio: many calls at once, watches that end and go on, a leader across a restart."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes_asyncio import client, config, dynamic, utils, watch
from kubernetes_asyncio.client import ApiClient, ApiException, CoreV1Api
from kubernetes_asyncio.leaderelection import electionconfig, leaderelection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock

from tests.integration.clients.commands import Kubectl
from tests.integration.clients.planes import Plane

_SECONDS = 60.0  # generous, since the machine may be busy


@pytest.fixture
async def api(kubectl: Kubectl) -> AsyncIterator[ApiClient]:
    api = await config.new_client_from_config(config_file=str(kubectl.kubeconfig))
    yield api
    await api.close()


@pytest.fixture
def core(api: ApiClient) -> CoreV1Api:
    return CoreV1Api(api)


def config_map(name: str, app: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": app}}, "data": data}


async def test_many_objects_are_made_read_and_deleted_at_once(core: CoreV1Api) -> None:
    names = [f"crowd-{number:02}" for number in range(40)]
    made = await asyncio.gather(
        *(core.create_namespaced_config_map("default", config_map(name, "crowd", of=name)) for name in names)
    )
    assert len({item.metadata.resource_version for item in made}) == 40
    read = await asyncio.gather(*(core.read_namespaced_config_map(name, "default") for name in names))
    assert [item.data["of"] for item in read] == names
    await core.delete_collection_namespaced_config_map("default", label_selector="app=crowd")
    assert (await core.list_namespaced_config_map("default", label_selector="app=crowd")).items == []


async def test_of_many_clients_that_make_one_object_one_succeeds(core: CoreV1Api) -> None:
    tries = await asyncio.gather(
        *(core.create_namespaced_config_map("default", config_map("only", "only")) for _ in range(10)),
        return_exceptions=True,
    )
    refused = [error for error in tries if isinstance(error, ApiException)]
    assert [(error.status, error.reason) for error in refused] == [(409, "Conflict")] * 9
    await core.delete_namespaced_config_map("only", "default")


async def test_a_watch_shows_an_object_come_change_and_go(core: CoreV1Api) -> None:
    version = (await core.list_namespaced_config_map("default")).metadata.resource_version
    await core.create_namespaced_config_map("default", config_map("seen", "seen", turn="1"))
    await core.patch_namespaced_config_map("seen", "default", {"data": {"turn": "2"}})
    await core.patch_namespaced_config_map("seen", "default", {"metadata": {"labels": {"app": "other"}}})
    events = []
    async with watch.Watch().stream(
        core.list_namespaced_config_map, "default", label_selector="app=seen", resource_version=version,
        timeout_seconds=30,
    ) as stream:  # fmt: skip
        async for event in stream:
            events.append((event["type"], event["object"].data["turn"]))
            if event["type"] == "DELETED":
                break
    assert events == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]  # it matches no more


async def test_a_watch_ends_when_its_time_is_up(core: CoreV1Api) -> None:
    async with asyncio.timeout(_SECONDS), watch.Watch().stream(core.list_namespace, timeout_seconds=1) as stream:
        names = {event["object"].metadata.name async for event in stream}
    assert {"default", "kube-system"} <= names


async def test_the_dynamic_client_works_on_what_it_discovers(api: ApiClient) -> None:
    found = await dynamic.DynamicClient(api)
    maps = await found.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "b"}}
    assert (await maps.create(body=body, namespace="default")).data.a == "b"
    assert (await maps.get(name="dynamic", namespace="default")).metadata.name == "dynamic"
    await maps.delete(name="dynamic", namespace="default")
    missing = await maps.get(name="dynamic", namespace="default")
    assert (missing.kind, missing.code, missing.reason) == ("Status", 404, "NotFound")


async def test_a_manifest_is_created(api: ApiClient) -> None:
    manifest = {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "replicas": 0,
            "template": {
                "metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "db"}]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    }  # fmt: skip
    await utils.create_from_dict(api, manifest, namespace="default")
    apps = client.AppsV1Api(api)
    made = await apps.read_namespaced_stateful_set("db", "default")
    assert made.spec.pod_management_policy == "OrderedReady"
    assert made.spec.volume_claim_templates[0].spec.volume_mode == "Filesystem"
    await apps.delete_namespaced_stateful_set("db", "default")


async def test_a_follower_lists_and_watches_again_after_the_server_was_restarted(plane: Plane, core: CoreV1Api) -> None:
    seen: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def follow() -> None:
        """As informers do: list, watch, and after whatever error the same again."""
        while True:
            try:
                found = await core.list_namespaced_config_map("default", label_selector="app=followed")
                for item in found.items:
                    seen.put_nowait(("LISTED", item.metadata.name))
                async with watch.Watch().stream(
                    core.list_namespaced_config_map, "default", label_selector="app=followed",
                    resource_version=found.metadata.resource_version,
                ) as stream:  # fmt: skip
                    async for event in stream:
                        seen.put_nowait((event["type"], event["object"].metadata.name))
            except (ApiException, aiohttp.ClientError):
                await asyncio.sleep(0.1)

    async def expect(*wanted: tuple[str, str]) -> None:
        async with asyncio.timeout(_SECONDS):
            assert [await seen.get() for _ in wanted] == list(wanted)

    await core.create_namespaced_config_map("default", config_map("before", "followed"))
    following = asyncio.create_task(follow())
    try:
        await expect(("LISTED", "before"))
        await asyncio.to_thread(plane.stop_server)
        await asyncio.to_thread(plane.start_server)
        await expect(("LISTED", "before"))
        await core.create_namespaced_config_map("default", config_map("after", "followed"))
        await expect(("ADDED", "after"))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_leader_that_falls_silent_is_followed_by_another(api: ApiClient) -> None:
    leaders: asyncio.Queue[str] = asyncio.Queue()

    def candidate(name: str) -> asyncio.Task[None]:
        async def lead() -> None:
            leaders.put_nowait(name)

        async def stop() -> None:
            leaders.put_nowait(f"{name} no longer")

        election = electionconfig.Config(
            LeaseLock("office-async", "default", name, api), lease_duration=3, renew_deadline=2, retry_period=1,
            onstarted_leading=lead, onstopped_leading=stop,
        )  # fmt: skip
        return asyncio.create_task(leaderelection.LeaderElection(election).run())

    first = candidate("first")
    second: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(_SECONDS):
            assert await leaders.get() == "first"
            second = candidate("second")
            await asyncio.sleep(1)
            assert leaders.empty()  # while the first one renews its lease
            first.cancel()
            assert await leaders.get() == "second"
    finally:
        tasks = [task for task in (first, second) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
