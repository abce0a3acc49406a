"""What metrics tell of the audit, under upstream's names."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from hypernetes.apiserver.audit.policy import LEVELS


class Counts:
    __slots__ = ("errors", "events", "levels", "rejected")

    def __init__(self) -> None:
        self.events = 0  # made
        self.rejected = 0  # requests that weren't carried out since they couldn't be recorded
        self.levels = [0] * len(LEVELS)  # requests, by the policy's level
        self.errors: Counter[str] = Counter(log=0, webhook=0)  # events that were lost, by where

    def families(self) -> Iterator[Metric]:
        yield CounterMetricFamily("apiserver_audit_event", "Events made.", value=self.events)
        yield CounterMetricFamily(
            "apiserver_audit_requests_rejected", "Requests that could not be recorded.", value=self.rejected
        )
        levels = CounterMetricFamily("apiserver_audit_level", "Requests by the level of the policy.", labels=["level"])
        for level, number in zip(LEVELS, self.levels, strict=True):
            levels.add_metric([level], number)
        yield levels
        errors = CounterMetricFamily("apiserver_audit_error", "Events that were lost.", labels=["plugin"])
        for plugin, number in self.errors.items():
            errors.add_metric([plugin], number)
        yield errors
