"""Keeping a guest's clock: measured over the link, shifted when it is off.

The offset is known to half the round trip, so a slow answer teaches little and is not acted on beyond that; who got
only slow ones asks again soon.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from hypernetes.nodeagent.runtime.base import MachineError

log = structlog.get_logger(__name__)

TOLERANCE_NS = 10_000_000  # promised are 50 ms
UNCERTAINTY_NS = 20_000_000  # a clock within tolerance is within the promise, measured no worse than this
FIRST_SECONDS = 1.0
CHECK_SECONDS = 20.0
ATTEMPTS = 4


def wall_clock_ns() -> int:
    return time.time_ns()


def correction(sent_ns: int, guest_ns: int, received_ns: int) -> int:
    """Nanoseconds to add to the guest's clock; 0 where it is right as far as one can tell."""
    uncertainty = (received_ns - sent_ns) // 2
    offset = guest_ns - (sent_ns + uncertainty)
    return 0 if abs(offset) <= max(TOLERANCE_NS, uncertainty) else -offset


class ClockKeeper:
    """`exchange(delta)` shifts the guest's clock, if a delta is given, and returns its time after that."""

    def __init__(self, exchange: Callable[[int | None], Awaitable[int]], name: str) -> None:
        self._exchange = exchange
        self._name = name

    async def check(self) -> bool:
        """Measures and corrects until the guest's clock is right; False where slow answers hide whether it is."""
        delta = 0
        for _ in range(ATTEMPTS):
            sent = wall_clock_ns()
            guest = await self._exchange(delta or None)
            received = wall_clock_ns()
            delta = correction(sent, guest, received)
            if delta == 0 and (received - sent) // 2 <= UNCERTAINTY_NS:
                return True
        return False

    async def run(self) -> None:
        """Soon after the start too: the machine may be an adopted one, that nobody has looked after for a while."""
        pause, unsure = FIRST_SECONDS, FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                sure = await self.check()
            except MachineError as error:
                log.info("the guest's clock can't be checked", machine=self._name, error=error.message)
                sure = False
            pause = CHECK_SECONDS if sure else unsure
            unsure = FIRST_SECONDS if sure else min(2 * unsure, CHECK_SECONDS)
