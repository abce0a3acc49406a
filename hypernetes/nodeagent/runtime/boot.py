"""A running QEMU and the connections to it: what creating, adopting, probing and templates share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.frames import Fields
from hypernetes.nodeagent.runtime.hypervisor import last_words
from hypernetes.nodeagent.runtime.link import GuestLink, LinkHandler
from hypernetes.nodeagent.runtime.processes import ProcessId, WatchedProcess
from hypernetes.nodeagent.runtime.qmp import Monitor
from hypernetes.nodeagent.runtime.state import MachineState

T = TypeVar("T")

HYPERVISOR_KILLED = "HypervisorKilled"  # a MachineError's reason
END_SECONDS = 1.0  # between the end of a process's connections and its own


@dataclass(slots=True)
class Connections:
    process: WatchedProcess
    monitor: Monitor
    link: GuestLink
    hello: Fields

    def close(self) -> None:
        """Lets go of the machine, which goes on."""
        self.link.close()
        self.monitor.close()
        self.process.close()


def watch(identity: ProcessId, state: MachineState) -> WatchedProcess:
    """Raises MachineError where the process has ended already."""
    try:
        return WatchedProcess(identity)
    except ProcessLookupError as error:
        raise MachineError("BootFailed", f"QEMU ended at once: {last_words(state)}") from error


async def while_alive(process: WatchedProcess, state: MachineState, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises MachineError (`BootFailed`) if the process ends first."""
    working, ended = asyncio.ensure_future(work), asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not process.ended:
            return await working
        raise MachineError("BootFailed", f"the machine ended while it booted: {last_words(state)}")
    finally:
        for task in (working, ended):
            task.cancel()
        await asyncio.gather(working, ended, return_exceptions=True)


@asynccontextmanager
async def telling_of_kills(process: WatchedProcess) -> AsyncIterator[None]:
    """Makes it an error of its own (HYPERVISOR_KILLED) that a machine's process was killed meanwhile: it says nothing
    of the machine, and no other start has to suffer for it."""
    try:
        yield
    except MachineError as error:
        with contextlib.suppress(TimeoutError):  # the link is often lost before the end is seen
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        if process.killed:
            raise MachineError(HYPERVISOR_KILLED, "the machine's process was killed while it started") from error
        raise


async def connect(
    process: WatchedProcess,
    state: MachineState,
    handler: LinkHandler,
    seconds: float,
    *,
    begin: Callable[[Monitor], Awaitable[None]] | None = None,
) -> Connections:
    """Connects to the monitor and to hn-init, which may be booting. `begin` is what the monitor is asked in between.

    Raises MachineError; `process` stays open.
    """

    async def both() -> Connections:
        monitor = await Monitor.connect(state.monitor_socket, seconds)
        try:
            if begin is not None:
                await begin(monitor)
            link, hello = await GuestLink.connect(state.link_socket, state.directory.name, handler, seconds)
        except BaseException:
            monitor.close()
            raise
        return Connections(process, monitor, link, hello)

    return await while_alive(process, state, both())
