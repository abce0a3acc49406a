"""How often somebody may try a password: so many failures a minute for a user, and fewer for a user from one address.

Users who aren't there are counted like those who are, so that a refusal tells nothing. What succeeds isn't counted.
"""

from collections import OrderedDict
from collections.abc import Callable

from hypernetes.api.status import StatusError

PER_MINUTE = 60  # for a user, from anywhere
PER_MINUTE_AND_ADDRESS = 10
_KEPT = 50_000  # users and addresses that are remembered

Key = tuple[str, ...]


class Attempts:
    """Failures by key. Each comes free again after a minute's share; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[Key, tuple[float, float]] = OrderedDict()  # key -> (how many, as of when)

    def check(self, tenant: str, user: str, address: str) -> None:
        """Before an attempt, which counts as a failure until `succeeded`. Raises StatusError 429."""
        keys = _keys(tenant, user, address)
        for key, limit in keys:
            count = self._count(key, limit)
            if count + 1 > limit:
                seconds = max(1, round((count + 1 - limit) * 60 / limit))
                message = "too many attempts to log in, please try again later"
                raise StatusError("TooManyRequests", message, details={"retryAfterSeconds": seconds})
        for key, limit in keys:
            self._set(key, self._count(key, limit) + 1)

    def succeeded(self, tenant: str, user: str, address: str) -> None:
        for key, limit in _keys(tenant, user, address):
            self._set(key, max(0.0, self._count(key, limit) - 1))

    def _count(self, key: Key, limit: int) -> float:
        count, since = self._failures.get(key, (0.0, 0.0))
        return max(0.0, count - (self._clock() - since) * limit / 60)

    def _set(self, key: Key, count: float) -> None:
        self._failures[key] = (count, self._clock())
        self._failures.move_to_end(key)
        if len(self._failures) > _KEPT:
            self._failures.popitem(last=False)


def _keys(tenant: str, user: str, address: str) -> tuple[tuple[Key, int], ...]:
    return ((tenant, user, address), PER_MINUTE_AND_ADDRESS), ((tenant, user), PER_MINUTE)
