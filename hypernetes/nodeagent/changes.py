"""Changes that somebody waits for: each tenant has a generation, which grows with every one of them."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable


class Changes:
    def __init__(self) -> None:
        self._generations: defaultdict[str, int] = defaultdict(int)
        self._waiters: dict[str, asyncio.Future[None]] = {}

    def tell(self, tenant: str) -> None:
        self._generations[tenant] += 1
        waiter = self._waiters.pop(tenant, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def generation(self, tenant: str) -> int:
        return self._generations[tenant]

    async def after(self, tenant: str, seen: int) -> int:
        """Waits until the generation isn't `seen`; gives it."""
        while self._generations[tenant] == seen:
            waiter = self._waiters.get(tenant)
            if waiter is None:
                waiter = self._waiters[tenant] = asyncio.get_running_loop().create_future()
            await asyncio.shield(waiter)
        return self._generations[tenant]


async def settled(after: Callable[[int], Awaitable[int]], seen: int, *, quiet: float, longest: float) -> int:
    """The generation once nothing has changed for `quiet` seconds, or after `longest`; `after` waits for the next."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(longest):
            while True:
                try:
                    async with asyncio.timeout(quiet):
                        seen = await after(seen)
                except TimeoutError:
                    break
    return seen
