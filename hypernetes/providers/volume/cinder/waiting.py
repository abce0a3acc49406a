"""Cinder does most things after it has answered: whoever asked looks until the status has settled."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

WAIT_SECONDS = 60.0  # within a call; who is told to try again then comes back
_FIRST_SECONDS, _LONGEST_SECONDS = 0.1, 2.0

Look = Callable[[], Awaitable[dict[str, Any] | None]]


async def settled(look: Look, busy: frozenset[str], seconds: float = WAIT_SECONDS) -> dict[str, Any] | None:
    """What `look` gives once its status is none of `busy`, or after `seconds`; None once it is gone."""
    deadline, pause = time.monotonic() + seconds, _FIRST_SECONDS
    while True:
        found = await look()
        if found is None or found.get("status") not in busy or time.monotonic() > deadline:
            return found
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_SECONDS)
