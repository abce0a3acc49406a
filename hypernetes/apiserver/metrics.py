"""What Prometheus is told, under upstream's names.

A request costs two look-ups and a few additions; everything else is computed when somebody asks. No label tells tenants
apart: the provider reads all of it, and a tenant nothing.
"""

import functools
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hypernetes.api.scheme import Resource
from hypernetes.apiserver import discovery
from hypernetes.apiserver.routing import Route

# Upper bounds of buckets, as upstream's.
_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
)  # fmt: skip
_BYTES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)

_VERBS = {
    "get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT", "patch": "PATCH",
    "delete": "DELETE", "deletecollection": "DELETECOLLECTION",
}  # fmt: skip
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATHS = frozenset(
    {"/", "/api", "/apis", "/healthz", "/livez", "/readyz", "/metrics", "/openapi/v2", "/openapi/v3", "/version"}
)
_CONNECTING = frozenset({"exec", "attach", "portforward", "proxy"})
_READING = frozenset({"GET", "LIST", "WATCH", "HEAD", "OPTIONS"})
_TARGET = ("verb", "group", "version", "resource", "subresource", "scope", "component")


class _Series:
    """The requests of one target that ended with one code."""

    __slots__ = ("bytes", "durations", "seconds", "sizes")

    def __init__(self) -> None:
        self.seconds, self.durations = 0.0, [0] * (len(_SECONDS) + 1)
        self.bytes, self.sizes = 0, [0] * (len(_BYTES) + 1)


class Target:
    """What requests are about, as far as metrics tell them apart. `labels` are the values of _TARGET."""

    __slots__ = ("labels", "long_running", "reading", "resource", "series")

    def __init__(self, verb: str, resource: Resource | None, subresource: str, scope: str) -> None:
        self.resource = resource  # holds it, so that no other gets its id
        names = ("", "", "") if resource is None else (resource.group, resource.version, resource.name)
        self.labels = (verb, *names, subresource, scope, "apiserver")
        self.long_running = verb in ("WATCH", "CONNECT") or subresource == "log"
        self.reading = verb in _READING
        self.series: dict[tuple[int, str], _Series] = {}  # (code, dry run) -> its requests

    def finished(self, code: int, seconds: float, size: int, dry_run: str = "") -> None:
        """A request was answered; `size` is that of the answer's body in bytes."""
        series = self.series.get((code, dry_run))
        if series is None:
            series = self.series[code, dry_run] = _Series()
        series.seconds += seconds
        series.durations[bisect_left(_SECONDS, seconds)] += 1
        series.bytes += size
        series.sizes[bisect_left(_BYTES, size)] += 1


class Metrics:
    """The counts of one server process."""

    def __init__(self) -> None:
        self._targets: dict[object, Target] = {}
        self._watch_events: Counter[int] = Counter()  # by the id of a resource, which _watched holds
        self._watched: dict[int, Resource] = {}
        self._counting: dict[int, Callable[[int], None]] = {}
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def target(self, route: Route) -> Target:
        """What a request with this route is about."""
        resource = route.resource
        if resource is None or route.foreign:  # of these, tenants could make any number
            return self.path_target(route.verb.upper(), route.path)
        key = (route.verb, id(resource), route.subresource, not route.name, not route.namespace)
        target = self._targets.get(key)
        if target is None:
            verb = "CONNECT" if route.subresource in _CONNECTING else _VERBS.get(route.verb, "other")
            one = route.name or route.verb == "create"
            scope = "resource" if one else "namespace" if route.namespace else "cluster"
            target = self._targets[key] = Target(verb, resource, route.subresource, scope)
        return target

    def path_target(self, method: str, path: str) -> Target:
        """What a request is about that is about no resource; of paths only the well-known ones are told apart."""
        key = (method if method in _METHODS else "other", path if path in _PATHS else "")
        target = self._targets.get(key)
        if target is None:
            target = self._targets[key] = Target(key[0], None, key[1], "")
        return target

    def watched(self, resource: Resource, events: int) -> None:
        """Events were sent to a watcher."""
        self._watch_events[id(resource)] += events
        self._watched.setdefault(id(resource), resource)

    def counting(self, resource: Resource) -> Callable[[int], None]:
        """`watched` for a resource: one and the same for all of its watchers."""
        found = self._counting.get(id(resource))
        if found is None:
            found = self._counting[id(resource)] = functools.partial(self.watched, resource)
        return found

    def render(
        self,
        accept: str,
        under_way: Iterable[Target],
        stored: Iterable[tuple[Resource, int]],
        more: Iterable[Metric] = (),
    ) -> Callable[[], tuple[bytes, str]]:
        """Takes the counts, and gives what makes the text and its content type of them, for a thread to do.

        `under_way` are the requests that aren't answered yet, `stored` the number of objects of each resource.
        """
        families = [
            *self._requests(), *_requests_under_way(under_way), *_objects(stored), self._events_sent(), _build(), *more,
        ]  # fmt: skip

        def text() -> tuple[bytes, str]:
            registry = CollectorRegistry()
            registry.register(_Taken([*families, *self._registry.collect()]))
            encode, content_type = choose_encoder(accept)
            return encode(registry), content_type

        return text

    def _requests(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "apiserver_request", "Requests by what they were about and how they ended.",
            labels=[*_TARGET, "dry_run", "code"],
        )  # fmt: skip
        seconds = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "How long requests took.", labels=[*_TARGET, "dry_run"]
        )
        sizes = HistogramMetricFamily("apiserver_response_sizes", "Sizes of answers in bytes.", labels=_TARGET)
        for target in self._targets.values():
            for (code, dry_run), series in target.series.items():
                total.add_metric([*target.labels, dry_run, str(code)], sum(series.durations))
            for dry_run in {dry_run for _, dry_run in target.series}:
                same = [series for (_, each), series in target.series.items() if each == dry_run]
                counts = [sum(column) for column in zip(*(series.durations for series in same), strict=True)]
                taken = sum(series.seconds for series in same)
                seconds.add_metric([*target.labels, dry_run], _buckets(_SECONDS, counts), taken)
            if target.resource is not None and target.series:
                every = target.series.values()
                counts = [sum(column) for column in zip(*(series.sizes for series in every), strict=True)]
                sizes.add_metric(target.labels, _buckets(_BYTES, counts), sum(series.bytes for series in every))
        return iter((total, seconds, sizes))

    def _events_sent(self) -> Metric:
        sent = CounterMetricFamily(
            "apiserver_watch_events", "Events sent to watchers.", labels=["group", "version", "kind"]
        )
        for identity, number in self._watch_events.items():
            resource = self._watched[identity]
            sent.add_metric([resource.group, resource.version, resource.kind], number)
        return sent


def _requests_under_way(under_way: Iterable[Target]) -> Iterator[Metric]:
    short = GaugeMetricFamily(
        "apiserver_current_inflight_requests", "Requests under way, but for those that are meant to last.",
        labels=["request_kind"],
    )  # fmt: skip
    long = GaugeMetricFamily(
        "apiserver_longrunning_requests", "Watches, logs and connections to pods under way.", labels=_TARGET
    )
    kinds: Counter[str] = Counter(mutating=0, readOnly=0)
    lasting: Counter[Target] = Counter()
    for target in under_way:
        if target.long_running:
            lasting[target] += 1
        else:
            kinds["readOnly" if target.reading else "mutating"] += 1
    for kind, number in kinds.items():
        short.add_metric([kind], number)
    for target, number in lasting.items():
        long.add_metric(target.labels, number)
    return iter((short, long))


def _objects(stored: Iterable[tuple[Resource, int]]) -> Iterator[Metric]:
    old = GaugeMetricFamily("apiserver_storage_objects", "Stored objects.", labels=["resource"])
    new = GaugeMetricFamily("apiserver_resource_objects", "Stored objects.", labels=["group", "resource"])
    for resource, number in stored:
        old.add_metric([resource.group_resource], number)
        new.add_metric([resource.group, resource.name], number)
    return iter((old, new))


class _Taken(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """(upper bound, how many are no higher) of each bucket, as Prometheus counts them."""
    names = [f"{bound:g}" for bound in bounds]
    return list(zip([*names, "+Inf"], map(float, accumulate(counts)), strict=True))


def _build() -> Metric:
    version = discovery.version()
    labels = ["git_version", "major", "minor", "platform"]
    names = ["gitVersion", "major", "minor", "platform"]
    family = GaugeMetricFamily("kubernetes_build_info", "Which server this is.", labels=labels)
    family.add_metric([version[name] for name in names], 1)
    return family
