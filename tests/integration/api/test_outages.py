"""The store goes away and comes back: requests are answered in time, nothing acknowledged is lost, watches go on."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving
from tests.integration.storage.etcd_process import EtcdProcess, running_etcd

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ANSWER_SECONDS = 15.0  # the store's own deadline is 10


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[EtcdProcess]:
    """An etcd of this test's own."""
    directory = tmp_path / "etcd"
    directory.mkdir()
    with running_etcd(directory) as process:
        yield process


@pytest.fixture
async def admin(mortal: EtcdProcess, tmp_path: Path) -> AsyncIterator[User]:
    store = await open_store(mortal.location)
    try:
        async with serving(store, tmp_path, f"t{secrets.token_hex(3)}") as user:
            yield user
    finally:
        await store.close()


async def test_the_server_lives_through_an_outage_of_its_store(mortal: EtcdProcess, admin: User) -> None:
    before = await admin("POST", CONFIG_MAPS, {"metadata": {"name": "before"}})
    assert before.status == 201
    async with admin.watch(CONFIG_MAPS, resourceVersion=before.revision) as watch:
        mortal.stop()
        async with asyncio.timeout(ANSWER_SECONDS):
            refused = await asyncio.gather(
                admin("POST", CONFIG_MAPS, {"metadata": {"name": "during"}}),
                admin("DELETE", f"{CONFIG_MAPS}/before"),
                admin("GET", CONFIG_MAPS),
            )
        assert [(answer.status, answer.json["reason"]) for answer in refused] == [(503, "ServiceUnavailable")] * 3
        cached = await admin("GET", CONFIG_MAPS, resourceVersion="0")  # a reader that takes what there is
        assert (cached.status, (await admin("GET", "/readyz")).status) == (200, 500)
        mortal.start()
        async with asyncio.timeout(60):
            while (await admin("POST", CONFIG_MAPS, {"metadata": {"name": "after"}})).status != 201:
                await asyncio.sleep(0.2)
        seen = []
        while ("ADDED", "after") not in seen:
            seen += await watch.names(1)
    # each once; whether the refused writes happened is open, but the watch and a list agree
    assert len(seen) == len(set(seen))
    listed = {item["metadata"]["name"] for item in (await admin("GET", CONFIG_MAPS)).json["items"]}
    assert {name for kind, name in seen if kind == "ADDED"} == listed - {"before", "kube-root-ca.crt"}
    assert (("DELETED", "before") in seen) is ("before" not in listed)


async def test_a_store_restored_from_a_backup_is_read_anew(mortal: EtcdProcess, admin: User) -> None:
    assert (await admin("POST", CONFIG_MAPS, {"metadata": {"name": "saved"}})).status == 201
    mortal.stop()
    mortal.save()
    mortal.start()
    lost = await _created(admin, "lost")
    async with admin.watch(CONFIG_MAPS, resourceVersion=lost) as watch:
        mortal.stop()
        mortal.restore()
        mortal.start()
        event = await watch.next()
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        assert await watch.ended()
    listed = {item["metadata"]["name"] for item in (await admin("GET", CONFIG_MAPS)).json["items"]}
    assert "saved" in listed
    assert "lost" not in listed
    new = await _created(admin, "new")
    assert int(new) <= int(lost)
    assert (await admin("GET", f"{CONFIG_MAPS}/new")).status == 200


async def _created(admin: User, name: str) -> str:
    """The revision of a ConfigMap that is made as soon as the store answers."""
    async with asyncio.timeout(60):
        while True:
            made = await admin("POST", CONFIG_MAPS, {"metadata": {"name": name}})
            if made.status in (201, 409):
                return (await admin("GET", f"{CONFIG_MAPS}/{name}")).revision
            await asyncio.sleep(0.2)
