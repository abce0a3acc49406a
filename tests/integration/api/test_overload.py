"""Clients that take whatever they can get: the server's memory stays bounded, and the others hardly notice."""

import asyncio
import http.client
import resource
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from hypernetes.client import ClientConfig
from hypernetes.client.credentials import tls_context
from tests.integration.control_plane import ControlPlane, running

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MEGABYTE = 1024 * 1024
WITNESS_P99_SECONDS = 1.0  # goal: 0.1; the machine that runs the tests has other things to do
PAUSE_SECONDS = 0.01


@dataclass(slots=True)
class Overload:
    """A server process, and a tenant's administrator who means it no good."""

    plane: ControlPlane
    hostile: ssl.SSLContext
    provider: ssl.SSLContext
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def rss(self) -> int:
        """Bytes of memory that the server holds."""
        pages = Path(f"/proc/{self.plane.pid('apiserver')}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    async def connect(self, *, tls: bool = True) -> asyncio.StreamReader:
        context = self.hostile if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plane.port, ssl=context, limit=MEGABYTE)
        self.writers.append(writer)
        return reader

    async def send(self, message: bytes) -> asyncio.StreamReader:
        """Sends on a connection of its own, and leaves it open."""
        reader = await self.connect()
        self.writers[-1].write(message)
        return reader

    async def post(self, path: str, body: bytes, method: str = "POST", kind: str = "application/json") -> int:
        """The status of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        context = self.hostile
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plane.port, ssl=context, limit=MEGABYTE)
        writer.write(head.encode() + body)
        try:
            async with asyncio.timeout(60):
                return int((await reader.readline()).split()[1])
        finally:
            writer.transport.abort()

    @contextmanager
    def witnessed(self, *, growth: int) -> Iterator[None]:
        """Meanwhile somebody else asks for something small again and again; memory may grow by `growth` bytes."""
        before, most, over, delays = self.rss(), self.rss(), threading.Event(), list[float]()
        failures: list[Exception] = []

        def witness() -> None:
            nonlocal most
            connection = http.client.HTTPSConnection("127.0.0.1", self.plane.port, context=self.provider, timeout=30)
            try:
                while not over.is_set():
                    began = time.monotonic()
                    connection.request("GET", "/api/v1/namespaces/default")
                    answer = connection.getresponse()
                    assert (answer.status, bool(answer.read())) == (200, True)
                    delays.append(time.monotonic() - began)
                    most = max(most, self.rss())
                    over.wait(PAUSE_SECONDS)
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failures.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=witness)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert failures == []
        assert len(delays) > 10
        p99 = sorted(delays)[int(len(delays) * 0.99)]
        assert p99 < WITNESS_P99_SECONDS, f"p99 {p99 * 1000:.0f} ms of {len(delays)} requests"
        assert most - before < growth, f"{(most - before) / MEGABYTE:.0f} MB more"


@pytest.fixture
async def overload(tmp_path: Path) -> AsyncIterator[Overload]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with running(tmp_path, tenant="acme") as (plane, client):
        hostile = ClientConfig.from_kubeconfig(plane.layout.tenant_kubeconfig("acme"))
        provider = ClientConfig.from_kubeconfig(plane.layout.admin_kubeconfig)
        found = Overload(plane, tls_context(hostile), tls_context(provider))
        yield found
        for writer in found.writers:
            writer.transport.abort()
        await client.text("/readyz")
        assert "Traceback" not in plane.layout.log("apiserver").read_text()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ten_thousand_connections_that_say_nothing(overload: Overload) -> None:
    with overload.witnessed(growth=900 * MEGABYTE):
        for _ in range(100):
            await asyncio.gather(*(overload.connect(tls=False) for _ in range(100)))
        for _ in range(10):
            await asyncio.gather(*(overload.send(b"GET /api HTTP/1.1\r\nHost: x\r\nAuthor") for _ in range(50)))
        assert await overload.post(CONFIG_MAPS, b'{"metadata":{"name":"a"}}') == 201


async def test_bodies_that_never_come_whole(overload: Overload) -> None:
    head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n".encode()
    with overload.witnessed(growth=200 * MEGABYTE):
        readers = await asyncio.gather(*(overload.send(head + b" " * 100_000) for _ in range(200)))
        answers = await asyncio.gather(*(asyncio.wait_for(reader.readline(), 3) for reader in readers),
                                       return_exceptions=True)  # fmt: skip
        refused = [answer for answer in answers if isinstance(answer, bytes)]
        assert {answer.split()[1] for answer in refused} == {b"429"}
        assert len(refused) > 150
        assert await overload.post(CONFIG_MAPS, b'{"metadata":{"name":"a"}}') == 201


async def test_answers_that_nobody_takes(overload: Overload) -> None:
    for number in range(30):
        body = orjson.dumps({"metadata": {"name": f"large-{number}"}, "data": {"k": "x" * 900_000}})
        assert await overload.post(CONFIG_MAPS, body) == 201
    with overload.witnessed(growth=400 * MEGABYTE):
        for path in (CONFIG_MAPS, f"{CONFIG_MAPS}/large-1", f"{CONFIG_MAPS}?watch=1", f"{CONFIG_MAPS}?limit=10"):
            message = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            await asyncio.gather(*(overload.send(message * 20) for _ in range(40)))
            for writer in overload.writers:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(1)


EXPENSIVE = {
    "copies that double": ("PATCH", "application/json-patch+json", orjson.dumps(
        [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(10_000)])),
    "a long order": ("PATCH", "application/strategic-merge-patch+json", orjson.dumps(
        {"metadata": {"finalizers": [f"a/b{n}" for n in range(40_000)],
                      "$setElementOrder/finalizers": [f"a/b{n}" for n in range(40_000)]}})),
    "aliases of aliases": ("POST", "application/yaml", "\n".join(
        ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
        + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]).encode()),
    "a long list in YAML": ("POST", "application/yaml", b"a: [" + b"x," * 1_000_000 + b"]"),
    "deep nesting": ("POST", "application/json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "keys that come twice": ("POST", "application/json", b"{" + b",".join([b'"k":1'] * 300_000) + b"}"),
    "everything wrong": ("POST", "application/json", orjson.dumps(
        {"metadata": {"name": "a", "labels": {f"Bad Key {number}": "é" for number in range(50_000)}}})),
}  # fmt: skip


async def test_bodies_that_are_costly_to_read(overload: Overload) -> None:
    assert await overload.post(CONFIG_MAPS, b'{"metadata":{"name":"there"},"data":{"k":"v"}}') == 201
    with overload.witnessed(growth=400 * MEGABYTE):
        for method, kind, body in EXPENSIVE.values():
            path = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/there"
            statuses = await asyncio.gather(*(overload.post(path, body, method, kind) for _ in range(8)))
            assert set(statuses) <= {200, 400, 409, 413, 422, 429}, statuses
