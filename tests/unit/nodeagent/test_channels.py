"""exec's and attach's streams on the wire, where one of both ends goes first."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import orjson
from aiohttp import WSMsgType

from hypernetes.nodeagent.channels import ERROR, STDIN, STDOUT, Wanted, serve
from hypernetes.nodeagent.runtime.base import MachineError

ALL = Wanted(stdin=True, stdout=True, stderr=True, tty=False)
ATTACH = Wanted(stdin=True, stdout=True, stderr=True, tty=False, kill=False)


class Socket:
    """A client that says `said` and stays; it goes when it was sent more than `patience` messages."""

    ws_protocol = "v5.channel.k8s.io"

    def __init__(self, *said: bytes, patience: int = 100) -> None:
        self._said, self._patience = said, patience
        self.sent: list[bytes] = []

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self._said:
            yield SimpleNamespace(type=WSMsgType.BINARY, data=message)
        await asyncio.Event().wait()

    async def send_bytes(self, message: bytes) -> None:
        if len(self.sent) >= self._patience:
            raise ConnectionResetError("the client has gone")
        self.sent.append(message)


class Command:
    """It has ended for those who write to it; what it printed comes later."""

    def __init__(self) -> None:
        self.stdin = self
        self.signals: list[int] = []
        self.closed = False

    async def write(self, data: bytes) -> None:
        raise MachineError("StreamClosed", "the stream is closed")

    async def close(self) -> None:
        self.closed = True

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        for _ in range(3):
            await asyncio.sleep(0.01)
            yield "stdout", b"y\n"

    async def signal(self, number: int) -> None:
        self.signals.append(number)

    async def wait(self) -> int:
        return 0


async def carry(socket: Any, command: Any, wanted: Wanted) -> None:
    async with asyncio.timeout(5):
        await serve(socket, command, wanted)


async def test_input_for_a_command_that_has_ended_leaves_its_output_and_exit_code() -> None:
    socket, command = Socket(*[bytes([STDIN]) + b"y\n"] * 5), Command()
    await carry(socket, command, ALL)
    assert socket.sent[:3] == [bytes([STDOUT]) + b"y\n"] * 3
    assert socket.sent[3][0] == ERROR
    assert orjson.loads(socket.sent[3][1:])["status"] == "Success"
    assert not command.signals


async def test_a_client_that_vanishes_while_output_flows_hangs_up_its_command() -> None:
    socket, command = Socket(patience=1), Command()
    await carry(socket, command, ALL)
    assert command.signals == [1]
    assert command.closed


async def test_an_attached_client_that_vanishes_lets_go_of_the_stream_and_hangs_up_nothing() -> None:
    socket, command = Socket(patience=1), Command()
    await carry(socket, command, ATTACH)
    assert command.signals == []
    assert command.closed
