"""A Keystone that answers nonsense, or not at all: the provider says that it is unavailable, and nothing breaks."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hypernetes.providers.identity.base import ProviderUnavailable
from hypernetes.providers.identity.keystone import KeystoneIdentityProvider
from tests.openstack.providers import opened

TOKEN = "gAAAAABm" + "x" * 180
OWN = {
    "methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z",
    "user": {"id": "u", "name": "hn", "domain": {"id": "default", "name": "Default"}}, "audit_ids": ["a"],
    "system": {"all": True}, "roles": [{"id": "r", "name": "reader"}], "catalog": [],
}  # fmt: skip


class Fake(ThreadingHTTPServer):
    """Lets its user in, and answers everything else with `status` and `body` after `seconds`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status, self.body, self.seconds = 200, b"", 0.0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v3"

    def handle_error(self, request: object, client_address: object) -> None: ...


class Answering(BaseHTTPRequestHandler):
    server: Fake

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        catalog = [{"type": "identity", "name": "keystone", "endpoints": [
            {"interface": "public", "region": "R", "region_id": "R", "url": self.server.url, "id": "e"}]}]  # fmt: skip
        self._answer(201, json.dumps({"token": {**OWN, "catalog": catalog}}).encode(), {"X-Subject-Token": "own"})

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v3":
            version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.server.url}/"}]}
            self._answer(200, json.dumps({"version": version}).encode(), {})
            return
        time.sleep(self.server.seconds)
        self._answer(self.server.status, self.server.body, {"Location": self.server.url + "/again"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def provider_at(fake: Fake, directory: Path) -> KeystoneIdentityProvider:
    auth = {"auth_url": fake.url, "username": "hn", "password": "p", "user_domain_id": "default", "system_scope": "all"}
    return await opened(directory, {"clouds": {"hypernetes": {"auth": auth}}})


async def test_nonsense_is_no_answer(fake: Fake, tmp_path: Path) -> None:
    provider = await provider_at(fake, tmp_path)
    described = {**OWN, "project": {"id": "p", "name": "p", "domain": {"id": "d", "name": "d"}}}
    del described["system"]
    try:
        wrong = [{**described, key: 5} for key in ("user", "roles", "expires_at")]
        bodies = [b"", b"{}", b"[]", b"<html>", b'{"token": []}', b'{"token": null}', b"[" * 100_000, b"\xff\xfe"]
        bodies += [json.dumps({"token": each}).encode() for each in wrong]
        failures = [(status, b"{}") for status in (302, 401, 403, 500, 502)]
        for status, body in [*((200, body) for body in bodies), *failures]:
            fake.status, fake.body = status, body
            for question in (provider.identity_of(TOKEN), provider.tenants(), provider.tenant("p1")):
                with pytest.raises(ProviderUnavailable) as caught:
                    await question
                assert TOKEN not in str(caught.value)
        fake.status, fake.body = 200, json.dumps({"token": described}).encode()
        assert (await provider.identity_of(TOKEN)) is not None
    finally:
        await provider.close()


async def test_a_refusal_of_one_token_is_no_outage(fake: Fake, tmp_path: Path) -> None:
    provider = await provider_at(fake, tmp_path)
    try:
        for status in (400, 404, 413, 431):
            fake.status = status
            assert await provider.identity_of(TOKEN) is None
    finally:
        await provider.close()


async def test_silence_ends_in_time(fake: Fake, tmp_path: Path) -> None:
    provider = await provider_at(fake, tmp_path)
    fake.seconds = 6.0
    try:
        begun = time.monotonic()
        with pytest.raises(ProviderUnavailable):
            await provider.identity_of(TOKEN)
        assert time.monotonic() - begun < 6
    finally:
        await provider.close()
