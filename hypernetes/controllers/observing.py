"""How hn-controllers is: health and metrics by HTTP, under upstream's paths and names.

    GET /healthz[?verbose]   one line a controller; 500 where one hangs
    GET /metrics             work queues in Prometheus' text

Health and counts of work only, nothing of what is worked on; and yet it is bound to the loopback unless told otherwise.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hypernetes.client.workqueue import DURATIONS, Durations, WorkQueue
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.membership import Membership

# A reconcile makes some requests, each with a deadline; one that takes this long hangs.
HANGING_SECONDS = 600.0
_LABELS = ["name"]


class Observed:
    """The controllers of this process: none while it stands by."""

    def __init__(self) -> None:
        self.controllers: Sequence[Controller] = ()
        self.membership: Membership | None = None

    def healthy(self) -> dict[str, bool]:
        """Whether each controller gets on with its work."""
        return {
            each.name: max(each.queue.under_way(), default=0.0) < HANGING_SECONDS for each in self.controllers
        }  # fmt: skip


def application(observed: Observed) -> web.Application:
    async def health(request: web.Request) -> web.Response:
        membership = observed.membership
        leads = membership is not None and membership.leads
        role = "standby" if not observed.controllers else "leader" if leads else "member"
        found = {role: True, **observed.healthy()}
        well = all(found.values())
        if well and "verbose" not in request.query:
            return web.Response(text="ok")
        lines = [f"[{'+' if good else '-'}]{name} {'ok' if good else 'failed'}" for name, good in found.items()]
        lines.append(f"healthz check {'passed' if well else 'failed'}")
        return web.Response(status=200 if well else 500, text="\n".join(lines) + "\n")

    async def metrics(request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        if observed.membership is not None:
            registry.register(_Shares(observed.membership))
        registry.register(_Queues([each.queue for each in observed.controllers]))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/healthz", health)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serving(observed: Observed, host: str, port: int) -> AsyncIterator[int]:
    """Gives the port. Raises OSError for one that is taken."""
    runner = web.AppRunner(application(observed), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


class _Shares(Collector):
    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def collect(self) -> Iterator[Metric]:
        membership, assignment = self._membership, self._membership.assignment
        for name, text, value in (
            ("leader", "Whether this process leads.", float(membership.leads)),
            ("members", "Processes that have a Lease.", float(membership.members)),
            ("active_members", "Those that have tenants.", float(len(assignment.members) if assignment else 0)),
            ("assignment_generation", "Of the confirmed one.", float(assignment.generation if assignment else 0)),
        ):
            yield GaugeMetricFamily(f"hypernetes_controllers_{name}", text, value=value)


class _Queues(Collector):
    def __init__(self, queues: Iterable[WorkQueue[Any]]) -> None:
        self._queues = list(queues)

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait for a worker.", labels=_LABELS)
        adds = CounterMetricFamily("workqueue_adds", "Keys that were added.", labels=_LABELS)
        retries = CounterMetricFamily("workqueue_retries", "Keys that came again after a failure.", labels=_LABELS)
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "Time spent on keys that aren't done.", labels=_LABELS
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds", "Time spent on the slowest of them.", labels=_LABELS
        )
        waited = HistogramMetricFamily(
            "workqueue_queue_duration_seconds", "How long keys wait for a worker.", labels=_LABELS
        )
        worked = HistogramMetricFamily("workqueue_work_duration_seconds", "How long their work takes.", labels=_LABELS)
        for queue in self._queues:
            name, under_way = [queue.name], queue.under_way()
            depth.add_metric(name, len(queue))
            adds.add_metric(name, queue.counts.adds)
            retries.add_metric(name, queue.counts.retries)
            unfinished.add_metric(name, sum(under_way))
            longest.add_metric(name, max(under_way, default=0.0))
            _add(waited, name, queue.counts.waited)
            _add(worked, name, queue.counts.worked)
        yield from (depth, adds, retries, unfinished, longest, waited, worked)


def _add(family: HistogramMetricFamily, labels: list[str], durations: Durations) -> None:
    bounds = [*map(str, DURATIONS), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(durations.buckets)), strict=True))
    family.add_metric(labels, buckets=buckets, sum_value=durations.seconds)
