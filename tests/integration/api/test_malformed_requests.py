"""Messages that are no proper HTTP, or that two readers might read differently: one clear answer, and no more."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
import pytest
import pytest_asyncio

from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import ADMIN, PkiDirectory, client_context
from tests.integration.api.servers import User, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = b'{"metadata":{"name":"smuggled"}}'
HOST = b"Host: x\r\nContent-Type: application/json\r\n"
POST = b"POST " + CONFIG_MAPS.encode() + b" HTTP/1.1\r\n" + HOST


@dataclass(slots=True)
class Wire:
    """Raw connections of the administrator."""

    user: User
    context: ssl.SSLContext

    async def __call__(self, message: bytes, *, end: bool = True) -> list[tuple[int, dict[str, str], bytes]]:
        """All answers (status, headers, body) to what is sent on one connection, until the server closes it."""
        url = urlsplit(self.user.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=self.context)
        answers = []
        try:
            writer.write(message)
            async with asyncio.timeout(20):
                while (answer := await self._answer(reader)) is not None:
                    answers.append(answer)
                    if end and answer[1].get("connection") != "close":
                        writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                        end = False
        finally:
            writer.transport.abort()
        return answers

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes] | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def wire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    directory = tmp_path_factory.mktemp("wire")
    store = await open_store(str(directory / "state.db"))
    async with serving(store, directory, "wire") as admin:
        pki = PkiDirectory(directory / "pki", "")
        yield Wire(admin, client_context(pki.ca_certificate, pki.certificate(ADMIN), pki.key(ADMIN)))
    await store.close()


MALFORMED = {
    "noise": b"\x00\x01\x02\r\n\r\n", "no HTTP": b"HELO mail.example\r\n\r\n", "no version": b"GET /api\r\n\r\n",
    "HTTP/9": b"GET /api HTTP/9.9\r\nHost: x\r\n\r\n", "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a selector of a million characters": b"GET /api/v1/pods?labelSelector=" + b"a%2C" * 250_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a thousand headers": b"GET /api HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 1000 + b"\r\n",
    "NUL in a header": b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
    "bare CR in a header": b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n",
    "space in a header's name": b"GET /api HTTP/1.1\r\nHost: x\r\nX A: a\r\n\r\n",
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 32\r\n\r\n" + BODY,
    "a signed length": POST + b"Content-Length: +32\r\n\r\n" + BODY,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "an endless length": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + BODY,
    "a length in hexadecimal": POST + b"Content-Length: 0x20\r\n\r\n" + BODY,
    "another transfer coding": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a chunk's size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk that is larger than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk of endless size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n" + BODY,
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_message_gets_one_status_and_the_connection_ends(wire: Wire, case: str) -> None:
    hidden = b"GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = await wire(MALFORMED[case] + hidden, end=False)
    assert len(answers) == 1, "what follows a message of unknown length is no request"
    status, headers, body = answers[0]
    assert 400 <= status < 500
    assert headers["content-type"] == "application/json"
    found = orjson.loads(body)
    assert (found["kind"], found["code"]) == ("Status", status)
    assert (await wire.user("GET", f"{CONFIG_MAPS}/smuggled")).status == 404


async def test_requests_that_come_at_once_are_answered_in_order(wire: Wire) -> None:
    get = b"GET /api/v1/namespaces/%b HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = await wire(
        get % b"default" + get % b"none" + get % b"kube-system" + b"GET /x/%00 HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert [status for status, _, _ in answers] == [200, 404, 200, 404, 200]
    assert [orjson.loads(answers[number][2])["metadata"]["name"] for number in (0, 2)] == ["default", "kube-system"]


async def test_a_body_is_as_long_as_it_says_and_what_follows_is_the_next_request(wire: Wire) -> None:
    short = b'{"metadata":{"name":"one"}}'
    post = POST + b"Content-Length: %d\r\n\r\n" % len(short) + short
    answers = await wire(post + post.replace(b'"one"', b'"two"'))
    assert [status for status, _, _ in answers] == [201, 201, 200]
    chunked = (
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(short)
        + short.replace(b"one", b"six")
        + b"\r\n0\r\n\r\n"
    )
    assert [status for status, _, _ in await wire(chunked + chunked)] == [201, 409, 200]


async def test_a_client_that_waits_for_a_hundred_is_told_to_go_on_and_a_stranger_is_not(wire: Wire) -> None:
    url = urlsplit(wire.user.url)
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=wire.context)
    async with asyncio.timeout(20):
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 201 ")
        writer.transport.abort()
        nobody = ssl.create_default_context()
        nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=nobody)
        writer.write(head)
        assert (await reader.readuntil(b"\r\n")).split()[1] in (b"401", b"403")
        writer.transport.abort()


@pytest.mark.parametrize(
    "query",
    ["limit=1&limit=2", "watch=0&watch=1", "fieldSelector=%00", "labelSelector=%ff", "limit=%C3%28", "=", "&&&&", "%",
     "continue=a&continue=b", "resourceVersion=1&resourceVersion=x", "%zz=%zz", "a" * 20_000, "limit=1;limit=2",
     "dryRun=All&dryRun=x"],
)  # fmt: skip
async def test_odd_queries_are_answered(wire: Wire, query: str) -> None:
    message = f"GET {CONFIG_MAPS}?{query}&timeoutSeconds=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answers = await wire(message)
    assert answers
    assert answers[0][0] in (200, 400, 422)


async def test_compressed_bodies_are_not_unpacked(wire: Wire) -> None:
    bomb = b"\x1f\x8b" + b"\x00" * 100
    message = POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    assert [status for status, _, _ in await wire(message)] == [400, 200]
