"""What machines have on their host, beside their process: files, a uid, a control group; and giving it all back."""

import asyncio
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hypernetes.nodeagent.runtime import hypervisor, uids
from hypernetes.nodeagent.runtime.cgroup import Cgroups
from hypernetes.nodeagent.runtime.state import MachineState

T = TypeVar("T")

KILL_SECONDS = 60.0  # a process in uninterruptible I/O dies when that ends


@dataclass(frozen=True, slots=True)
class Host:
    """What stays the same for all machines of a runtime."""

    cluster_id: str
    directory: Path
    run_directory: Path
    guest: hypervisor.GuestFiles
    qemu_version: str
    tsc_khz: int
    cgroups: Cgroups

    def state_of(self, machine_id: str) -> MachineState:
        return MachineState(self.directory / machine_id, self.run_directory / machine_id)

    def name_of(self, machine_id: str) -> str:
        """QEMU's -name, by which a process that was never noted is found."""
        return f"hn{self.cluster_id}-{machine_id}"

    def claim_uid(self, machine_id: str) -> int:
        return uids.claim(self.run_directory / "uids", self.cluster_id, machine_id)

    async def end(self, machine_id: str) -> None:
        """Ends whatever process the machine has. Idempotent."""
        await to_the_end(lambda: self._end(machine_id))

    async def clean(self, machine_id: str) -> None:
        """Ends whatever process the machine has and removes all of its files, groups and ids. Idempotent."""
        await to_the_end(lambda: self._clean(machine_id))

    def _end(self, machine_id: str) -> None:
        for pid in hypervisor.running_under(self.name_of(machine_id)):
            _kill(pid)
        self.cgroups.remove(machine_id)

    def _clean(self, machine_id: str) -> None:
        self._end(machine_id)
        uids.release(self.run_directory / "uids", machine_id)
        self.state_of(machine_id).remove()


async def to_the_end(work: Callable[[], T]) -> T:
    """Runs `work` in a thread. A cancellation waits until it is through: what it makes is there to be cleaned then."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _kill(pid: int) -> None:
    """Kills a process and waits for its end, child or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        select.select([fd], [], [], KILL_SECONDS)
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return
    finally:
        os.close(fd)
