"""A tenant writes so many Events a second, and the others don't notice."""

import orjson
import pytest

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import routing
from hypernetes.apiserver.eventrates import EventRates
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Item

KEYS = Keys("c")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def rates(clock, **quota):
    mirror = Mirror(KEYS)
    key = KEYS.of(scheme.by_name("hypernetes.io/v1", "tenants"), "system", "", "acme")
    mirror.load([Item(key, orjson.dumps({"metadata": {"name": "acme"}, "spec": {"quota": quota}}), 1)], 1)
    return EventRates(Lookups(mirror), clock)


def write(rates, tenant="acme", path="/api/v1/namespaces/default/events", method="POST"):
    rates.check(routing.parse(method, path, {}), tenant)


def written(rates, most=1000, **how):
    """How many are taken in a row."""
    for count in range(most):
        try:
            write(rates, **how)
        except StatusError:
            return count
    return most


def test_two_seconds_worth_may_come_at_once_and_then_so_many_a_second():
    clock = Clock()
    limited = rates(clock, eventsPerSecond="5")
    assert written(limited) == 10
    clock.now += 1
    assert written(limited, path="/apis/events.k8s.io/v1/namespaces/default/events") == 5
    clock.now += 3600
    assert written(limited, method="PATCH", path="/api/v1/namespaces/default/events/e") == 10


def test_each_tenant_counts_for_itself_and_has_50_unless_it_says_so():
    limited = rates(Clock())
    assert written(limited) == 100
    assert written(limited, tenant="globex") == 100
    assert written(limited, tenant="system") == 1000
    with pytest.raises(StatusError) as caught:
        write(limited)
    assert (caught.value.code, caught.value.details) == (429, {"retryAfterSeconds": 1})


def test_reading_events_and_writing_other_things_is_no_event():
    limited = rates(Clock(), eventsPerSecond="0")
    write(limited, method="GET")
    write(limited, path="/api/v1/namespaces/default/pods")
    with pytest.raises(StatusError):
        write(limited)
