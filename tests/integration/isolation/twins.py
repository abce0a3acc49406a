"""Pods of acme and of globex under one name, on one node with a real hn-agent whose machines are told only.

So nothing but the tenant tells them apart: container, ports and the words that a client says are the same. What the
pods of globex print, answer and are called holds canaries. A second node's agent lies about what they use.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hypernetes.api import times
from hypernetes.apiserver.portforward import PROTOCOL, spdy
from hypernetes.client import Client, ClientConfig
from hypernetes.nodeagent import hollow
from hypernetes.nodeagent import server as agent_server
from hypernetes.nodeagent.runtime import fake
from hypernetes.nodeagent.runtime.fake import Answering, Context, FakeMachine, Pipe
from hypernetes.pki import node_role
from hypernetes.pki.contexts import server_context
from tests.integration.api import podserver
from tests.integration.api.servers import User
from tests.integration.isolation.witnesses import Witness
from tests.integration.isolation.worlds import World, ok, world
from tests.streams import TcpStream

NODE, LIAR = "twins", "liar"
TWIN, ONLY = "twin", "only-globex"  # a pod of both tenants, and one of globex alone
GROUP = "things.example.com"  # which only globex's own server serves
LIE = "7777"  # cores
PODS = "/api/v1/namespaces/default/pods"
_CHANNEL = "v5.channel.k8s.io"
_SECONDS = 20
_HTTP = b"GET /x HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n"


class Liar:
    """Instead of what an agent has measured."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []

    def told(self) -> dict[str, Any]:
        return {"node": _used(), "pods": self.pods}

    def claim(self, uid: str, container: str) -> None:
        self.pods.append(
            {"uid": uid, "timestamp": _used()["timestamp"], "window": 15, "containers": {container: _CORES}}
        )


_CORES = {"cpu": int(LIE) * 10**9, "memory": 1 << 20}


def _used() -> dict[str, Any]:
    return {"timestamp": times.format_micro_time(times.now()), "window": 15, **_CORES}


@dataclass(slots=True)
class Twins:
    world: World
    node: hollow.HollowNode
    liar: Liar
    words: dict[str, str]  # what each tenant's pods say
    uids: dict[tuple[str, str], str] = field(default_factory=dict)  # by tenant and name


async def _say(context: Context) -> int:
    """Prints its word, and behind it whatever comes."""
    word = context.argv[1].encode()
    await context.write(word + b"\n")
    context.listening.set()
    while piece := await context.stdin.read():
        await context.write(piece + word)
    await asyncio.Event().wait()
    return 0


@asynccontextmanager
async def twins(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Twins]:
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(world(directory, filled=False))
        words = {"acme": "acme-speaks", "globex": found.canaries.fresh()}
        tls, authority = podserver.certificate(directory, "server.default.svc")
        served = {
            words[tenant]: await stack.enter_async_context(podserver.listening(_Server(words[tenant]), tls))
            for tenant in words
        }
        monkeypatch.setitem(fake.PROGRAMS, "say", _say)
        monkeypatch.setattr(FakeMachine, "forward", _forwarding(served))
        node = await stack.enter_async_context(_hollow_node(found.provider, directory))
        made = Twins(found, node, Liar(), words)
        await stack.enter_async_context(_lying_node(found.provider, made.liar))
        await _fill(made, authority)
        yield made


def _forwarding(served: dict[str, int]) -> Any:
    async def forward(self: FakeMachine, port: int, address: str = "127.0.0.1") -> Any:
        word = next(iter(self.guest.containers.values())).spec.argv[1]
        if port == 443:
            return TcpStream(*await asyncio.open_connection("127.0.0.1", served[word]))
        answer = Pipe()
        head = f"HTTP/1.1 200 OK\r\nX-Word: {word}\r\nContent-Length: {len(word)}\r\nConnection: close\r\n\r\n"
        await answer.write(head.encode() + word.encode())
        answer.end()
        return Answering(answer)

    return forward


class _Server:
    """An aggregated API whose one resource, and whatever else it says, has the word in it."""

    def __init__(self, word: str) -> None:
        self._word = word

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        word = self._word
        if request.path.strip("/").split("/")[-1] == "v1":
            row = {"name": word, "singularName": word, "namespaced": True, "kind": word, "verbs": ["get", "list"]}
            return web.json_response(
                {"kind": "APIResourceList", "groupVersion": f"{GROUP}/v1", "resources": [row]}, headers={"X-Word": word}
            )
        return web.json_response({"kind": "List", "said": word}, headers={"X-Word": word})


@asynccontextmanager
async def _hollow_node(provider: User, directory: Path) -> AsyncIterator[hollow.HollowNode]:
    pki, role = provider._pki, node_role(NODE)
    pki.ensure(role, times.now(), addresses=["127.0.0.1"])
    certificate, key, authority = pki.certificate(role), pki.key(role), pki.ca_certificate
    config = ClientConfig(provider.url, authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
    async with Client(config) as client:
        tls = server_context(certificate, key, authority, require_client=True)
        views = hollow.NoServices(client)
        node = hollow.HollowNode(NODE, directory / "nodes", client, hollow.Addresses(), views, tls)
        running = asyncio.create_task(node.run())
        try:
            yield node
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def _lying_node(provider: User, liar: Liar) -> AsyncIterator[None]:
    pki, role = provider._pki, node_role(LIAR)
    pki.ensure(role, times.now(), addresses=["127.0.0.1"])
    tls = server_context(pki.certificate(role), pki.key(role), pki.ca_certificate, require_client=True)
    nobody: Any = podserver.Node(podserver.Machine())
    told: Any = liar
    runner = await agent_server.serve(nobody, told, tls, "127.0.0.1", 0, LIAR)
    try:
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": runner.addresses[0][1]}},
        }
        await ok(provider("POST", "/api/v1/nodes", {"metadata": {"name": LIAR}, "status": status}))
        yield
    finally:
        await runner.cleanup()


async def _fill(made: Twins, authority: bytes) -> None:
    provider, canary = made.world.provider, made.world.canaries.fresh
    for tenant in ("acme", "globex"):
        names = (TWIN,) if tenant == "acme" else (TWIN, ONLY)
        command = ["say", made.words[tenant]]
        containers = [
            {"name": name, "image": "any/image:1", "stdin": True, "command": command}
            for name in ("main", "side" if tenant == "acme" else canary())
        ]
        for name, node in (*((name, NODE) for name in names), ("beside", LIAR)):
            host = "acme-host" if tenant == "acme" else canary()
            spec = {
                "nodeName": node, "automountServiceAccountToken": False, "hostname": host, "containers": containers,
            }  # fmt: skip
            pod = {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
            posted = await ok(provider("POST", f"/tenants/{tenant}{PODS}", pod))
            made.uids[tenant, name] = posted.json["metadata"]["uid"]
        await _serve(made, tenant)
    await _until_running(made)
    for name in (TWIN, ONLY):
        made.liar.claim(made.uids["globex", name], "lies")
    spec = {
        "group": GROUP, "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "service": {"namespace": "default", "name": "server"}, "caBundle": base64.b64encode(authority).decode(),
    }  # fmt: skip
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    await ok(made.world.globex("POST", path, {"metadata": {"name": f"v1.{GROUP}"}, "spec": spec}))
    for _ in range(2):  # two samples make a rate
        await made.node._sampler.sample()


async def _serve(made: Twins, tenant: str) -> None:
    """A service before the twin, as both tenants have it."""
    provider, root = made.world.provider, f"/tenants/{tenant}"
    ports = [{"name": "plain", "port": 80}, {"name": "https", "port": 443}]
    service = {"metadata": {"name": "server"}, "spec": {"ports": ports}}
    await ok(provider("POST", f"{root}/api/v1/namespaces/default/services", service))
    endpoint = {
        "addresses": ["10.0.0.5"], "conditions": {"ready": True},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": TWIN, "uid": made.uids[tenant, TWIN]},
    }  # fmt: skip
    slice_ = {
        "metadata": {"name": "server", "labels": {"kubernetes.io/service-name": "server"}}, "addressType": "IPv4",
        "ports": [{**each, "protocol": "TCP"} for each in ports], "endpoints": [endpoint],
    }  # fmt: skip
    await ok(provider("POST", f"{root}/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_))


async def _until_running(made: Twins) -> None:
    async with asyncio.timeout(_SECONDS):
        for tenant, name in made.uids:
            path = f"/tenants/{tenant}{PODS}/{name}"
            while (
                name != "beside" and (await ok(made.world.provider("GET", path))).json["status"]["phase"] != "Running"
            ):
                await asyncio.sleep(0.05)


# How somebody speaks with a pod. Each gives the status, and all that has come.


async def spoken(user: User, path: str, query: list[tuple[str, str]], *, until: bytes) -> tuple[int, bytes]:
    """exec and attach: says something and hears what comes back, to the end or to these bytes."""
    return await _exchange(user, f"{path}?{'&'.join(f'{key}={value}' for key, value in query)}", _CHANNEL,
        [b"\x00hello\n"], until)  # fmt: skip


async def forwarded(user: User, path: str, *, until: bytes) -> tuple[int, bytes]:
    """Asks the pod's port 80 over HTTP."""
    encoder, headers = spdy.Encoder(), {"port": "80", "requestid": "0"}
    opened = [
        encoder.opened(1, {**headers, "streamtype": "error"}),
        encoder.opened(3, {**headers, "streamtype": "data"}),
    ]
    return await _exchange(user, path, PROTOCOL, [*opened, spdy.data(3, _HTTP, ended=True)], until)


async def _exchange(user: User, path: str, protocol: str, said: list[bytes], until: bytes) -> tuple[int, bytes]:
    try:
        async with (
            asyncio.timeout(_SECONDS),
            user._session.ws_connect(user.url + path, protocols=(protocol,)) as socket,
        ):
            for piece in said:
                await socket.send_bytes(piece)
            heard = b"\n".join(f"{key}: {value}".encode() for key, value in socket._response.headers.items())
            async for message in socket:
                heard += message.data if isinstance(message.data, bytes) else str(message.data).encode()
                if until in heard:
                    break
            return 101, heard
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status, repr(refused.headers).encode()


def person(witness: Witness) -> User:
    user = witness._user
    assert isinstance(user, User)
    return user
