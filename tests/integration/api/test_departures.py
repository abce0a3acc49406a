"""Clients that go away in the middle: nobody is served on, nothing is half done, and the log is quiet."""

import asyncio
import logging
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.apiserver.watchers import Watchers
from hypernetes.pki import ADMIN, PkiDirectory, client_context
from tests.integration.api.servers import User, serving, until

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def context(admin: User, tmp_path: Path) -> ssl.SSLContext:
    pki = PkiDirectory(tmp_path / "pki", "")
    return client_context(pki.ca_certificate, pki.certificate(ADMIN), pki.key(ADMIN))


async def connected(admin: User, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(admin.url)
    return await asyncio.open_connection(url.hostname, url.port, ssl=context)


@pytest.mark.parametrize("rudely", [True, False])
async def test_a_watch_ends_when_its_client_goes_though_nothing_happens(
    watchers: Watchers, admin: User, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture, rudely: bool
) -> None:
    reader, writer = await connected(admin, context)
    writer.write(f"GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    await until(lambda: len(watchers) == 1)
    writer.transport.abort() if rudely else writer.close()
    await until(lambda: len(watchers) == 0)
    await admin("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})  # what a dead watch would have stumbled over
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_goes_while_it_sends_is_no_error(
    admin: User, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    _, writer = await connected(admin, context)
    writer.write(f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    await asyncio.sleep(0.2)  # so that the server has begun to read the body
    writer.transport.abort()
    assert (await admin("GET", CONFIG_MAPS)).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_write_is_carried_out_though_its_client_goes(
    admin: User, store: Store, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    create, begun, go_on = store.create, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: object, **more: object) -> int:
        begun.set()
        await go_on.wait()
        return await create(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "create", slow)
    _, writer = await connected(admin, context)
    body = orjson.dumps({"metadata": {"name": "a"}})
    writer.write(f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    async with asyncio.timeout(20):
        await begun.wait()
        writer.transport.abort()
        assert (await admin("GET", f"{CONFIG_MAPS}/a")).status == 404  # a round trip: the server knows that it went
        go_on.set()
        while (await admin("GET", f"{CONFIG_MAPS}/a")).status == 404:
            await asyncio.sleep(0.01)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_watches_end_in_order_when_the_server_stops(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "stops") as admin:
        pki = PkiDirectory(tmp_path / "pki", "")
        context = client_context(pki.ca_certificate, pki.certificate(ADMIN), pki.key(ADMIN))
        reader, writer = await connected(admin, context)
        writer.write(f"GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
    async with asyncio.timeout(20):
        told = await reader.read()
    assert told.endswith(b"\n\r\n0\r\n\r\n"), "the last chunk is missing: the client can't tell this from a failure"
    writer.close()
    await store.close()
