"""Fairness between tenants: whatever one tenant asks for, another's small request waits for little of it.

    request ─► the tenant has had less than its turn's worth ─► begins at once ─┐
                 └─ else ─► the queue of its tenant ─┐                          ├─► handler ─► answer
    piece of a large answer ─► the queue of its tenant ─┴─► one turn in every second round of the loop

A process has one event loop. What is ready in a round of it is carried out before anything that comes meanwhile, so
rounds are to be short: in a turn some small requests begin, or one that writes, or a piece of a large answer is made
and written. After a turn comes a round without one, in which those are served that came during it; without it they
would always find the next turn before them. Queues are served by deficit round robin (Shreedhar and Varghese, 1995) and
tenants by their weight. Who asks for little finds its own queue empty, and waits for the end of one turn.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Protocol

TURN = 8  # units of work; one is some 0.1 ms, what a GET takes
_COSTS = {"get": 1, "list": 4, "watch": 2}  # units, before a request waits for something
_WRITE_COST = 8
_SPENT_SECONDS = 0.002
_MAX_WAITING = 2_000  # requests of a tenant; each holds some 10 KB


class Weights(Protocol):
    """What Fairness asks of Lookups."""

    def tenant_weight(self, tenant: str) -> int: ...


class TooManyWait(Exception):
    """As many requests of the tenant wait as may."""


def cost(verb: str) -> int:
    """Units of work of a request with this verb, about."""
    return _COSTS.get(verb, _WRITE_COST)


class Queues:
    """Who waits, by tenant, and who of them is next: deficit round robin. Each has its cost."""

    def __init__(self, weights: Weights, quantum: int) -> None:
        self._weights, self._quantum = weights, quantum
        self._queues: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()  # the first is next
        self._left = 0  # units that the first tenant has until it is the next one's turn

    def __bool__(self) -> bool:
        return bool(self._queues)

    def waiting(self, tenant: str) -> int:
        queue = self._queues.get(tenant)
        return 0 if queue is None else len(queue)

    def add(self, tenant: str, cost: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append((cost, future))
        return future

    def release(self) -> tuple[str, int]:
        """Lets the next one go; gives its tenant, and its cost: 0 where its client has gone meanwhile."""
        tenant, queue = next(iter(self._queues.items()))
        if self._left <= 0:
            self._left = self._quantum * self._weights.tenant_weight(tenant)
        cost, future = queue.popleft()
        if future.done():
            cost = 0
        else:
            future.set_result(None)
        self._left -= cost
        if not queue:
            del self._queues[tenant]
            self._left = 0
        elif self._left <= 0:
            self._queues.move_to_end(tenant)
        return tenant, cost


class Fairness:
    """Whose turn it is, in one server."""

    def __init__(self, weights: Weights, most: int = _MAX_WAITING) -> None:
        self._most = most
        self._spent: dict[str, int] = {}  # units of requests that began lately, by tenant
        self._until = 0.0  # when that is forgotten, by the loop's clock, which stands still during a round
        self._requests, self._pieces = Queues(weights, TURN), Queues(weights, 1)
        self._piece_next = False  # of what waits in both
        self._resting = False  # whether the next round is one without a turn
        self._running = False  # whether `_next` comes with the next round

    def begin(self, tenant: str, cost: int) -> asyncio.Future[None] | None:
        """What to wait for before a request is carried out; None: nothing. Raises TooManyWait."""
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._until = now + _SPENT_SECONDS
            self._spent.clear()
        waiting = self._requests.waiting(tenant)
        if not waiting and self._spent.get(tenant, 0) < TURN:
            self._spend(tenant, cost)
            return None
        if waiting >= self._most:
            raise TooManyWait
        if not self._running:
            self._run()
        return self._requests.add(tenant, cost)

    async def piece(self, tenant: str) -> None:
        """Returns when a piece of a large answer may be made and written."""
        if self._running:
            await self._pieces.add(tenant, 1)
        else:
            self._run()

    def _spend(self, tenant: str, cost: int) -> None:
        self._spent[tenant] = self._spent.get(tenant, 0) + cost

    def _run(self) -> None:
        """From the next round on, which is one without a turn."""
        self._running = self._resting = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._resting:
            self._resting = False
            asyncio.get_running_loop().call_soon(self._next)
        elif self._a_piece() if self._piece_next else self._some_requests():
            self._piece_next = not self._piece_next
            self._run()
        elif self._some_requests() if self._piece_next else self._a_piece():
            self._run()
        else:
            self._running = False

    def _a_piece(self) -> bool:
        """Whether one was let go."""
        while self._pieces:
            if self._pieces.release()[1]:
                return True
        return False

    def _some_requests(self) -> bool:
        """Whether any were let go."""
        left = TURN
        while self._requests and left > 0:
            tenant, cost = self._requests.release()
            self._spend(tenant, cost)
            left -= cost
        return left < TURN
