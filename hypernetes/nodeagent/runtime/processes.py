"""Host processes that outlive the agent: which one a pid means, and when it ends.

A pid is reused; (pid, start time) within one boot of the host is not (proc(5), field 22 of /proc/PID/stat).
"""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path


def host_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """In clock ticks since the host's boot; None where there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@dataclass(frozen=True, slots=True)
class ProcessId:
    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Raises ProcessLookupError."""
        started = start_time(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started, host_boot_id())

    def alive(self) -> bool:
        return self.boot_id == host_boot_id() and start_time(self.pid) == self.start_time


class WatchedProcess:
    """A process whose end can be awaited, child or not."""

    def __init__(self, identity: ProcessId) -> None:
        """Raises ProcessLookupError where it has ended."""
        self.identity = identity
        self._fd = os.pidfd_open(identity.pid)
        if not identity.alive():
            os.close(self._fd)
            raise ProcessLookupError(identity.pid)
        self._ended = asyncio.Event()
        self.killed = False  # it ended by SIGKILL, as far as its parent can tell
        asyncio.get_running_loop().add_reader(self._fd, self._on_end)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        with contextlib.suppress(ChildProcessError):  # started by an earlier agent: not ours to reap
            how = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
            self.killed = how is not None and (how.si_code, how.si_status) == (os.CLD_KILLED, signal.SIGKILL)
        self._ended.set()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def wait(self) -> None:
        await self._ended.wait()

    def kill(self) -> None:
        try:
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Stops watching; the process goes on."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
