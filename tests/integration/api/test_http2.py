"""Many requests on one connection: watches that share it, and each that ends by itself."""

import asyncio
import logging
import ssl
from pathlib import Path

import orjson
import pytest

from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.apiserver.watchers import Watchers
from tests.integration.api.http2 import Exchange, administrators_context, connected
from tests.integration.api.servers import User, serving, until

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WATCH = f"{CONFIG_MAPS}?watch=true"


@pytest.fixture
def context(admin: User, tmp_path: Path) -> ssl.SSLContext:
    return administrators_context(tmp_path)


def config_map(name: str, size: int = 0) -> bytes:
    return orjson.dumps({"metadata": {"name": name}, "data": {"filling": "x" * size}})


def names(exchange: Exchange) -> list[str]:
    """Of the events that have come whole."""
    return [orjson.loads(line)["object"]["metadata"]["name"] for line in exchange.body.split(b"\n")[:-1]]


async def test_a_hundred_watches_on_one_connection_are_each_told_everything_once_and_end_each_by_itself(
    watchers: Watchers, admin: User, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(admin, context) as client:
        watches = [client.ask("GET", f"{WATCH}&fieldSelector=metadata.namespace%3Ddefault") for _ in range(100)]
        await client.until(lambda: all(watch.status for watch in watches))
        for name in ("a", "b"):
            made = await client.answered(client.ask("POST", CONFIG_MAPS, config_map(name)))
            assert made.status == 201
        told = ["kube-root-ca.crt", "a", "b"]
        await client.until(lambda: all(len(names(watch)) >= len(told) for watch in watches))
        client.cancel(watches[0])
        await until(lambda: len(watchers) == 99)
        await client.answered(client.ask("POST", CONFIG_MAPS, config_map("c")))
        await client.until(lambda: all(names(watch) == [*told, "c"] for watch in watches[1:]))
        assert names(watches[0]) == told
    await until(lambda: len(watchers) == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_is_asked_is_answered_as_over_http_1(admin: User, context: ssl.SSLContext) -> None:
    async with connected(admin, context) as client:
        await client.answered(client.ask("POST", CONFIG_MAPS, config_map("a"), content_type="application/json"))
        for path, headers in (
            (f"{CONFIG_MAPS}/a", {}), (f"{CONFIG_MAPS}/none", {}), (f"{CONFIG_MAPS}?limit=x", {}),
            (CONFIG_MAPS, {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}), ("/healthz", {}),
            (f"{CONFIG_MAPS}?labelSelector={'a' * 40_000}", {}), ("/openapi/v2", {"accept-encoding": "gzip"}),
            ("/api/v1/namespaces/default/pods/none/exec?command=x", {}),
        ):  # fmt: skip
            shared = await client.answered(
                client.ask("GET", path, **{k.replace("-", "_"): v for k, v in headers.items()})
            )
            async with admin.raw(path, headers) as alone:
                assert (shared.status, shared.body) == (alone.status, await alone.read())
                ours = {name.lower(): value for name, value in alone.headers.items()}
            for name in ("content-type", "content-encoding", "content-length", "etag", "vary", "warning"):
                assert shared.headers.get(name) == ours.get(name)


async def test_an_answer_of_megabytes_comes_whole_through_small_windows(admin: User, context: ssl.SSLContext) -> None:
    for number in range(40):
        await admin("POST", CONFIG_MAPS, orjson.loads(config_map(f"large-{number}", 50_000)))
    async with connected(admin, context) as client:
        lists = [client.ask("GET", CONFIG_MAPS) for _ in range(3)]
        for each in lists:
            await client.answered(each)
            assert len(orjson.loads(each.body)["items"]) == 41


async def test_a_large_body_comes_through_and_one_that_is_too_large_does_not(
    admin: User, context: ssl.SSLContext
) -> None:
    async with connected(admin, context) as client:
        await client.until(lambda: client.http.remote_settings.initial_window_size > 200_000)
        fits = await client.answered(client.ask("POST", CONFIG_MAPS, config_map("fits", 15_000)))
        assert fits.status == 201
        refused = client.ask("POST", CONFIG_MAPS, b"{", end=False, content_length=str(4 * 1024 * 1024))
        await client.until(lambda: refused.reset is not None)
        assert (refused.status, refused.ended, refused.reset) == (413, True, 0)
        assert (await client.answered(client.ask("GET", f"{CONFIG_MAPS}/fits"))).status == 200


async def test_a_write_is_carried_out_though_its_stream_is_reset(
    admin: User, store: Store, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, begun, go_on = store.create, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: object, **more: object) -> int:
        begun.set()
        await go_on.wait()
        return await create(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "create", slow)
    async with connected(admin, context) as client, asyncio.timeout(20):
        asked = client.ask("POST", CONFIG_MAPS, config_map("a"))
        await begun.wait()
        client.cancel(asked)
        assert (await client.answered(client.ask("GET", f"{CONFIG_MAPS}/a"))).status == 404
        go_on.set()
        while (await client.answered(client.ask("GET", f"{CONFIG_MAPS}/a"))).status == 404:
            await asyncio.sleep(0.01)


async def test_a_watch_whose_client_takes_nothing_is_cut_off_and_the_others_go_on(
    watchers: Watchers, admin: User, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernetes.apiserver.handlers.watching.SEND_DEADLINE_SECONDS", 0.2)
    async with connected(admin, context) as client:
        client.hold = True  # neither has a window left after 65,535 bytes
        stuck = client.ask("GET", WATCH)
        await client.until(lambda: bool(stuck.status))
        for number in range(4):
            await admin("POST", CONFIG_MAPS, orjson.loads(config_map(f"large-{number}", 50_000)))
        await client.until(lambda: stuck.reset is not None)
        await until(lambda: len(watchers) == 0)
        client.http.increment_flow_control_window(1_000_000)
        client.hold = False
        after = await client.answered(client.ask("GET", f"{CONFIG_MAPS}/large-0"))
        assert after.status == 200


async def test_watches_end_in_order_when_the_server_stops(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "stops") as admin:
        url_admin = admin
        manager = connected(url_admin, administrators_context(tmp_path))
        client = await manager.__aenter__()
        watch = client.ask("GET", WATCH)
        await client.until(lambda: bool(watch.status))
    await client.until(lambda: client.closed)
    assert watch.ended
    assert client.goodbye == 0
    await manager.__aexit__(None, None, None)
    await store.close()


async def test_who_has_no_valid_credential_does_not_keep_the_connection(admin: User, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.crt"))
    context.set_alpn_protocols(["h2"])
    async with connected(admin, context) as client:
        asked = client.ask("GET", CONFIG_MAPS, authorization="Bearer nothing")
        await client.until(lambda: client.closed)
        assert asked.status == 401
        assert orjson.loads(asked.body)["reason"] == "Unauthorized"
