"""Which paths metrics are asked for at, and what is made of the answers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hypernetes.api.models.autoscaling_v2 import CrossVersionObjectReference, MetricIdentifier
from hypernetes.api.status import not_found
from hypernetes.controllers.autoscaling.metricssource import ApiMetrics, MetricsUnavailable, Scope
from hypernetes.controllers.autoscaling.replicacounts import Sample

SCOPE = Scope("acme", "prod", "app=web")
AT = "2030-01-01T00:00:00Z"
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
METRIC = MetricIdentifier.from_dict({"name": "hits", "selector": {"matchLabels": {"verb": "GET"}}})


class Answering:
    """Has a Client's `request`; answers these items, or that nothing is there."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items, self.asked = items, ("", "")

    async def request(
        self, method: str, path: str, *, params: dict[str, str], timeout: float, limit: int | None = None
    ) -> dict[str, Any]:
        self.asked = (path, "&".join(f"{name}={value}" for name, value in params.items()))
        if self.items is None:
            raise not_found("pods.metrics.k8s.io", "")
        return {"items": self.items}


def source(items: list[dict[str, Any]] | None) -> tuple[ApiMetrics, Answering]:
    answering: Any = Answering(items)
    return ApiMetrics(answering), answering


def measured(name: str, **containers: dict[str, str]) -> dict[str, Any]:
    parts = [{"name": each, "usage": usage} for each, usage in containers.items()]
    return {"metadata": {"name": name}, "timestamp": AT, "window": "15s", "containers": parts}


async def test_a_pods_usage_is_that_of_its_containers() -> None:
    items = [
        measured("a", web={"cpu": "100m"}, side={"cpu": "2500u"}),
        measured("b", web={"cpu": "1"}, side={}),
        measured("c", web={"cpu": "1"}),
    ]
    metrics, asked = source(items)
    assert await metrics.resource(SCOPE, "cpu", None) == {"a": Sample(103, MOMENT, 15), "c": Sample(1000, MOMENT, 15)}
    assert asked.asked == ("/tenants/acme/apis/metrics.k8s.io/v1beta1/namespaces/prod/pods", "labelSelector=app=web")
    assert await metrics.resource(SCOPE, "cpu", "side") == {"a": Sample(3, MOMENT, 15)}


async def test_custom_metrics_of_pods() -> None:
    metrics, asked = source([{"describedObject": {"name": "a"}, "timestamp": AT, "value": "1500m"}])
    assert await metrics.pods(SCOPE, METRIC) == {"a": Sample(1500, MOMENT, 60)}
    assert asked.asked == (
        "/tenants/acme/apis/custom.metrics.k8s.io/v1beta2/namespaces/prod/pods/*/hits",
        "labelSelector=app=web&metricLabelSelector=verb=GET",
    )


@pytest.mark.parametrize(
    ("described", "place"),
    [
        ({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "i"}, "ingresses.networking.k8s.io/i"),
        ({"apiVersion": "v1", "kind": "Namespace", "name": "prod"}, "metrics"),
    ],
)
async def test_custom_metrics_of_an_object(described: dict[str, str], place: str) -> None:
    metrics, asked = source([{"timestamp": AT, "value": "2k"}])
    assert await metrics.object(SCOPE, CrossVersionObjectReference.from_dict(described), METRIC) == 2_000_000
    assert asked.asked[0] == f"/tenants/acme/apis/custom.metrics.k8s.io/v1beta2/namespaces/prod/{place}/hits"


async def test_external_series_are_summed_up() -> None:
    metrics, asked = source([{"value": "1"}, {"value": "500m"}])
    assert await metrics.external(SCOPE, METRIC) == 1500
    assert asked.asked == (
        "/tenants/acme/apis/external.metrics.k8s.io/v1beta1/namespaces/prod/hits", "labelSelector=verb=GET"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("items", "message"), [(None, "unable to fetch metrics from custom metrics API"), ([], "no metrics returned")]
)
async def test_what_is_not_there_is_unavailable(items: list[dict[str, Any]] | None, message: str) -> None:
    metrics, _ = source(items)
    with pytest.raises(MetricsUnavailable, match=message):
        await metrics.pods(SCOPE, METRIC)
