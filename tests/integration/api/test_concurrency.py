"""Many writers at once: no update is lost and no quota passed, whoever else writes and whatever is killed."""

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import ConfigMap
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.client import REQUEST_ERRORS, Client, is_reason
from tests.integration.api.servers import Answer, User, serving
from tests.integration.control_plane import running
from tests.integration.storage.etcd_process import EtcdProcess

Object = dict[str, Any]

CLIENTS, PLACES = 50, 20
FREE = PLACES - 1  # each namespace has its kube-root-ca.crt
SPACE = "/api/v1/namespaces/space"
MAPS, QUOTA = f"{SPACE}/configmaps", f"{SPACE}/resourcequotas/q"
MERGE = {"Content-Type": "application/merge-patch+json"}


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def bounded_namespace(user: User, **hard: str) -> None:
    """A namespace with a quota that is in force, as its controller puts it."""
    assert (await user("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})).status == 201
    quota = {"metadata": {"name": "q"}, "spec": {"hard": hard}}
    assert (await user("POST", f"{SPACE}/resourcequotas", quota)).status == 201
    told = await user("PATCH", f"{QUOTA}/status", {"status": {"hard": hard}}, headers=MERGE)
    assert told.status == 200, told.body


async def used(user: User) -> Object:
    return (await user("GET", QUOTA)).json["status"]["used"]


async def together(count: int, ask: Callable[[int], Any]) -> list[Answer]:
    return list(await asyncio.gather(*(ask(number) for number in range(count))))


async def test_no_update_of_fifty_writers_is_lost(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})
    await admin("POST", MAPS, {**config_map("counter"), "data": {"count": "0"}})

    async def increment(_: int) -> None:
        done = False
        while not done:
            found = (await admin("GET", f"{MAPS}/counter")).json
            found["data"]["count"] = str(int(found["data"]["count"]) + 1)
            written = await admin("PUT", f"{MAPS}/counter", found)
            assert written.status in (200, 409), written.body
            done = written.status == 200

    await together(CLIENTS, increment)
    assert (await admin("GET", f"{MAPS}/counter")).json["data"] == {"count": str(CLIENTS)}


async def test_fifty_creates_fill_a_quota_exactly(admin: User) -> None:
    await bounded_namespace(admin, **{"count/configmaps": str(PLACES)})
    answers = await together(CLIENTS, lambda n: admin("POST", MAPS, config_map(f"m{n}")))
    assert Counter(answer.status for answer in answers) == {201: FREE, 403: CLIENTS - FREE}
    refused = next(answer for answer in answers if answer.status == 403).json
    assert refused["reason"] == "Forbidden"
    assert refused["message"].endswith(
        "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=20, limited: count/configmaps=20"
    )
    assert await used(admin) == {"count/configmaps": "20"}

    made = [answer.name for answer in answers if answer.status == 201]
    await together(5, lambda n: admin("DELETE", f"{MAPS}/{made[n]}"))
    assert await used(admin) == {"count/configmaps": "15"}
    answers = await together(CLIENTS, lambda n: admin("POST", MAPS, {"metadata": {"generateName": "again-"}}))
    assert Counter(answer.status for answer in answers) == {201: 5, 403: CLIENTS - 5}


async def test_creates_and_deletes_at_once_leave_what_is_there(admin: User) -> None:
    await bounded_namespace(admin, **{"configmaps": "7", "count/configmaps": "100"})

    async def come_and_go(number: int) -> None:
        for turn in range(4):
            made = await admin("POST", MAPS, config_map(f"m{number}-{turn}"))
            assert made.status in (201, 403), made.body
            if made.status == 201 and turn < 3:
                assert (await admin("DELETE", f"{MAPS}/{made.name}")).status == 200

    await together(12, come_and_go)
    there = str(len((await admin("GET", MAPS)).json["items"]))
    assert await used(admin) == {"configmaps": there, "count/configmaps": there}


async def test_what_is_there_before_a_quota_is_counted(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})
    await together(3, lambda n: admin("POST", MAPS, config_map(f"m{n}")))
    await admin("POST", f"{SPACE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "5"}}})
    await admin("PATCH", f"{QUOTA}/status", {"status": {"hard": {"configmaps": "5"}}}, headers=MERGE)
    assert await used(admin) == {"configmaps": "4"}
    answers = await together(3, lambda n: admin("POST", MAPS, config_map(f"new{n}")))
    assert Counter(answer.status for answer in answers) == {201: 1, 403: 2}


async def test_two_servers_share_a_quota(etcd: EtcdProcess, tmp_path: Path) -> None:
    cluster_id = f"t{secrets.token_hex(3)}"
    one: Store = await open_store(etcd.location)
    other: Store = await open_store(etcd.location)
    try:
        async with serving(one, tmp_path, cluster_id) as first, serving(other, tmp_path, cluster_id) as second:
            await bounded_namespace(first, **{"count/configmaps": str(PLACES)})
            assert (await second("GET", QUOTA)).json["status"]["hard"]  # from now on it knows the quota, too
            answers = await together(CLIENTS, lambda n: (first, second)[n % 2]("POST", MAPS, config_map(f"m{n}")))
            assert Counter(answer.status for answer in answers) == {201: FREE, 403: CLIENTS - FREE}
            assert len((await first("GET", MAPS)).json["items"]) == PLACES
    finally:
        await one.close()
        await other.close()


@pytest.mark.parametrize("kind", ["sqlite", "etcd"])
async def test_a_quota_is_exact_after_the_server_was_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    options = ("--store", request.getfixturevalue("etcd").location) if kind == "etcd" else ()
    async with running(tmp_path, options=options) as (plane, client):
        await client.request("POST", "/api/v1/namespaces", json={"metadata": {"name": "space"}})
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": str(PLACES)}}}
        await client.request("POST", f"{SPACE}/resourcequotas", json=quota)
        quota["status"] = {"hard": quota["spec"]["hard"]}
        await client.request("PUT", f"{QUOTA}/status", json=quota)

        begun = asyncio.Event()
        writers = [asyncio.ensure_future(_create_and_delete(client, number, begun)) for number in range(10)]
        await begun.wait()
        await plane.stop("apiserver", signal.SIGKILL)
        await asyncio.gather(*writers)
        await plane.start("apiserver", *options)
        await plane.wait_ready(client)

        answers = await asyncio.gather(*(_created(client, f"after{number}") for number in range(CLIENTS)))
        assert not all(answers)
        there = await client.request("GET", MAPS)
        assert len(there["items"]) == PLACES
        assert (await client.request("GET", QUOTA))["status"]["used"] == {"configmaps": str(PLACES)}


async def _create_and_delete(client: Client, number: int, begun: asyncio.Event) -> None:
    """Until the server goes away."""
    with suppress(*REQUEST_ERRORS):
        for turn in range(1_000):
            if await _created(client, f"m{number}-{turn}") and turn % 3:
                await client.delete(ConfigMap, f"m{number}-{turn}", namespace="space")
            if turn == 5:
                begun.set()


async def _created(client: Client, name: str) -> bool:
    try:
        await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="space")))
    except REQUEST_ERRORS as error:
        if not is_reason(error, "Forbidden"):
            raise
        return False
    return True
