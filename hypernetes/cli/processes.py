"""One process kept running.

While the cluster starts, a process that ends is a failure with a reason to show. Later it is started again, at once
the first time and then with back-off, for as long as the supervisor lives. If the supervisor itself is killed, the
kernel sends its processes SIGTERM (`setpriv --pdeathsig`): pods' machines go on, and the next `hn up` finds no double.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

import structlog

from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Layout
from hypernetes.cli.programs import Program
from hypernetes.pki import write_public

FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 10.0
STEADY_SECONDS = 10.0  # one that ran this long starts again without back-off
LOG_TAIL_LINES = 5
MAX_LOG_BYTES = 64 * 2**20

log = structlog.get_logger()


class StartFailed(CommandError):
    """A process ended before the cluster was up."""


def restart_delay(deaths: int) -> float:
    """Seconds to wait before the next start, after so many deaths in short order (the first is 1)."""
    return float(min(FIRST_DELAY_SECONDS * 2 ** (deaths - 1), MAX_DELAY_SECONDS))


class Runner:
    """Runs one program. Owned by the supervisor, which calls `start`, then `keep` in a task, and `stop` at the end."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program = program
        self._log_file, self._pid_file = layout.log(program.name), layout.pid(program.name)
        self._process: asyncio.subprocess.Process | None = None
        self._settled = False
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        limit_log(self._log_file)
        with self._log_file.open("ab") as output:  # O_APPEND: the file may be cut while the process writes
            self._process = await asyncio.create_subprocess_exec(
                "setpriv", "--pdeathsig", "TERM", "--", *self.program.argv,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        write_public(self._pid_file, f"{self._process.pid}\n".encode())

    def settle(self) -> None:
        """From now on an end is no failure of the start, but a reason to start again."""
        self._settled = True

    async def keep(self) -> None:
        """Starts the process again whenever it ends; ends itself after `stop`. Raises StartFailed before `settle`."""
        deaths = 0
        while not self._stopping.is_set():
            assert self._process is not None
            began = time.monotonic()
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            if not self._settled:
                raise StartFailed(self._why(code))
            deaths = 1 if time.monotonic() - began >= STEADY_SECONDS else deaths + 1
            delay = restart_delay(deaths)
            log.warning("process ended and is started again", process=self.program.name, code=code, delay=delay)
            try:
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            except TimeoutError:
                await self.start()

    async def stop(self) -> None:
        """Ends the process: SIGTERM, and SIGKILL where that isn't enough. Idempotent."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(self.program.stop_seconds):
                    await process.wait()
            except TimeoutError:
                log.warning("process did not end in time and is killed", process=self.program.name)
                process.kill()
                await process.wait()
        self._pid_file.unlink(missing_ok=True)

    def _why(self, code: int) -> str:
        ended = f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        tail = "".join(f"\n    {line}" for line in last_lines(self._log_file, LOG_TAIL_LINES))
        return f"{self.program.name} {ended} while starting; the end of {self._log_file}:{tail}"


def last_lines(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def limit_log(path: Path, limit: int = MAX_LOG_BYTES) -> None:
    """Moves what a log holds to `<name>.1` when it is over `limit` bytes. Lines written in between may be lost."""
    try:
        if path.stat().st_size <= limit:
            return
    except FileNotFoundError:
        return
    previous = path.with_name(path.name + ".1")
    with path.open("rb") as source, previous.open("wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 2**20):
            pass
    os.truncate(path, 0)
