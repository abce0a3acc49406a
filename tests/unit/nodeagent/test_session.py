"""When output is acknowledged. Time is virtual."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.nodeagent.logs import PodLogs
from hypernetes.nodeagent.runtime.base import MachineGone, Output
from hypernetes.nodeagent.session import ACKNOWLEDGE_BYTES, ACKNOWLEDGE_SECONDS, Session

pytestmark = pytest.mark.looptime


class Machine:
    """Says what a test gives it; `acknowledged` is what came back, and when."""

    id = "m1"

    def __init__(self) -> None:
        self.said: asyncio.Queue[Output | MachineGone] = asyncio.Queue()
        self.acknowledged: list[tuple[float, int]] = []

    async def events(self) -> AsyncIterator[Output | MachineGone]:
        while True:
            event = await self.said.get()
            yield event
            if isinstance(event, MachineGone):
                return

    async def acknowledge(self, sequence: int) -> None:
        self.acknowledged.append((asyncio.get_running_loop().time(), sequence))


async def session(machine: Machine, directory: Path) -> "asyncio.Task[None]":
    made = Session(machine, PodLogs(directory), lambda _: None, lambda each: each == "c.0")  # type: ignore[arg-type]
    return asyncio.create_task(made.run())


async def test_a_little_output_is_acknowledged_together(tmp_path: Path) -> None:
    machine = Machine()
    running = await session(machine, tmp_path)
    for sequence in range(1, 11):
        machine.said.put_nowait(Output("c.0", "stdout", 1000.0 + sequence, b"hello\n", sequence))
        await asyncio.sleep(ACKNOWLEDGE_SECONDS / 5)
    await asyncio.sleep(1)
    machine.said.put_nowait(MachineGone("Shutdown", "over"))
    await running
    assert len(machine.acknowledged) in (3, 4)
    assert machine.acknowledged[-1][1] == 10


async def test_much_output_does_not_wait_for_its_acknowledgement(tmp_path: Path) -> None:
    machine = Machine()
    running = await session(machine, tmp_path)
    line = b"x" * 1023 + b"\n"
    pieces = 16 * ACKNOWLEDGE_BYTES // len(line) // 16
    for sequence in range(1, pieces + 1):
        machine.said.put_nowait(Output("c.0", "stdout", 1000.0 + sequence, line * 16, sequence))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.sleep(ACKNOWLEDGE_SECONDS / 10)
    assert len(machine.acknowledged) >= 8, "a window is sixteen times as much"
    machine.said.put_nowait(MachineGone("Shutdown", "over"))
    await running


async def test_output_of_what_the_pod_has_not_is_acknowledged_and_goes_nowhere(tmp_path: Path) -> None:
    machine = Machine()
    running = await session(machine, tmp_path / "logs")
    for sequence, name in enumerate(("c.7", "../../other/logs/web.0", str(tmp_path / "log"), "d.0", "c.0"), start=1):
        machine.said.put_nowait(Output(name, "stdout", 1000.0, b"hello\n", sequence))
    await asyncio.sleep(1)
    machine.said.put_nowait(MachineGone("Shutdown", "over"))
    await running
    assert machine.acknowledged[-1][1] == 5
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.log")] == ["logs/c.0.log"]
