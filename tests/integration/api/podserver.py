"""Pods whose servers a test plays: hn-apiserver, the agent's port and its TLS are real, and the guest's side is a TCP
connection of this machine."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from hypernetes.api import times
from hypernetes.nodeagent import server as agent_server
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.usage import Sampler
from hypernetes.pki import Authority, Profile
from hypernetes.pki.certificates import key_pem, new_key
from hypernetes.pki.contexts import server_context
from hypernetes.pki.roles import node_role
from tests.integration.api.servers import User
from tests.streams import TcpStream

Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_MERGE = {"Content-Type": "application/merge-patch+json"}


class Machine:
    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []

    async def forward(self, port: int, address: str) -> TcpStream:
        self.asked.append((port, address))
        try:
            return TcpStream(*await asyncio.open_connection("127.0.0.1", port))
        except OSError as error:
            raise MachineError("ConnectFailed", "Connection refused") from error


class Node:
    """An agent whose pods' servers the test plays. By (tenant, name) their UIDs."""

    def __init__(self, machine: Machine) -> None:
        self.pods: dict[tuple[str, str], str] = {}
        self.machine = machine

    def worker(self, key: Any, uid: str | None = None) -> Any:
        if self.pods.get((key.tenant, key.name)) != uid:
            return None
        claim = SimpleNamespace(address="10.0.0.5")
        return SimpleNamespace(machine=self.machine, record=SimpleNamespace(name=key.name, claim=claim))


@asynccontextmanager
async def a_node(admin: User, name: str = "n1") -> AsyncIterator[Node]:
    """A node with an agent that answers."""
    pki, role = admin._pki, node_role(name)
    pki.ensure(role, times.now(), addresses=["127.0.0.1"])
    node = Node(Machine())
    context = server_context(pki.certificate(role), pki.key(role), pki.ca_certificate, require_client=True)
    agent: Any = node
    runner = await agent_server.serve(agent, Sampler(list, None), context, "127.0.0.1", 0, "n1")
    try:
        port = runner.addresses[0][1]
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        made = await admin("POST", "/api/v1/nodes", {"metadata": {"name": name}, "status": status})
        assert made.status == 201, made.body
        yield node
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of the test's; gives its port."""
    async with AsyncExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0))
        runner = web.ServerRunner(web.Server(serve), shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener, ssl_context=tls).start()
        yield listener.getsockname()[1]


async def a_service(admin: User, node: Node, tenant: str, name: str, port: int, service_port: int = 443) -> None:
    """A pod of the tenant's on the node, its server at `port`, behind a service of its name."""
    root = f"/tenants/{tenant}/api/v1/namespaces/default"
    container = {"name": "main", "image": "server"}
    pod = {"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": [container]}}
    made = await admin("POST", f"{root}/pods", pod)
    assert made.status == 201, made.body
    uid = node.pods[tenant, name] = made.json["metadata"]["uid"]
    status = {"status": {"podIP": "10.0.0.5", "phase": "Running"}}
    assert (await admin("PATCH", f"{root}/pods/{name}/status", status, headers=_MERGE)).status == 200
    ports = [{"name": "https", "port": service_port}]
    made = await admin("POST", f"{root}/services", {"metadata": {"name": name}, "spec": {"ports": ports}})
    assert made.status == 201, made.body
    slice_ = {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": ["10.0.0.5"], "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": name, "uid": uid},
            }
        ],
    }  # fmt: skip
    path = f"/tenants/{tenant}/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    made = await admin("POST", path, slice_)
    assert made.status == 201, made.body


def certificate(directory: Path, host: str) -> tuple[ssl.SSLContext, bytes]:
    """For a server, signed by an authority of its own; and that authority, in PEM."""
    authority, key = Authority.create("of-a-pod", times.now()), new_key()
    issued = authority.issue(Profile(host, dns_names=(host,), server=True), key.public_key(), times.now())
    files = directory / f"{host}.crt", directory / f"{host}.key"
    files[0].write_bytes(issued)
    files[1].write_bytes(key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context, authority.pem
