"""Who reaches whom: every pod asks every address by every protocol at once, and each answer says whose it is.

    members = {…: Member}          pods of several tenants that share addresses
    async with matrix(members, wires) as asked:
        found = await asked.ask(expected)     # {(source, Question): who answered}
        assert found == expected

A provider's test brings `Wires`: how a member is plugged into the provider's network, and how policies get in force.
Pods are namespaces (`pods.Pod`). In each, one small program answers TCP and UDP with the pod's name. An answer to ARP
has the pod's MAC; who a ping reached is seen from the frames that came to each pod. So an answer that another tenant's
pod of the same address gives is no answer.
"""

import asyncio
import contextlib
import os
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from hypernetes.api.models.core_v1 import ContainerPort
from hypernetes.api.models.networking_v1 import NetworkPolicy
from hypernetes.providers.network import networkpolicies
from hypernetes.providers.network.base import PolicyGroup
from hypernetes.providers.network.networkpolicies import Place, Surroundings

from .pods import Pod, arp, mac

PORTS = (80, 81)
ANSWER_SECONDS = 10.0  # for answers that must come
SILENCE_SECONDS = 0.25  # at least, after them, for those that must not; twice as long as they took, if that is more
_REPEAT_SECONDS = 0.5
_ETH_ARP, _ARP_REPLY, _ECHO_REQUEST, _ECHO_REPLY = 0x0806, 2, 8, 0


@dataclass(frozen=True, slots=True)
class Member:
    """A pod. `name` is unique among all tenants' members."""

    name: str
    tenant: str
    node: int  # 0 or 1
    address: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, order=True)
class Question:
    protocol: str  # "TCP", "UDP", "ICMP", "ARP"
    port: int  # 0 where there are none
    address: str


KINDS = (*((protocol, port) for protocol in ("TCP", "UDP") for port in PORTS), ("ICMP", 0), ("ARP", 0))
Answers = Mapping[tuple[str, Question], str]  # by source and question: the name of who answered


class Wires(Protocol):
    async def plug(self, member: Member) -> Pod:
        """The member's pod on its network, which tenants' tests have with equal ranges."""

    async def plugged(self) -> None:
        """All members are plugged: whatever their nodes have to know of each other."""

    async def set_policies(self, groups: Mapping[str, PolicyGroup]) -> None:
        """By member, all of them; in force when it returns."""


class _Station:
    """The program in a pod that answers with its name."""

    def __init__(self, pod: Pod, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._name = name.encode()
        for port in PORTS:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                server = pod.namespace.run(lambda kind=kind: socket.socket(socket.AF_INET, kind))  # type: ignore[misc]
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind(("0.0.0.0", port))
                if kind == socket.SOCK_STREAM:
                    server.listen(64)
                server.setblocking(False)
                self._selector.register(server, selectors.EVENT_READ, kind)
        self._stop, self._stopped = os.pipe()
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._stop:
                    return
                server = key.fileobj
                assert isinstance(server, socket.socket)
                with contextlib.suppress(OSError):  # who asked is gone already
                    if key.data == socket.SOCK_STREAM:
                        connection, _ = server.accept()
                        with connection:
                            connection.send(self._name)
                    else:
                        server.sendto(self._name, server.recvfrom(100)[1])

    def close(self) -> None:
        os.write(self._stopped, b"x")
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._stop)
        os.close(self._stopped)


class Asker:
    """All questions of one pod, asked at once; lives in the pod's network namespace."""

    def __init__(self, member: Member, pod: Pod, names: Mapping[bytes, str]) -> None:
        self._member, self._pod, self._names = member, pod, names
        self.token = os.urandom(8)
        self.found: dict[Question, str] = {}
        self._sockets: dict[socket.socket, Question] = {}

    def ask(self, questions: frozenset[Question], expected: frozenset[Question]) -> None:
        """Returns when every expected answer has come and others had their time."""
        began = time.monotonic()
        icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ARP))
        wire.bind(("eth0", _ETH_ARP))
        poll = select.poll()
        try:
            for each in (icmp, wire):
                poll.register(each, select.POLLIN)
            by_number = {each.fileno(): each for each in (icmp, wire)}
            for question in questions:
                if question.port:
                    made = self._connected(question)
                    by_number[made.fileno()] = made
                    poll.register(made, select.POLLIN)
            repeat, end = 0.0, began + ANSWER_SECONDS
            settled = False
            while (now := time.monotonic()) < end:
                if now >= repeat:
                    self._send(questions, icmp, wire)
                    repeat = now + _REPEAT_SECONDS
                if not settled and expected <= self.found.keys():
                    settled, end = True, now + max(SILENCE_SECONDS, 2 * (now - began))
                for number, _ in poll.poll(max(0.0, min(end, repeat) - now) * 1000):
                    if not self._take(by_number[number], icmp, wire):
                        poll.unregister(number)
        finally:
            for each in (icmp, wire, *self._sockets):
                each.close()

    def _connected(self, question: Question) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if question.protocol == "TCP" else socket.SOCK_DGRAM)
        made.setblocking(False)
        made.connect_ex((question.address, question.port))
        self._sockets[made] = question
        return made

    def _send(self, questions: frozenset[Question], icmp: socket.socket, wire: socket.socket) -> None:
        for made, question in self._sockets.items():
            if question.protocol == "UDP" and question not in self.found:
                with contextlib.suppress(OSError):  # refused, or nobody there: no answer
                    made.send(b"?")
        for question in questions - self.found.keys():
            if question.protocol == "ICMP":
                with contextlib.suppress(OSError):
                    icmp.sendto(_echo_request(self.token), (question.address, 0))
            elif question.protocol == "ARP":
                own = self._member
                wire.send(
                    arp(self._pod.mac_address, self._pod.mac_address, own.address, question.address).ljust(60, b"\0")
                )

    def _take(self, ready: socket.socket, icmp: socket.socket, wire: socket.socket) -> bool:
        """False where no more can come."""
        try:
            data, source = ready.recvfrom(2048)
        except OSError:
            return False  # refused
        if ready is icmp:
            if data[20] == _ECHO_REPLY and self.token in data:
                self.found[Question("ICMP", 0, source[0])] = ""  # whose it was, the frames tell
        elif ready is wire:
            if struct.unpack("!H", data[20:22])[0] == _ARP_REPLY:
                address = socket.inet_ntoa(data[28:32])
                self.found[Question("ARP", 0, address)] = self._names.get(data[22:28], "somebody else")
        elif data:
            self.found[self._sockets[ready]] = data.decode()
        return bool(data)


def _echo_request(token: bytes) -> bytes:
    def packed(checksum: int) -> bytes:
        return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum, int.from_bytes(token[:2]), 1) + token

    words = struct.unpack("!8H", packed(0))
    return packed(-sum(words) % 0xFFFF)


class Matrix:
    def __init__(self, members: Mapping[str, Member], pods: Mapping[str, Pod], wires: Wires) -> None:
        self.members, self.pods, self._wires = members, pods, wires
        self._macs = {mac(pod.mac_address): name for name, pod in pods.items()}

    def questions(self, source: Member) -> frozenset[Question]:
        """What it asks: every address that any tenant's member has, but its own."""
        addresses = {each.address for each in self.members.values()} - {source.address}
        return frozenset(Question(protocol, port, address) for protocol, port in KINDS for address in addresses)

    def everybody(self) -> dict[tuple[str, Question], str]:
        """Who reaches whom without policies: each tenant's members each other, and nobody else."""
        at = {(each.tenant, each.address): each.name for each in self.members.values()}
        return {
            (source.name, question): at[source.tenant, question.address]
            for source in self.members.values()
            for question in self.questions(source)
            if (source.tenant, question.address) in at
        }

    async def ask(self, expected: Answers) -> Answers:
        """All answers, whether expected or not."""
        for pod in self.pods.values():
            pod.frames.clear()
        askers = {name: Asker(member, self.pods[name], self._macs) for name, member in self.members.items()}

        def run(name: str, asker: Asker) -> None:
            awaited = frozenset(question for source, question in expected if source == name)
            questions = self.questions(self.members[name])
            self.pods[name].namespace.run(lambda: asker.ask(questions, awaited))

        async with asyncio.TaskGroup() as group:
            for name, asker in askers.items():
                group.create_task(asyncio.to_thread(run, name, asker))
        return {
            (name, question): answered or self._pinged(asker.token, question.address)
            for name, asker in askers.items()
            for question, answered in asker.found.items()
        }

    def _pinged(self, token: bytes, address: str) -> str:
        target = socket.inet_aton(address)
        return "+".join(
            name
            for name, pod in self.pods.items()
            if any(token in frame and frame[30:34] == target and frame[34] == _ECHO_REQUEST for frame in pod.frames)
        )

    def strayed(self) -> list[tuple[str, str]]:
        """(sender, receiver) of frames that came to another tenant's pod since the last `ask` began."""
        return [
            (sender, name)
            for name, pod in self.pods.items()
            for frame in pod.frames
            if (sender := self._macs.get(frame[6:12])) and self.members[sender].tenant != self.members[name].tenant
        ]

    async def set_policies(
        self, tenant: str, policies: list[NetworkPolicy], namespaces: Mapping[str, Mapping[str, str]],
        labels: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:  # fmt: skip
        """The policies of one tenant; all others have none. `labels` are members' own for now, by name."""
        places = {
            each.name: Place(
                each.namespace, (labels or {}).get(each.name, each.labels), "default", each.address, CONTAINER_PORTS
            )
            for each in self.members.values()
        }
        around = Surroundings(
            namespaces, [places[each.name] for each in self.members.values() if each.tenant == tenant]
        )
        groups = {}
        for member in self.members.values():
            own = policies if member.tenant == tenant else []
            place = places[member.name]
            names = sorted(each.metadata.name or "" for each in networkpolicies.selecting(own, place))
            key = f"{member.tenant}/{member.namespace}/{','.join(names)}" if names else "open"
            groups[member.name] = PolicyGroup(key, networkpolicies.port_policy(own, place, around))
        await self._wires.set_policies(groups)


CONTAINER_PORTS = tuple(
    ContainerPort(name=f"serve-{port}-{protocol.lower()}", container_port=port, protocol=protocol)
    for port in PORTS
    for protocol in ("TCP", "UDP")
)


@asynccontextmanager
async def matrix(members: Mapping[str, Member], wires: Wires) -> AsyncIterator[Matrix]:
    """The members' pods, plugged and answering. Who plugged them takes them away."""
    pods = {name: await wires.plug(member) for name, member in members.items()}
    with contextlib.ExitStack() as stations:
        for name, pod in pods.items():
            stations.enter_context(contextlib.closing(_Station(pod, name)))
        await wires.plugged()
        yield Matrix(members, pods, wires)


def differences(found: Answers, expected: Answers) -> Iterator[str]:
    """What a failed test says."""
    for key in sorted(found.keys() | expected.keys()):
        if found.get(key) != expected.get(key):
            yield f"{key[0]} asks {key[1]}: answered by {found.get(key)}, expected {expected.get(key)}"
