"""For one metric of an HPA's spec: reading it, and how many replicas it asks for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hypernetes.api import quantity
from hypernetes.api.models.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricStatus,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricStatus,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from hypernetes.controllers.autoscaling import replicacounts
from hypernetes.controllers.autoscaling.metricssource import MetricsSource, MetricsUnavailable, Scope
from hypernetes.controllers.autoscaling.replicacounts import Count, NotCountable, Sample, Situation

# What the condition ScalingActive and an Event give as the reason where a metric can't be had, by the metric's type.
FAILURE_REASONS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}
UNKNOWN_TYPE = "InvalidMetricSourceType"

Reading = Mapping[str, Sample] | int | MetricsUnavailable


@dataclass(frozen=True, slots=True)
class Proposal:
    replicas: int
    metric: str  # its name in messages
    status: MetricStatus


async def read(source: MetricsSource, scope: Scope, spec: MetricSpec) -> Reading:
    """The values, or why there are none."""
    try:
        if spec.resource is not None:
            return await source.resource(scope, spec.resource.name, None)
        if spec.container_resource is not None:
            return await source.resource(scope, spec.container_resource.name, spec.container_resource.container)
        if spec.pods is not None:
            return await source.pods(scope, spec.pods.metric)
        if spec.object is not None:
            return await source.object(scope, spec.object.described_object, spec.object.metric)
        if spec.external is not None:
            return await source.external(scope, spec.external.metric)
    except MetricsUnavailable as error:
        return error
    return MetricsUnavailable(f"unknown metric source type {spec.type!r}")


def propose(spec: MetricSpec, reading: Reading, situation: Situation, observed: int) -> Proposal:
    """`observed` replicas the target's status tells. Raises NotCountable."""
    if isinstance(reading, MetricsUnavailable):
        raise NotCountable(str(reading))
    if isinstance(reading, int):
        return _of_value(spec, reading, situation, observed)
    return _of_pods(spec, reading, situation)


def _of_pods(spec: MetricSpec, samples: Mapping[str, Sample], situation: Situation) -> Proposal:
    if spec.pods is not None:
        count = replicacounts.by_average(samples, _milli(spec.pods.target.average_value), "", situation)
        status = PodsMetricStatus(metric=spec.pods.metric, current=_current(count))
        return Proposal(
            count.replicas, f"pods metric {spec.pods.metric.name}", MetricStatus(type=spec.type, pods=status)
        )
    if spec.container_resource is not None:
        source, container = spec.container_resource, spec.container_resource.container
        count, unit = _of_resource(source.name, source.target, samples, situation, container)
        of_container = ContainerResourceMetricStatus(name=source.name, container=container, current=_current(count))
        name = f"{source.name} container resource{unit}"
        return Proposal(count.replicas, name, MetricStatus(type=spec.type, container_resource=of_container))
    assert spec.resource is not None
    count, unit = _of_resource(spec.resource.name, spec.resource.target, samples, situation, None)
    of_resource = ResourceMetricStatus(name=spec.resource.name, current=_current(count))
    name = f"{spec.resource.name} resource{unit}"
    return Proposal(count.replicas, name, MetricStatus(type=spec.type, resource=of_resource))


def _of_resource(
    name: str, target: MetricTarget, samples: Mapping[str, Sample], situation: Situation, container: str | None
) -> tuple[Count, str]:
    if target.average_value is not None:
        return replicacounts.by_average(samples, _milli(target.average_value), name, situation), ""
    if target.average_utilization is None:
        raise NotCountable(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) "
            "target was set"
        )
    count = replicacounts.by_utilization(samples, target.average_utilization, name, situation, container)
    return count, " utilization (percentage of request)"


def _of_value(spec: MetricSpec, value: int, situation: Situation, observed: int) -> Proposal:
    """Of an object or external metric: one value, compared as a whole or per replica."""
    source = spec.object or spec.external
    assert source is not None
    if source.target.value is not None:
        replicas = replicacounts.by_value(value, _milli(source.target.value), situation)
        current = MetricValueStatus(value=quantity.of_milli(value))
    else:
        count = replicacounts.by_share(value, _milli(source.target.average_value), observed, situation)
        replicas, current = count.replicas, MetricValueStatus(average_value=quantity.of_milli(count.average))
    if spec.object is not None:
        described = spec.object.described_object
        of_object = ObjectMetricStatus(metric=source.metric, described_object=described, current=current)
        name = f"{described.kind_} metric {source.metric.name}"
        return Proposal(replicas, name, MetricStatus(type=spec.type, object=of_object))
    of_external = ExternalMetricStatus(metric=source.metric, current=current)
    return Proposal(
        replicas, f"external metric {source.metric.name}", MetricStatus(type=spec.type, external=of_external)
    )


def _milli(text: str | None) -> int:
    if text is None:
        raise NotCountable("invalid metric source: neither a value target nor an average value target was set")
    return math.ceil(quantity.parse(text) * 1000)


def _current(count: Count) -> MetricValueStatus:
    return MetricValueStatus(average_value=quantity.of_milli(count.average), average_utilization=count.utilization)
