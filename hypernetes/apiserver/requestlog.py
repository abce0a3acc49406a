"""The log of requests: one line each, with nothing of what a query or a body says.

Lines are put together and written beside the event loop, some of them at a time; a server that is asked more than can
be written drops lines, and says how many.
"""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass

import structlog

SLOW, WRITES, ALL = "slow", "writes", "all"
LEVELS = (SLOW, WRITES, ALL)  # each holds the former, and each what failed on the server's side
SLOW_SECONDS = 5.0
_MAX_WAITING = 10_000
_INTERVAL_SECONDS = 0.25

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Line:
    """One request. `path` is without the query, which may hold what isn't meant for logs (commands, for one)."""

    method: str
    path: str
    code: int
    seconds: float
    user: str
    tenant: str
    agent: str
    client: str


class RequestLog:
    """`run()` in a task writes what `add` was given."""

    def __init__(self, level: str = SLOW) -> None:
        self._level = level
        self._waiting: deque[Line] = deque()
        self._dropped = 0

    def wants(self, code: int, seconds: float, *, reading: bool, long_running: bool) -> bool:
        """Whether a request is to be logged: asked first, so that others cost nothing."""
        if self._level == ALL or code >= 500:
            return True
        if self._level == WRITES and not reading:
            return True
        return seconds > SLOW_SECONDS and not long_running

    def add(self, line: Line) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(line)
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Until cancelled; what waits then is written before it ends."""
        try:
            while True:
                await asyncio.sleep(_INTERVAL_SECONDS)
                if self._waiting:
                    await asyncio.to_thread(self._write, *self._taken())
        finally:
            self._write(*self._taken())

    def _taken(self) -> tuple[list[Line], int]:
        lines, dropped = list(self._waiting), self._dropped
        self._waiting.clear()
        self._dropped = 0
        return lines, dropped

    def _write(self, lines: list[Line], dropped: int) -> None:
        for line in lines:
            log.info("request", **{**asdict(line), "seconds": round(line.seconds, 4)})
        if dropped:
            log.warning("requests were not logged: there were too many", requests=dropped)
