"""Pods that have no node yet, and who of them is next. Pure: told the time (seconds, any origin).

    add ──► active ──pop──► (decided) ──► bound: remove
              ▲                 │ no node, or the binding failed: retry
              │                 ▼
              ├──due── backing off ◄──event── parked

A pod that no node takes is parked until something happens that could change that, or for PARKED_SECONDS; it backs off
first, longer each time. Order: the provider's own pods; then the tenant that has the smallest dominant share of the
cluster; in a tenant by priority, then first come. Tenants' priorities don't count against each other: whoever may set
them could starve the rest.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hypernetes.api.tenancy import SYSTEM_TENANT

K = TypeVar("K")

FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 10.0  # upstream's
PARKED_SECONDS = 300.0
_MISSED = -1  # as `popped_at`: something happened since, whatever the count of events

_Rank = tuple[bool, float, str]  # (not the provider's, dominant share, tenant)


@dataclass(slots=True)
class _Waiting:
    tenant: str
    priority: int
    number: int  # of arrival
    attempts: int = 0
    due: float | None = None  # backing off until then
    parked_until: float | None = None
    popped_at: int | None = None  # the count of events when it was handed out
    stamp: int = 0  # of its one valid heap entry


class SchedulingQueue(Generic[K]):
    """`share` tells a tenant's dominant share, 0 to 1."""

    def __init__(self, share: Callable[[str], float]) -> None:
        self._share = share
        self._pods: dict[K, _Waiting] = {}
        self._active: dict[str, list[tuple[int, int, int, K]]] = {}  # heaps of (-priority, number, stamp, key)
        self._tenants: list[_Rank] = []  # heap; each tenant of _active once, with its rank as it once was
        self._due: list[tuple[float, int, K]] = []  # heap of (when, stamp, key)
        self._arrivals = self._stamps = self._events = 0

    def __len__(self) -> int:
        return len(self._pods)

    def __contains__(self, key: K) -> bool:
        return key in self._pods

    def add(self, key: K, *, tenant: str, priority: int) -> None:
        """A pod that is new, or changed so that it may fit now. One that waits already keeps its place in line."""
        waiting = self._pods.get(key)
        if waiting is None:
            self._arrivals += 1
            waiting = self._pods[key] = _Waiting(tenant, priority, self._arrivals)
        elif waiting.popped_at is not None:
            waiting.popped_at = _MISSED
            return
        elif waiting.priority == priority and waiting.due is None:
            return
        waiting.priority = priority
        self._activate(key, waiting)

    def remove(self, key: K) -> None:
        self._pods.pop(key, None)

    def pop(self, now: float) -> K | None:
        """The next pod; the caller reports with `remove` or `retry` what became of it."""
        self._take_due(now)
        while self._tenants:
            rank = self._rank(self._tenants[0][2])
            if rank > self._tenants[0]:
                heapq.heapreplace(self._tenants, rank)  # its share has grown since
                continue
            key = self._pop_of(rank[2])
            if rank[2] not in self._active:
                heapq.heappop(self._tenants)
            if key is not None:
                self._pods[key].popped_at = self._events
                return key
        return None

    def retry(self, key: K, now: float, *, parked: bool) -> None:
        """It got no node. `parked`: only an event will change that; else it is tried again after its back-off."""
        waiting = self._pods.get(key)
        if waiting is None:
            return
        missed = waiting.popped_at != self._events
        waiting.attempts += 1
        waiting.popped_at = None
        delay = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(waiting.attempts - 1, 16), LONGEST_BACKOFF_SECONDS)
        waiting.due = now + delay
        waiting.parked_until = None
        if parked and not missed:
            waiting.parked_until = now + PARKED_SECONDS
        self._push_due(key, waiting)

    def event(self, now: float) -> None:
        """Something happened that may make room: parked pods are tried again, each not before its back-off is over."""
        self._events += 1
        self.unpark(self._pods, now)
        # Shares may have shrunk; `pop` notices only those that have grown.
        self._tenants = [self._rank(tenant) for tenant in self._active]
        heapq.heapify(self._tenants)

    def unpark(self, keys: Iterable[K], now: float) -> None:
        """What these wait for may have come: they are tried again, each not before its back-off is over."""
        for key in keys:
            waiting = self._pods.get(key)
            if waiting is not None and waiting.parked_until is not None:
                waiting.parked_until = None
                waiting.due = max(waiting.due or now, now)
                self._push_due(key, waiting)

    def next_due(self, now: float) -> float | None:
        """Seconds until `pop` may have something: 0 if it may have now, None if only `add` or `event` can change it."""
        while self._due and self._is_stale(*self._due[0][1:]):
            heapq.heappop(self._due)
        if self._active:
            return 0.0
        return max(self._due[0][0] - now, 0.0) if self._due else None

    def _rank(self, tenant: str) -> _Rank:
        return (tenant != SYSTEM_TENANT, self._share(tenant), tenant)

    def _pop_of(self, tenant: str) -> K | None:
        heap = self._active[tenant]
        found = None
        while heap and found is None:
            _, _, stamp, key = heapq.heappop(heap)
            if not self._is_stale(stamp, key):
                found = key
        if not heap:
            del self._active[tenant]
        return found

    def _take_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, stamp, key = heapq.heappop(self._due)
            if not self._is_stale(stamp, key):
                self._activate(key, self._pods[key])

    def _activate(self, key: K, waiting: _Waiting) -> None:
        waiting.due = waiting.parked_until = None
        if waiting.tenant not in self._active:
            self._active[waiting.tenant] = []
            heapq.heappush(self._tenants, self._rank(waiting.tenant))
        entry = (-waiting.priority, waiting.number, self._stamp(waiting), key)
        heapq.heappush(self._active[waiting.tenant], entry)

    def _push_due(self, key: K, waiting: _Waiting) -> None:
        when = waiting.parked_until if waiting.parked_until is not None else waiting.due
        assert when is not None
        heapq.heappush(self._due, (when, self._stamp(waiting), key))

    def _stamp(self, waiting: _Waiting) -> int:
        """Marks the heap entry about to be made as the pod's only valid one."""
        self._stamps += 1
        waiting.stamp = self._stamps
        return self._stamps

    def _is_stale(self, stamp: int, key: K) -> bool:
        waiting = self._pods.get(key)
        return waiting is None or waiting.stamp != stamp
