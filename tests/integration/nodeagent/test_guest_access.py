"""What a pod's machine is carried over its guest link by the agent: the API's TLS connections and DNS."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.message
import pytest

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent import dns as cluster_dns
from hypernetes.nodeagent.apiaccess import GuestAccess
from hypernetes.nodeagent.forwarding import Forwarder
from hypernetes.nodeagent.runtime.base import Machine
from hypernetes.pki.contexts import server_context
from hypernetes.pki.directory import PkiDirectory
from tests.integration.networks.namespaces import Namespace
from tests.integration.runtime.conftest import guest, image
from tests.integration.runtime.suite import container
from tests.integration.runtime.test_network import NETWORK, namespace, pod
from tests.integration.runtime.test_qemu import QemuBench, bench, shell

__all__ = ["bench", "guest", "image", "namespace"]

LIST_BYTES = 5_000_000
HEADLESS = Service.from_dict({"metadata": {"name": "db", "namespace": "web"}, "spec": {"clusterIP": "None"}})


def view() -> cluster_dns.View:
    """One headless service, of more addresses than a datagram of old takes."""
    endpoints = [{"addresses": [f"10.1.0.{number}"]} for number in range(1, 201)]
    each = EndpointSlice.from_dict({"addressType": "IPv4", "endpoints": endpoints})
    return cluster_dns.View(
        service=lambda namespace, name: HEADLESS if (namespace, name) == ("web", "db") else None,
        slices=lambda namespace, name: [each],
        all_services=lambda: [HEADLESS],
        service_cidr=NETWORK.service_cidr,
    )


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def send_list(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A long answer to one request, as an API server's to a list."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % LIST_BYTES + list_body())
    await writer.drain()
    writer.close()


def list_body() -> bytes:
    return b"".join(b"%09d\n" % number for number in range(LIST_BYTES // 10))


async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says no to a body that is still coming, and hangs up."""
    await reader.readline()
    writer.write(b"too large\n")
    writer.close()


@asynccontextmanager
async def machine_with(bench: QemuBench, namespace: Namespace, port: int) -> AsyncIterator[Machine]:
    access: Any = GuestAccess(view(), Forwarder(()), "127.0.0.1", port)
    async with pod(bench, namespace, access) as made:
        await made.machine.start_container(container(["sleep", "1000"]))
        yield made.machine


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """As hn-apiserver's, but for one thing: busybox names no signature algorithms, so TLS 1.2 lets it have SHA-1 only,
    which OpenSSL takes at the lowest security level. (Pods with a real TLS client verify the API's certificate in
    tests/e2e.)"""
    pki = PkiDirectory(tmp_path / "pki", "abcdef")
    pki.ensure_authority(datetime.now(UTC))
    pki.ensure("apiserver", datetime.now(UTC), addresses=["127.0.0.1"])
    context = server_context(
        pki.certificate("apiserver"), pki.key("apiserver"), pki.ca_certificate, require_client=False
    )
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context


async def test_a_long_list_over_tls_arrives_whole_in_a_pod(
    bench: QemuBench, namespace: Namespace, tls: ssl.SSLContext
) -> None:
    server = await asyncio.start_server(send_list, "127.0.0.1", 0, ssl=tls)
    async with server, machine_with(bench, namespace, server.sockets[0].getsockname()[1]) as machine:
        script = "wget -q -O - --no-check-certificate https://10.254.0.1/list | md5sum"
        assert await shell(machine, script) == f"{hashlib.md5(list_body()).hexdigest()}  -\n"


async def test_an_answer_that_comes_before_the_question_ends_arrives(bench: QemuBench, namespace: Namespace) -> None:
    server = await asyncio.start_server(refuse_early, "127.0.0.1", 0)
    async with server, machine_with(bench, namespace, server.sockets[0].getsockname()[1]) as machine:
        for _ in range(3):
            script = "(echo POST; head -c 2000000 /dev/zero) | nc 10.254.0.1 443"
            assert await shell(machine, script) == "too large\n"


async def test_a_dns_answer_too_long_for_udp_is_cut_and_whole_by_tcp(bench: QemuBench, namespace: Namespace) -> None:
    async with machine_with(bench, namespace, 1) as machine:
        found = await shell(machine, "nslookup -type=a db.web.svc.cluster.local 10.254.0.2")
        assert 20 <= found.count("Address: 10.1.0.") <= 31
        question = dns.message.make_query("db.web.svc.cluster.local", "A").to_wire()
        octal = "".join(f"\\{byte:03o}" for byte in len(question).to_bytes(2, "big") + question)
        length = await shell(machine, f"(printf '{octal}'; sleep 2) | nc 10.254.0.2 53 | wc -c")
        assert int(length) > 200 * 16
