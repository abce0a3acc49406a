"""The log: lines wait in memory, and a thread writes what has come together.

On a disk that takes nothing more, lines wait and are tried again, up to a bound; beyond it they are lost and counted.
The modes that wait lose an event at once, since a request waits for it: `blocking` carries the request out all the
same, `blocking-strict` refuses one whose arrival can't be recorded.
"""

import asyncio
from collections import deque
from typing import Protocol

import structlog

from hypernetes.apiserver.audit.counts import Counts

BATCH, BLOCKING, STRICT = MODES = ("batch", "blocking", "blocking-strict")
MAX_WAITING = 10_000  # events; upstream's
MAX_WAITING_BYTES = 64 * 1024 * 1024
_TOGETHER_BYTES = 1024 * 1024  # of one write
_PAUSE_SECONDS = 0.05  # for lines to come together
_ENDING_SECONDS = 5.0  # for a write under way when the server stops
_AGAIN_SECONDS = 1.0  # after a write that failed
_QUIET_SECONDS = 60.0  # between two complaints of the same

log = structlog.get_logger()


class File(Protocol):
    def write(self, lines: bytes) -> None:
        """All of it, or nothing. Raises OSError."""

    def close(self) -> None: ...


class AuditLog:
    """`run()` in a task writes what `add` and `write` were given."""

    def __init__(self, file: File, counts: Counts, mode: str = BATCH) -> None:
        self._file, self._counts, self.mode = file, counts, mode
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._waiting: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._filled = asyncio.Event()
        self._complained = float("-inf")
        self._failing = False

    def add(self, line: bytes) -> None:
        """To be written soon."""
        if len(self._lines) >= MAX_WAITING or self._bytes + len(line) > MAX_WAITING_BYTES:
            self._lost(1, "too many events wait for the audit log")
            return
        self._lines.append(line)
        self._bytes += len(line)
        self._filled.set()

    async def write(self, line: bytes) -> bool:
        """Returns once it is written, or has failed to be."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, written))
        self._filled.set()
        return await asyncio.shield(written)

    async def run(self) -> None:
        """Until cancelled; what waits then is written before it ends, or lost and counted."""
        try:
            while True:
                await self._filled.wait()
                if self._waiting:
                    await self._write_waiting()
                elif not await self._write_lines():
                    await asyncio.sleep(_AGAIN_SECONDS)
                elif not self._lines:
                    self._filled.clear()
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._end()

    async def _write_waiting(self) -> None:
        """Those that requests wait for, all in one write."""
        taken, self._waiting = self._waiting, []
        if not self._lines:
            self._filled.clear()
        written = False
        try:
            written = await self._written([line for line, _ in taken])
            if not written:
                self._counts.errors["log"] += len(taken)
        finally:
            for _, future in taken:
                if not future.done():
                    future.set_result(written)

    async def _write_lines(self) -> bool:
        taken, size = [], 0
        while self._lines and size < _TOGETHER_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        self._bytes -= size
        written = await self._written(taken)
        if not written:
            self._put_back(taken, size)
        return written

    def _put_back(self, lines: list[bytes], size: int) -> None:
        self._lines.extendleft(reversed(lines))
        self._bytes += size

    async def _written(self, lines: list[bytes]) -> bool:
        writing = asyncio.ensure_future(asyncio.to_thread(self._file.write, b"".join(lines)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # what has begun is ended first, or else lines would be there twice
            await asyncio.wait({writing}, timeout=_ENDING_SECONDS)
            if not writing.done():
                self._lost(len(lines), "the audit log takes too long at the end")
            elif writing.exception() is not None:
                self._put_back(lines, sum(map(len, lines)))
            raise
        except OSError as error:
            self._complain("the audit log can't be written", error=str(error), events=len(lines))
            self._failing = True
            return False
        if self._failing:
            log.info("the audit log is written again")
            self._failing = False
        return True

    def _end(self) -> None:
        lines = [*self._lines, *(line for line, _ in self._waiting)]
        try:
            if lines:
                self._file.write(b"".join(lines))
        except OSError as error:
            self._lost(len(lines), "the audit log can't be written at the end", error=str(error))
        for _, future in self._waiting:
            if not future.done():
                future.set_result(False)
        self._file.close()

    def _lost(self, events: int, why: str, **more: str) -> None:
        self._counts.errors["log"] += events
        self._complain(why, lost=self._counts.errors["log"], **more)

    def _complain(self, why: str, **more: object) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained >= _QUIET_SECONDS:
            self._complained = now
            log.error(why, **more)
