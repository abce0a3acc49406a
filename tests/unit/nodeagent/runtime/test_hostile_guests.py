"""What a guest or a QEMU that a tenant took over sends: it ends that machine, and nothing else."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from hypernetes.nodeagent.runtime import boot, qemu, qemu_runtime
from hypernetes.nodeagent.runtime.base import MachineError, MachineGone
from hypernetes.nodeagent.runtime.frames import (
    EPOCH_SIZE,
    FRAME_MAX,
    HEADER,
    MAGIC,
    Frame,
    MessageBuilder,
    ProtocolError,
    seed_of,
)
from hypernetes.nodeagent.runtime.link import GuestLink
from hypernetes.nodeagent.runtime.machine import QemuMachine
from hypernetes.nodeagent.runtime.processes import ProcessId
from hypernetes.nodeagent.runtime.protocol import PROTOCOL_VERSION, STREAM_WINDOW, FrameType, Tag
from hypernetes.nodeagent.runtime.qmp import Monitor, QmpError
from hypernetes.nodeagent.runtime.silent import SilentHandler
from hypernetes.nodeagent.runtime.state import MachineRecord, MachineState
from hypernetes.nodeagent.runtime.streams import PIECES_MAX, STDERR, STDOUT, LinkStream
from tests.unit.nodeagent.runtime.guestframes import encode

Say = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NINE_BYTES = bytes(9)


@asynccontextmanager
async def listening(path: Path, say: Say) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await say(reader, writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield


def guest(hello: bytes, answer: bytes = b"") -> Say:
    """An hn-init that says `hello`, and `answer` to its first request."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(HEADER.size + FRAME_MAX + len(MAGIC))
        epoch = await reader.readexactly(EPOCH_SIZE)
        writer.write(MAGIC + epoch + encode(seed_of(epoch), Frame(FrameType.HELLO, 0, 0, hello)))
        await reader.readexactly(HEADER.size)
        writer.write(encode(seed_of(epoch), Frame(FrameType.RESULT, 0, 1, answer)))

    return say


class Handler(SilentHandler):
    def __init__(self) -> None:
        self.lost: MachineError | None = None

    def on_lost(self, error: MachineError) -> None:
        self.lost = error


async def test_a_hello_with_a_version_of_nine_bytes_is_a_guests_misbehaviour(tmp_path: Path) -> None:
    hello = MessageBuilder().blob(Tag.VERSION, NINE_BYTES).build()
    async with listening(tmp_path / "s", guest(hello)):
        with pytest.raises(MachineError) as caught:
            await GuestLink.connect(tmp_path / "s", "m", Handler(), 5)
    assert caught.value.reason == "GuestMisbehaved"


async def test_an_answer_whose_reason_is_no_text_ends_the_link(tmp_path: Path) -> None:
    hello = MessageBuilder().number(Tag.VERSION, PROTOCOL_VERSION).build()
    answer = MessageBuilder().blob(Tag.REASON, b"\xff").build()
    handler = Handler()
    async with listening(tmp_path / "s", guest(hello, answer)):
        link, _ = await GuestLink.connect(tmp_path / "s", "m", handler, 5)
        with pytest.raises(MachineError) as caught:
            await link.request(FrameType.STAT, b"")
    assert caught.value.reason == "GuestMisbehaved"
    assert handler.lost is caught.value


class Process:
    """Of a machine; it ends when told."""

    def __init__(self) -> None:
        self.ended = False
        self.over = asyncio.Event()

    async def wait(self) -> None:
        await self.over.wait()

    def close(self) -> None: ...


class Link:
    """Answers every request with `answer`."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    async def request(self, type_: FrameType, payload: bytes, *, seconds: float = 30) -> Any:
        return self.answer

    def close(self) -> None: ...


def record_of(name: str) -> MachineRecord:
    return MachineRecord(name, "t/n/p", 7, None, ProcessId.of(os.getpid()), "guest")


def connections_of(process: Any = None, link: Any = None) -> Any:
    monitor: Any = SimpleNamespace(close=lambda: None)
    return boot.Connections(process or Process(), monitor, link or Link(), None)  # type: ignore[arg-type]


def machine_of(tmp_path: Path) -> QemuMachine:
    async def release(record: MachineRecord) -> None: ...

    return QemuMachine(MachineState(tmp_path, tmp_path), record_of("m"), None, release, lambda _, __: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ProtocolError("a strange hello"), RuntimeError("a fault of ours")])
async def test_one_machine_that_can_not_be_adopted_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    cleaned = []

    class Host:
        directory = tmp_path / "machines"
        cgroups = SimpleNamespace(set_cpus=None)

        def state_of(self, name: str) -> MachineState:
            return MachineState(self.directory / name, tmp_path / "run" / name)

        async def clean(self, name: str) -> None:
            cleaned.append(name)
            if name == "stuck":
                raise OSError("its files can't be removed")

    async def connect(process: Any, state: MachineState, *rest: Any) -> Any:
        if state.directory.name != "good":
            raise error
        return connections_of(process)

    host: Any = Host()
    for name in ("bad", "good", "stuck"):
        host.state_of(name).create()
        host.state_of(name).save(record_of(name))
    monkeypatch.setattr(boot, "connect", connect)
    services: Any = object()
    runtime = qemu_runtime.QemuRuntime(host, qemu.Accel.TCG)
    adopted = await runtime.adopt({name: services for name in ("bad", "good", "stuck")})
    assert list(adopted) == ["good"]
    assert sorted(cleaned) == ["bad", "stuck"]
    await runtime.close()


async def test_a_supervisor_that_fails_ends_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = machine_of(tmp_path)

    async def run() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(machine._clock, "run", run)
    machine.attach_connections(connections_of())
    async with asyncio.timeout(5):
        events = [event async for event in machine.events()]
    assert events == [MachineGone("AgentError", "the node's agent failed at this machine: a fault of ours")]
    await machine.close()


async def test_a_guest_with_an_impossible_time_is_a_machine_error(tmp_path: Path) -> None:
    machine = machine_of(tmp_path)
    answer = SimpleNamespace(number=lambda tag: (1 << 64) - 1)
    machine.attach_connections(connections_of(link=Link(answer)))
    with pytest.raises(MachineError, match="time"):
        await machine._clock.check()
    await machine.close()


async def test_a_question_that_comes_before_a_machine_is_adopted_is_dropped(tmp_path: Path) -> None:
    refused = []
    machine = machine_of(tmp_path)
    machine.on_question(1, b"", udp=True)
    stream: Any = SimpleNamespace(refuse=lambda: refused.append(True))
    machine.on_connection(stream)
    assert refused


class Sender:
    def __init__(self) -> None:
        self.credit = 0

    def send(self, type_: FrameType, id_: int, payload: bytes = b"", flags: int = 0) -> None:
        self.credit += int.from_bytes(payload, "little")

    async def drained(self) -> None: ...

    def forget_stream(self, id_: int) -> None: ...


def data(channel: int, payload: bytes) -> Frame:
    return Frame(FrameType.DATA, channel, 1, payload)


async def test_stream_data_without_data_is_refused() -> None:
    with pytest.raises(ProtocolError):
        LinkStream(Sender(), 1).take(data(STDOUT, b""))


async def test_single_bytes_take_no_more_than_their_window() -> None:
    sender = Sender()
    stream = LinkStream(sender, 1)
    for number in range(STREAM_WINDOW // 2):
        stream.take(data(STDOUT, bytes([number % 251])))
        stream.take(data(STDERR, b"e"))
    assert len(stream._received) <= PIECES_MAX + 2
    with pytest.raises(ProtocolError):
        stream.take(data(STDOUT, b"x"))
    told = {STDOUT: b"", STDERR: b""}
    while stream._received:
        piece = await stream.next_piece()
        assert piece is not None
        told[piece[0]] += piece[1]
    assert told[STDOUT] == bytes(number % 251 for number in range(STREAM_WINDOW // 2))
    assert told[STDERR] == b"e" * (STREAM_WINDOW // 2)
    assert sender.credit == STREAM_WINDOW


def qemu_saying(*lines: object) -> Say:
    """A monitor that greets, and says `lines` in answer to its second command."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"QMP": {}}\n')
        await reader.readuntil(b"}")
        writer.write(b'{"return": {}, "id": 1}\n')
        for line in lines:
            writer.write(orjson.dumps(line) + b"\n")

    return say


@pytest.mark.parametrize("line", [{"event": "X", "data": [1]}, {"event": "X", "data": None}, {"id": 2, "error": "no"}])
async def test_a_monitor_that_says_what_qemu_does_not_is_lost(tmp_path: Path, line: object) -> None:
    async with listening(tmp_path / "s", qemu_saying(line)):
        monitor = await Monitor.connect(tmp_path / "s")
        asked = monitor.wait_event("X", device="d") if "event" in str(line) else monitor.run("stop")
        with pytest.raises(QmpError) as caught:
            await asked
        monitor.close()
    assert caught.value.reason == "MonitorLost"
