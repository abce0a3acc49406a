"""How many Events a second are written in a tenant, by whomever: upstream's EventRateLimit, but for each tenant.

A loop that goes wrong tells of itself again and again, and everything is mirrored in memory. Each server counts for
itself.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from hypernetes.api import quantity
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.registry import tenants
from hypernetes.apiserver.routing import Route

_BURST = 2  # seconds' worth
_MOST_TENANTS = 4_096  # whose events are remembered
_VERBS = frozenset({"create", "update", "patch"})
_GROUPS = frozenset({"", "events.k8s.io"})


@dataclass(slots=True)
class Bucket:
    """Fills at some rate (tokens/s), up to what may come at once."""

    tokens: float
    since: float  # seconds, of the same clock as `now`

    def take(self, rate: float, now: float) -> bool:
        self.tokens = min(self.tokens + rate * (now - self.since), rate * _BURST)
        self.since = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class EventRates:
    def __init__(self, lookups: Lookups, clock: Callable[[], float]) -> None:
        self._lookups, self._clock = lookups, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def check(self, route: Route, tenant: str | None) -> None:
        """Counts a request that writes an Event. Raises StatusError 429."""
        resource = route.resource
        if resource is None or resource.name != "events" or route.verb not in _VERBS or resource.group not in _GROUPS:
            return
        if tenant is None or tenant == SYSTEM_TENANT:
            return
        rate, now = self._rate(tenant), self._clock()
        bucket = self._buckets.get(tenant)
        if bucket is None:
            bucket = self._buckets[tenant] = Bucket(rate * _BURST, now)
        self._buckets.move_to_end(tenant)
        if len(self._buckets) > _MOST_TENANTS:
            self._buckets.popitem(last=False)
        if not bucket.take(rate, now):
            raise StatusError(
                "TooManyRequests", "the tenant writes too many events, please try again later",
                details={"retryAfterSeconds": 1},
            )  # fmt: skip

    def _rate(self, tenant: str) -> float:
        entry = self._lookups.tenant(tenant)
        if entry is None or b'"eventsPerSecond"' not in entry.data:
            return tenants.EVENTS_PER_SECOND
        quota = orjson.loads(entry.data)["spec"].get("quota") or {}
        return float(quantity.parse(quota.get(tenants.EVENTS, str(tenants.EVENTS_PER_SECOND))))
