"""What every runtime keeps. A runtime's test module subclasses `RuntimeSuite` and gives a `bench` fixture.

The commands (echo, cat, sleep, false) are those of the image `bench.image`, or the fake's own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from hypernetes.nodeagent.runtime.base import (
    ByteStream,
    ContainerSpec,
    ContainerState,
    Event,
    Exited,
    GuestConfig,
    Machine,
    MachineError,
    MachineGone,
    MachineSpec,
    Mount,
    Nic,
    Output,
    Process,
    Runtime,
)

DEADLINE_SECONDS = 90.0


@dataclass
class Services:
    """The agent's side of a guest: an echo for DNS, and for the API whatever a test puts there."""

    questions: list[bytes] = field(default_factory=list)
    api: ByteStream | None = None
    dialed: list[tuple[str, int]] = field(default_factory=list)

    async def resolve(self, question: bytes, *, udp: bool) -> bytes:
        self.questions.append(question)
        return question

    async def connect(self, address: str, port: int) -> ByteStream:
        self.dialed.append((address, port))
        if self.api is None:
            raise OSError("refused")
        return self.api


class Bench(Protocol):
    """Opens runtimes over one state, as an agent and its successor do."""

    image: Path

    async def open(self) -> Runtime: ...

    def kill(self, machine: Machine) -> None:
        """The hypervisor dies."""


def machine_spec(name: str = "m1", nic: Nic | None = None) -> MachineSpec:
    return MachineSpec(name, 192 << 20, 1, nic, 256 << 20, f"tests/{name}")


def container(argv: Sequence[str], name: str = "c.0", **more: object) -> ContainerSpec:
    return ContainerSpec(name, "image", argv, {"PATH": "/bin"}, **more)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def booted(
    runtime: Runtime, bench: Bench, services: Services | None = None, name: str = "m1"
) -> AsyncIterator[Machine]:
    machine = await runtime.create(machine_spec(name), services or Services())
    try:
        await machine.configure(GuestConfig("pod", None))
        await machine.attach_disk("image", bench.image, read_only=True)
        yield machine
    finally:
        await machine.shutdown(5)


async def collect(machine: Machine, container_id: str = "c.0") -> tuple[bytes, Exited, list[Event]]:
    """Standard output of a container until it exited, acknowledged on the way."""
    seen: list[Event] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in machine.events():
            seen.append(event)
            if isinstance(event, Output):
                await machine.acknowledge(event.sequence)
            if isinstance(event, MachineGone):
                raise AssertionError(event)
            if isinstance(event, Exited) and event.status.id == container_id:
                text = b"".join(
                    one.data
                    for one in seen
                    if isinstance(one, Output) and one.container_id == container_id and one.stream == "stdout"
                )
                return text, event, seen
    raise AssertionError("the events ended")


async def output_of(process: Process) -> tuple[bytes, int]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        text = b"".join([data async for _, data in process.output()])
        return text, await process.wait()


class RuntimeSuite:
    @pytest.fixture
    async def runtime(self, bench: Bench) -> AsyncIterator[Runtime]:
        opened = await bench.open()
        yield opened
        await opened.close()

    @pytest.fixture
    async def machine(self, runtime: Runtime, bench: Bench) -> AsyncIterator[Machine]:
        async with booted(runtime, bench) as made:
            yield made

    async def test_output_comes_before_the_exit_and_with_rising_sequences(self, machine: Machine) -> None:
        await machine.start_container(container(["echo", "hello", "world"]))
        text, exited, seen = await collect(machine)
        assert text == b"hello world\n"
        assert (exited.status.state, exited.status.exit_code) == (ContainerState.EXITED, 0)
        assert exited.status.started_at is not None
        assert exited.status.finished_at is not None
        sequences = [event.sequence for event in seen if isinstance(event, Output)]
        assert sequences == sorted(set(sequences))

    async def test_a_failing_command_gives_its_exit_code(self, machine: Machine) -> None:
        await machine.start_container(container(["false"]))
        _, exited, _ = await collect(machine)
        assert exited.status.exit_code == 1

    async def test_a_killed_container_exits_with_128_and_the_signal(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        await machine.signal_container("c.0", 9)
        _, exited, _ = await collect(machine)
        assert exited.status.exit_code == 137

    async def test_a_signal_to_a_container_that_is_gone_is_no_error(self, machine: Machine) -> None:
        await machine.signal_container("never.0", 15)

    async def test_a_command_that_is_not_in_the_image_is_named_so(self, machine: Machine) -> None:
        with pytest.raises(MachineError, match="no-such-thing") as caught:
            await machine.start_container(container(["no-such-thing"]))
        assert caught.value.reason == "NoSuchCommand"
        assert await machine.containers() == []

    async def test_an_exec_carries_input_output_and_the_exit_code(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        process = await machine.exec("c.0", ["cat"], stdin=True)
        await process.stdin.write(b"there and back")
        await process.stdin.close_write()
        assert await output_of(process) == (b"there and back", 0)

    async def test_an_exec_of_a_missing_command_fails_in_wait(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        process = await machine.exec("c.0", ["no-such-thing"])
        assert [piece async for piece in process.output()] == []
        with pytest.raises(MachineError) as caught:
            await process.wait()
        assert caught.value.reason == "NoSuchCommand"

    async def test_an_exec_in_a_container_that_does_not_run_fails(self, machine: Machine) -> None:
        with pytest.raises(MachineError) as caught:
            await machine.exec("never.0", ["echo"])
        assert caught.value.reason == "ContainerGone"

    async def test_an_attached_client_sees_output_and_gives_input(self, machine: Machine) -> None:
        await machine.start_container(container(["cat"], stdin=True, stdin_once=True))
        process = await machine.attach("c.0")
        await process.stdin.write(b"attached")
        await process.stdin.close_write()
        assert await output_of(process) == (b"attached", 0)
        text, _, _ = await collect(machine)
        assert text == b"attached"

    async def test_input_that_is_not_for_one_client_only_stays_open_for_the_next(self, machine: Machine) -> None:
        await machine.start_container(container(["cat"], stdin=True))
        for word in (b"first", b"second"):
            client = await machine.attach("c.0")
            await client.stdin.write(word)
            await client.stdin.close_write()
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert await anext(aiter(client.output())) == ("stdout", word)

    async def test_a_file_of_a_volume_is_read_back_and_a_large_one_refused(self, machine: Machine) -> None:
        await machine.write_volume("config", {"key": (b"x" * 40_000, 0o644)})
        assert await machine.read_file("config", "key", 40_000) == b"x" * 40_000
        for path, limit, reason in (("key", 39_999, "FileTooLarge"), ("other", 100, "NoSuchFile")):
            with pytest.raises(MachineError) as caught:
                await machine.read_file("config", path, limit)
            assert caught.value.reason == reason

    async def test_a_removed_container_is_forgotten_and_its_name_free(self, machine: Machine) -> None:
        await machine.start_container(container(["echo", "one"]))
        await collect(machine)
        await machine.remove_container("c.0")
        assert await machine.containers() == []
        await machine.start_container(container(["echo", "two"]))
        assert (await collect(machine))[0] == b"two\n"

    async def test_a_written_volume_is_seen_by_the_container(self, machine: Machine) -> None:
        await machine.write_volume("config", {"key": (b"value", 0o644)})
        await machine.start_container(container(["cat", "/etc/config/key"], mounts=[Mount("config", "/etc/config")]))
        assert (await collect(machine))[0] == b"value"

    async def test_a_successor_adopts_machines_and_loses_nothing(self, bench: Bench) -> None:
        first = await bench.open()
        machine = await first.create(machine_spec("kept"), Services())
        try:
            await machine.configure(GuestConfig("pod", None))
            await machine.attach_disk("image", bench.image, read_only=True)
            await machine.start_container(container(["echo", "before"], "a.0"))
            await machine.start_container(container(["sleep", "1000"], "b.0"))
            await first.close()
            second = await bench.open()
            adopted = await second.adopt({"kept": Services()})
            heir = adopted["kept"]
            assert (heir.pid, heir.boot_id) == (machine.pid, machine.boot_id)
            text, exited, _ = await collect(heir, "a.0")
            assert (text, exited.status.exit_code) == (b"before\n", 0)
            states = {one.id: one.state for one in await heir.containers()}
            assert states == {"a.0": ContainerState.EXITED, "b.0": ContainerState.RUNNING}
            await heir.start_container(container(["echo", "after"], "c.0"))
            assert (await collect(heir, "c.0"))[0] == b"after\n"
            machine = heir
        finally:
            await machine.shutdown(5)
        await second.close()

    async def test_a_machine_nobody_wants_is_removed_at_adoption(self, bench: Bench) -> None:
        first = await bench.open()
        await first.create(machine_spec("stray"), Services())
        await first.close()
        second = await bench.open()
        assert await second.adopt({}) == {}
        assert await second.adopt({"stray": Services()}) == {}
        await second.close()

    async def test_the_hypervisors_death_is_the_last_event(self, runtime: Runtime, bench: Bench) -> None:
        machine = await runtime.create(machine_spec("doomed"), Services())
        bench.kill(machine)
        async with asyncio.timeout(DEADLINE_SECONDS):
            events = [event async for event in machine.events()]
        assert [type(event) for event in events] == [MachineGone]
        await machine.shutdown(5)
        await machine.shutdown(5)

    async def test_two_machines_of_one_id_are_refused(self, runtime: Runtime, machine: Machine) -> None:
        with pytest.raises(MachineError):
            await runtime.create(machine_spec("m1"), Services())
