"""The client against the real API server: its errors, its restarts, its watches."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hypernetes.api import times
from hypernetes.api.models.core_v1 import ConfigMap, Namespace
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.cli import credentials
from hypernetes.client import Client, ClientConfig, Informer, LeaderElector, Unreachable
from tests.integration.control_plane import ControlPlane, free_port, running


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


@asynccontextmanager
async def followed(client: Client) -> AsyncIterator[tuple[Informer[ConfigMap], list[tuple[str, str | None]]]]:
    """An informer of the tenant's ConfigMaps, and what it told: names and values."""
    informer = Informer(client, ConfigMap, tenant="*", namespace=None)
    told: list[tuple[str, str | None]] = []
    informer.on_change(lambda key, old, new: told.append((key.name, new and new.data.get("value"))))
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(30):
            await informer.wait_synced()
        told.clear()
        yield informer, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(informer: Informer[ConfigMap], name: str, value: str) -> None:
    """Until the cache has it; woken by changes."""
    changed = asyncio.Event()
    informer.on_key(lambda key: changed.set())
    async with asyncio.timeout(60):
        while not any(key.name == name and obj.data.get("value") == value for key, obj in informer.items()):
            changed.clear()
            await changed.wait()


async def test_objects_are_created_changed_listed_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        created = await client.create(config_map("a", value="1"))
        assert created.metadata.uid
        stale = await client.get(ConfigMap, "a", namespace="default")
        changed = await client.patch(ConfigMap, "a", {"data": {"value": "2"}}, namespace="default")
        assert changed.data == {"value": "2"}
        with pytest.raises(StatusError) as conflict:
            await client.update(stale.model_copy(update={"data": {"value": "3"}}))
        assert conflict.value.reason == "Conflict"
        for number in range(3):
            await client.create(config_map(f"b{number}"))
        listing = await client.list(ConfigMap, namespace="default")
        assert {"a", "b0", "b1", "b2"} <= {item.metadata.name for item in listing.items}
        with pytest.raises(StatusError) as mismatch:
            await client.delete(ConfigMap, "a", namespace="default", uid="00000000-0000-0000-0000-000000000000")
        assert mismatch.value.reason == "Conflict"
        await client.delete(ConfigMap, "a", namespace="default", uid=created.metadata.uid)
        with pytest.raises(StatusError) as missing:
            await client.get(ConfigMap, "a", namespace="default")
        assert missing.value.reason == "NotFound"


async def test_all_pages_of_a_list_are_one_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypernetes.client.rest._PAGE", 7)
    async with running(tmp_path) as (_, client):
        names = [f"c{number:02}" for number in range(30)]
        await asyncio.gather(*(client.create(config_map(name)) for name in names))
        listing = await client.list(ConfigMap, namespace="default")
        assert [item.metadata.name for item in listing.items if item.metadata.name != "kube-root-ca.crt"] == names


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    port = free_port()
    async with Client(ClientConfig(server=f"https://127.0.0.1:{port}")) as client:
        with pytest.raises(Unreachable, match=f"cannot connect to https://127.0.0.1:{port}: Connection refused"):
            await client.list(Namespace)


async def test_a_server_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    async with running(tmp_path) as (plane, _):
        stranger = Client(ClientConfig(server=f"https://127.0.0.1:{plane.port}"))
        async with stranger:
            with pytest.raises(Unreachable, match="certificate we don't trust"):
                await stranger.list(Namespace)


async def test_an_informer_tells_each_change_once_across_restarts_of_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as (plane, client), followed(client) as (informer, told):
        await client.create(config_map("a", value="0"))
        await until(informer, "a", "0")
        for number in range(1, 4):
            await plane.stop("apiserver", signal.SIGKILL if number % 2 else signal.SIGTERM)
            await plane.start("apiserver")
            await plane.wait_ready(client)
            await client.patch(ConfigMap, "a", {"data": {"value": str(number)}}, namespace="default")
            await until(informer, "a", str(number))
        assert [entry for entry in told if entry[0] == "a"] == [("a", str(number)) for number in range(4)]


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as (plane, client):
        first = client.config.client_cert_pem
        renew(plane)
        client._transport._credentials.refresh()
        assert client.config.client_cert_pem != first
        assert (await client.list(Namespace)).items


def renew(plane: ControlPlane) -> None:
    cluster = plane.layout.load()
    plane.layout.pki_directory(cluster).certificate("admin").unlink()
    credentials.ensure(plane.layout, cluster, [], times.now())


async def test_of_two_candidates_one_leads_and_hands_over(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        leading: asyncio.Queue[str] = asyncio.Queue()

        async def lead(name: str) -> None:
            async def work() -> None:
                leading.put_nowait(name)
                await asyncio.Event().wait()

            await LeaderElector(client, "test", identity=name).run(work)

        first = asyncio.create_task(lead("first"))
        async with asyncio.timeout(30):
            assert await leading.get() == "first"
            second = asyncio.create_task(lead("second"))
            await asyncio.sleep(0.5)
            assert leading.empty()
            first.cancel()
            assert await leading.get() == "second"
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
