"""Where metrics come from: metrics.k8s.io for resources, custom and external ones from whoever serves their APIs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from hypernetes.api import quantity, scheme, selectors, times
from hypernetes.api.durations import parse_duration
from hypernetes.api.models.autoscaling_v2 import CrossVersionObjectReference, MetricIdentifier
from hypernetes.client import REQUEST_ERRORS, Client, Interrupted, is_reason
from hypernetes.controllers.autoscaling.guarding import Guard, Paused
from hypernetes.controllers.autoscaling.replicacounts import Sample

_RESOURCES, _EXTERNAL = ("metrics.k8s.io/v1beta1",), ("external.metrics.k8s.io/v1beta1",)
_CUSTOM = ("custom.metrics.k8s.io/v1beta2", "custom.metrics.k8s.io/v1beta1")  # the first that is served
_SECONDS = 20.0  # for one answer: agents are asked for it
_FOREIGN_SECONDS = 10.0  # for that of a server of the tenant's
_FOREIGN_BYTES = 8 << 20


class MetricsUnavailable(Exception):
    """Why there is no value, in words for the HPA's author."""


class _NotThere(MetricsUnavailable):
    """The API server knows no such version, or its server no such metric."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The pods in question: `selector` in the form of a query."""

    tenant: str
    namespace: str
    selector: str


class MetricsSource(Protocol):
    """Values are in thousandths. All raise MetricsUnavailable; what has no value is left out."""

    async def resource(self, scope: Scope, name: str, container: str | None) -> Mapping[str, Sample]:
        """By pod: what its containers use together, or one of them."""
        ...

    async def pods(self, scope: Scope, metric: MetricIdentifier) -> Mapping[str, Sample]:
        """By pod."""
        ...

    async def object(self, scope: Scope, described: CrossVersionObjectReference, metric: MetricIdentifier) -> int: ...

    async def external(self, scope: Scope, metric: MetricIdentifier) -> int:
        """The sum of all series that the metric's selector matches."""
        ...


class ApiMetrics:
    """A MetricsSource that asks the API server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._guard = Guard()

    async def resource(self, scope: Scope, name: str, container: str | None) -> Mapping[str, Sample]:
        items = await self._items("resource", scope, _RESOURCES, "pods", {"labelSelector": scope.selector})
        found = {item["metadata"]["name"]: _usage(item, name, container) for item in items}
        samples = {pod: sample for pod, sample in found.items() if sample is not None}
        if not samples:
            raise MetricsUnavailable("no metrics returned from resource metrics API")
        return samples

    async def pods(self, scope: Scope, metric: MetricIdentifier) -> Mapping[str, Sample]:
        params = {"labelSelector": scope.selector, "metricLabelSelector": _series(metric)}
        items = await self._items("custom", scope, _CUSTOM, f"pods/*/{quote(metric.name, safe='')}", params)
        if not items:
            raise MetricsUnavailable("no metrics returned from custom metrics API")
        with _reading():
            return {
                item["describedObject"]["name"]: Sample(
                    quantity.milli(item["value"]),
                    times.parse_time(item["timestamp"]),
                    float(item.get("windowSeconds") or 60),
                )
                for item in items
            }

    async def object(self, scope: Scope, described: CrossVersionObjectReference, metric: MetricIdentifier) -> int:
        place = f"{_group_resource(described)}/{quote(described.name, safe='')}"
        if described.kind_ == "Namespace":
            place = "metrics"
        params = {"metricLabelSelector": _series(metric)}
        items = await self._items("custom", scope, _CUSTOM, f"{place}/{quote(metric.name, safe='')}", params)
        if not items:
            raise MetricsUnavailable("no metrics returned from custom metrics API")
        with _reading():
            return quantity.milli(items[0]["value"])

    async def external(self, scope: Scope, metric: MetricIdentifier) -> int:
        params = {"labelSelector": _series(metric)}
        items = await self._items("external", scope, _EXTERNAL, quote(metric.name, safe=""), params)
        if not items:
            raise MetricsUnavailable("no metrics returned from external metrics API")
        with _reading():
            return sum(quantity.milli(item["value"]) for item in items)

    async def _items(
        self, kind: str, scope: Scope, versions: tuple[str, ...], what: str, params: dict[str, str]
    ) -> list[dict[str, Any]]:
        """Of the first of these versions that is there. What a tenant's own server says is bounded."""
        given = {name: value for name, value in params.items() if value}
        *earlier, last = versions
        for version in earlier:
            try:
                return await self._asked(kind, scope, version, what, given)
            except _NotThere:
                continue
        return await self._asked(kind, scope, last, what, given)

    async def _asked(
        self, kind: str, scope: Scope, version: str, what: str, given: dict[str, str]
    ) -> list[dict[str, Any]]:
        path = f"/tenants/{scope.tenant}/apis/{version}/namespaces/{scope.namespace}/{what}"
        try:
            if (version,) == _RESOURCES:
                answer = await self._client.request("GET", path, params=given, timeout=_SECONDS)
            else:
                answer = await self._foreign(scope.tenant, version, path, given)
        except REQUEST_ERRORS as error:
            failure = _NotThere if is_reason(error, "NotFound") else MetricsUnavailable
            raise failure(f"unable to fetch metrics from {kind} metrics API: {error}") from error
        except Paused as paused:
            why = "its server didn't answer lately, and is asked again in a minute"
            raise MetricsUnavailable(f"unable to fetch metrics from {kind} metrics API: {why}") from paused
        items = answer.get("items") if isinstance(answer, dict) else None
        return items if isinstance(items, list) else []

    async def _foreign(self, tenant: str, version: str, path: str, given: dict[str, str]) -> dict[str, Any]:
        """Raises what the client raises, and Paused."""
        silence: Interrupted | None = None
        try:
            async with self._guard.turn((tenant, version)):
                try:
                    return await self._client.request(
                        "GET", path, params=given, timeout=_FOREIGN_SECONDS, limit=_FOREIGN_BYTES
                    )
                except Interrupted as error:
                    silence = error
                    raise TimeoutError from error
        except TimeoutError:
            assert silence is not None
            raise silence from None


@contextmanager
def _reading() -> Iterator[None]:
    """Of what a tenant's own server says, in whatever form. Raises MetricsUnavailable."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MetricsUnavailable("the metrics API gave what isn't a list of values") from error


def _usage(item: dict[str, Any], resource: str, container: str | None) -> Sample | None:
    """None where one of the containers has no value yet."""
    containers = [each for each in item.get("containers") or () if container in (None, each["name"])]
    values = [each["usage"].get(resource) for each in containers]
    if not values or None in values:
        return None
    total = sum(quantity.milli(value) for value in values)
    return Sample(total, times.parse_time(item["timestamp"]), parse_duration(item["window"]))


def _series(metric: MetricIdentifier) -> str:
    if metric.selector is None:
        return ""
    return selectors.format_labels(selectors.requirements_of(metric.selector.to_dict()))


def _group_resource(described: CrossVersionObjectReference) -> str:
    """`deployments.apps`. A kind that isn't served has no metrics either."""
    try:
        return scheme.by_kind(described.api_version_ or "v1", described.kind_).group_resource
    except KeyError as error:
        raise MetricsUnavailable(f"no resource serves the kind {described.kind_}") from error
