"""A real API server in this process, over TLS, and a plain client of it."""

import asyncio
import base64
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from hypernetes.api import times
from hypernetes.apiserver import authn
from hypernetes.apiserver.server import Settings, prepare_certificates, running
from hypernetes.apiserver.storage.base import Store
from hypernetes.pki import ADMIN, PkiDirectory, client_context, write_private
from hypernetes.pki.certificates import key_pem, new_key, signing_request

Object = dict[str, Any]

# ConfigMaps that nobody made.
IN_EVERY_TENANT = {"kube-root-ca.crt", "extension-apiserver-authentication"}


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def name(self) -> str:
        return self.json["metadata"]["name"]

    @property
    def revision(self) -> str:
        return self.json["metadata"]["resourceVersion"]


class User:
    """One user of the API, by client certificate."""

    def __init__(self, context: ssl.SSLContext, url: str, directory: Path, pki: PkiDirectory) -> None:
        self._session, self.url, self._directory, self._pki = _session(context), url, directory, pki
        self.context = context  # which shows the certificate

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
    ) -> Answer:
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        url = URL(self.url + path, encoded=True)  # as it is: the server has to cope with `..` and `%2f`
        async with self._session.request(method, url, data=data, headers=sent, params=query) as response:
            return Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def raw(self, path: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer as it comes over the wire, not decompressed."""
        request = self._session.get(self.url + path, headers=headers, auto_decompress=False)
        async with request as response:
            yield response

    @asynccontextmanager
    async def watch(self, path: str, *, headers: dict[str, str] | None = None, **query: str) -> AsyncIterator["Watch"]:
        url = self.url + path
        async with self._session.get(url, params={"watch": "true", **query}, headers=headers) as response:
            assert response.status == 200, await response.text()
            yield Watch(response)

    async def tenant(self, name: str, **spec: str) -> "User":
        """Creates a tenant; its administrator, who is to be closed."""
        body = {"apiVersion": "hypernetes.io/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec}
        made = await self("POST", "/apis/hypernetes.io/v1/tenants", body)
        assert made.status == 201, made.body
        return await self.administrator(name)

    async def administrator(self, tenant: str) -> "User":
        return await self.person(tenant, f"{tenant}-admin", "system:masters")

    async def person(self, tenant: str, name: str, *groups: str) -> "User":
        """Somebody of a tenant, by a certificate that the provider signs; who is to be closed."""
        key = new_key()
        encoded = base64.b64encode(signing_request("x", key)).decode()
        path = f"/apis/hypernetes.io/v1/tenants/{tenant}/certificate"
        signed = await self("POST", path, {"spec": {"request": encoded, "user": name, "groups": list(groups)}})
        assert signed.status == 201, signed.body
        return self.holder(base64.b64decode(signed.json["status"]["certificate"]), key_pem(key))

    def holder(self, certificate_pem: bytes, private_key_pem: bytes) -> "User":
        """Whoever has this certificate and its key; who is to be closed."""
        name = secrets.token_hex(8)
        certificate, private = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        certificate.write_bytes(certificate_pem)
        write_private(private, private_key_pem)
        context = client_context(self._pki.ca_certificate, certificate, private)
        return User(context, self.url, self._directory, self._pki)

    def anonymous(self) -> "User":
        """Somebody without any credential, who is to be closed."""
        return User(client_context(self._pki.ca_certificate), self.url, self._directory, self._pki)

    async def component(self, role: str) -> "User":
        """One of the cluster's own processes, which is to be closed."""
        self._pki.ensure(role, times.now())
        context = client_context(self._pki.ca_certificate, self._pki.certificate(role), self._pki.key(role))
        return User(context, self.url, self._directory, self._pki)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


class Watch:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> Object:
        async with asyncio.timeout(20):
            line = await self._response.content.readline()
        assert line, "the watch ended"
        event: Object = orjson.loads(line)
        return event

    async def names(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def rest(self, *, until: str = "") -> list[tuple[str, str]]:
        """(name, revision) of what is still told, to its end or to the object of this name."""
        found = []
        async with asyncio.timeout(20):
            async for line in self._response.content:
                metadata = orjson.loads(line)["object"]["metadata"]
                found.append((metadata.get("name", ""), metadata["resourceVersion"]))
                if until and metadata.get("name") == until:
                    break
        return found

    async def ended(self) -> bool:
        async with asyncio.timeout(20):
            return await self._response.content.readline() == b""


def _session(context: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0))


@asynccontextmanager
async def serving(
    store: Store, directory: Path, cluster_id: str, tokens: Mapping[bytes, authn.User] | None = None, **more: Any
) -> AsyncIterator[User]:
    """A server on a free port, perhaps with static tokens (by hash) and more settings; gives the provider's
    administrator."""
    pki = PkiDirectory(directory / "pki", cluster_id)
    prepare_certificates(pki, "127.0.0.1")
    pki.ensure(ADMIN, times.now())
    context = client_context(pki.ca_certificate, pki.certificate(ADMIN), pki.key(ADMIN))
    async with (
        running(Settings(cluster_id, pki, "127.0.0.1", 0, {} if tokens is None else tokens, **more), store) as port,
        User(context, f"https://127.0.0.1:{port}", directory, pki) as admin,
    ):
        yield admin


async def until(condition: Callable[[], object]) -> None:
    """Waits until it holds; fails after 20 seconds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
