"""A guest's connections to the API, without a guest."""

import asyncio
from typing import Any

import dns.message
import dns.rcode
import pytest
from dns.exception import TooBig

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.guestservices import GuestServer

pytestmark = pytest.mark.looptime


class Guest:
    """A stream that says `pieces`, hears into `heard`, and ends when told."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces, self.heard, self.ended, self.closed = list(pieces), b"", False, False
        self.over = asyncio.Event()

    async def read(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        await self.over.wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.heard += data

    async def close_write(self) -> None:
        self.ended = True
        self.over.set()

    async def close(self) -> None:
        self.closed = True


class Server(Guest):
    """Takes one piece, then resets what is sent to it, and answers all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def read(self) -> bytes:
        await asyncio.sleep(1)
        return await super().read()

    async def write(self, data: bytes) -> None:
        self.writes += 1
        if self.writes > 1:
            self.pieces.append(b"413 too large")
            self.over.set()
            raise ConnectionResetError("the server hung up")


class Link:
    def accept(self, stream: Any) -> None: ...


async def carry(guest: Any, server: Any) -> None:
    class Services:
        async def connect(self, address: str, port: int) -> Any:
            return server

    record: Any = type("Record", (), {"id": "m1", "kubernetes_address": "10.254.0.1"})
    services: Any = Services()
    link: Any = Link()
    async with asyncio.TaskGroup() as tasks:
        made = GuestServer(record, services)
        running = tasks.create_task(made.run(tasks))
        made.connect(link, guest)
        async with asyncio.timeout(600):
            while not guest.closed:
                await asyncio.sleep(0.1)
        running.cancel()
        for task in asyncio.all_tasks():
            if "_resolve_all" in str(task.get_coro()):
                task.cancel()


async def test_an_answer_to_a_request_that_is_refused_half_way_reaches_the_guest() -> None:
    guest, server = Guest(b"POST", b"more", b"still more"), Server()
    await carry(guest, server)
    assert guest.heard == b"413 too large"
    assert guest.ended
    assert guest.pieces == [], "what came too late is read all the same"
    assert server.closed


async def test_a_guest_that_is_gone_ends_the_connection_to_the_server() -> None:
    class Gone(Guest):
        async def read(self) -> bytes:
            raise MachineError("StreamReset", "the guest closed the stream")

    server = Guest()
    await carry(Gone(), server)
    assert server.closed


async def test_an_answer_that_no_message_holds_is_a_failure_and_the_next_question_is_answered() -> None:
    question = dns.message.make_query("db.web.svc.cluster.local", "A").to_wire()

    class Services:
        async def resolve(self, asked: bytes, *, udp: bool) -> bytes:
            if asked == b"fine":
                return b"answer"
            raise TooBig

    answers: dict[int, bytes] = {}
    record: Any = type("Record", (), {"id": "m1"})
    services: Any = Services()
    link: Any = type("Link", (), {"answer_question": lambda self, id_, answer: answers.update({id_: answer})})()
    server = GuestServer(record, services)
    resolving = asyncio.create_task(server._resolve_all())
    for id_, asked in enumerate((question, b"short", b"fine")):
        server.ask(link, id_, asked, udp=True)
    await asyncio.sleep(1)
    resolving.cancel()
    assert dns.message.from_wire(answers.pop(0)).rcode() == dns.rcode.SERVFAIL
    assert answers == {2: b"answer"}
