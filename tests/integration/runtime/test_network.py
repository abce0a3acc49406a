"""A machine's network: its NIC, and services, DNS and the API in the guest's service namespace."""

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from hypernetes.nodeagent.runtime.base import GuestConfig, GuestNetwork, Machine, MachineError, Nic
from hypernetes.nodeagent.runtime.streams import LinkStream
from tests.integration.networks.namespaces import Namespace
from tests.integration.runtime.suite import Services, collect, container, machine_spec, output_of
from tests.integration.runtime.test_qemu import QemuBench, bench, shell

pytestmark = pytest.mark.vm

__all__ = ["bench"]

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
NETWORK = GuestNetwork("10.0.0.5/24", "10.0.0.1", 1450, "10.254.0.0/16", "10.254.0.2", "10.254.0.1")
MAC = "02:00:00:00:00:05"

HAPROXY = b"""global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend services
  bind 0.0.0.0:15001
  tcp-request content set-var(sess.p) dst_port
  use_backend %[dst,concat(:,sess.p),map(/services/services.map,none)]
backend outside
  server one 10.0.0.1:8080
backend itself
  server one 10.0.0.5:80
backend none
"""
MAP = b"10.254.0.10:80 outside\n10.254.0.11:80 itself\n"
NFTABLES = b"""table ip hn {
  chain services {
    type nat hook prerouting priority -100; policy accept;
    ip daddr { 10.254.0.1, 10.254.0.2 } return
    ip daddr 10.254.0.12 udp dport 5353 dnat to 10.0.0.1:5353
    ip daddr 10.254.0.0/16 meta l4proto tcp redirect to :15001
  }
}
"""


@dataclass
class Pod:
    machine: Machine
    namespace: Namespace
    services: Services


def open_tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    return fd


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


@asynccontextmanager
async def pod(bench: QemuBench, namespace: Namespace, services: Services) -> AsyncIterator[Pod]:
    tap = namespace.run(lambda: open_tap("tap0"))
    for line in ("ip link set lo up", "ip addr add 10.0.0.1/24 dev tap0", "ip link set tap0 up"):
        namespace.command(line)
    runtime = await bench.open()
    machine = await runtime.create(machine_spec("net", Nic(tap, MAC)), services)
    os.close(tap)
    try:
        await machine.configure(GuestConfig("pod", NETWORK))
        await machine.attach_disk("image", bench.image, read_only=True)
        yield Pod(machine, namespace, services)
    finally:
        await machine.shutdown(5)
        await runtime.close()


def listening(namespace: Namespace, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("10.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            made.listen(8)
        made.setblocking(False)
        return made

    return namespace.run(make)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("peername")[0]
    writer.write(f"from {peer}\n".encode())
    await writer.drain()
    writer.close()


async def test_services_dns_and_the_api_work_in_one_pod(bench: QemuBench, namespace: Namespace) -> None:
    services = Services()
    async with pod(bench, namespace, services) as made:
        machine = made.machine
        server = await asyncio.start_server(greet, sock=listening(namespace, 8080))
        async with server:
            await machine.set_services(HAPROXY, {"services.map": MAP}, NFTABLES)
            # An init container, before anything else ran: the service is in force, and carries the pod's address.
            await machine.start_container(container(["nc", "10.254.0.10", "80"], "init.0", stdin=True))
            text, exited, _ = await collect(machine, "init.0")
            assert (text, exited.status.exit_code) == (b"from 10.0.0.5\n", 0)

            await machine.start_container(container(["sh", "-c", "while :; do echo own | nc -l -p 80; done"], "web.0"))
            await machine.start_container(container(["sleep", "1000"]))
            script = "until sleep 1 | nc -w 5 10.254.0.11 80 | grep own; do sleep 0.2; done"
            assert await shell(machine, script) == "own\n"

            # A reload in the middle of a connection.
            slow = await machine.exec("c.0", ["nc", "10.254.0.10", "80"], stdin=True)
            for attempt in range(3):
                await machine.set_services(HAPROXY + b"# %d\n" % attempt, {"services.map": MAP}, NFTABLES)
                assert await ask(machine, "10.254.0.10") == b"from 10.0.0.5\n"
            text, code = await output_of(slow)
            assert (text, code) == (b"from 10.0.0.5\n", 0)

        with pytest.raises(MachineError) as caught:
            await machine.set_services(b"global\nnonsense\n", {}, NFTABLES)
        assert caught.value.reason == "ServicesFailed"
        assert "nonsense" in caught.value.message


async def ask(machine: Machine, address: str) -> bytes:
    """What a server says first. The input stays open: HAProxy gives up on a client that hangs up too early."""
    text, _ = await output_of(await machine.exec("c.0", ["nc", address, "80"], stdin=True))
    return text


async def test_dns_questions_reach_the_agent(bench: QemuBench, namespace: Namespace) -> None:
    services = Services()
    async with pod(bench, namespace, services) as made:
        await made.machine.start_container(container(["sleep", "1000"]))
        await shell(made.machine, "nslookup web.default.svc 10.254.0.2 || true")
        assert any(b"\x03web\x07default\x03svc" in question for question in services.questions)
        # TCP: a length before each message.
        answer = await shell(
            made.machine, "(printf '\\000\\005hello'; sleep 1) | nc 10.254.0.2 53 | od -An -c | tr -d ' \\n'"
        )
        assert answer == "\\0005hello"


async def test_the_kubernetes_address_is_carried_to_the_agent(bench: QemuBench, namespace: Namespace) -> None:
    class Echo:
        def __init__(self) -> None:
            self.pieces: asyncio.Queue[bytes] = asyncio.Queue(16)

        async def read(self) -> bytes:
            return await self.pieces.get()

        async def write(self, data: bytes) -> None:
            await self.pieces.put(data.upper())

        async def close_write(self) -> None:
            await self.pieces.put(b"")

        async def close(self) -> None:
            return

    services = Services(api=Echo())
    async with pod(bench, namespace, services) as made:
        await made.machine.start_container(container(["sleep", "1000"]))
        assert await shell(made.machine, "echo hello | nc 10.254.0.1 443") == "HELLO\n"
        assert services.dialed == [("10.254.0.1", 443)]


async def test_a_forward_reaches_a_listener_of_the_pod(bench: QemuBench, namespace: Namespace) -> None:
    async with pod(bench, namespace, Services()) as made:
        with pytest.raises(MachineError) as caught:
            await made.machine.forward(8080)
        assert caught.value.reason == "ConnectFailed"
        await made.machine.start_container(
            container(["sh", "-c", "nc -l -p 8080 -e sh -c 'read line; echo got $line'"], "web.0")
        )
        stream = await connected(made.machine, 8080)
        await stream.write(b"hello\n")
        assert await stream.read() == b"got hello\n"
        assert await stream.read() == b""
        await stream.close()


async def connected(machine: Machine, port: int) -> LinkStream:
    async with asyncio.timeout(60):
        while True:
            try:
                return await machine.forward(port)  # type: ignore[return-value]
            except MachineError:
                await asyncio.sleep(0.1)


async def test_udp_services_are_translated_and_answered(bench: QemuBench, namespace: Namespace) -> None:
    async with pod(bench, namespace, Services()) as made:
        loop = asyncio.get_running_loop()
        with listening(namespace, 5353, socket.SOCK_DGRAM) as backend:
            await made.machine.set_services(HAPROXY, {"services.map": MAP}, NFTABLES)
            await made.machine.start_container(container(["sleep", "1000"]))
            asking = await made.machine.exec("c.0", ["nslookup", "example.org", "10.254.0.12:5353"])
            async with asyncio.timeout(60):
                question, source = await loop.sock_recvfrom(backend, 4096)
                assert source[0] == "10.0.0.5"
                assert b"\x07example\x03org" in question
                await loop.sock_sendto(backend, question[:2] + b"\x81\x83" + question[4:], source)
                text, _ = await output_of(asking)
            assert b"NXDOMAIN" in text
