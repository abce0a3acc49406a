"""How many replicas a metric asks for: ceil(pods that count * current / target), and what of those that don't count.

A pod that is not ready yet would use nothing of its share when the others are busy, one without metrics is taken to use
all of its share when they are idle: what isn't known never makes the change larger.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypernetes.api import quantity, times
from hypernetes.api.models.core_v1 import Container, Pod, ResourceRequirements
from hypernetes.controllers import pods

CPU_INITIALIZATION = timedelta(minutes=5)  # a pod this young may burn CPU only because it starts
READINESS_DELAY = timedelta(seconds=30)  # a pod that turned unready within this of its start was never ready
DEFAULT_TOLERANCE = 0.1


class NotCountable(Exception):
    """Why a metric says nothing on the number of replicas."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod's value of a metric, in thousandths, averaged over `window` seconds that ended at `at`."""

    value: int
    at: datetime
    window: float = 0.0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from 1 current / target may be without anything being done."""

    down: float = DEFAULT_TOLERANCE
    up: float = DEFAULT_TOLERANCE

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the target: its pods are all that its selector matches."""

    replicas: int  # as its spec wants
    pods: Sequence[Pod]
    now: datetime
    tolerance: Tolerance = Tolerance()


@dataclass(frozen=True, slots=True)
class Count:
    replicas: int
    average: int  # of the pods that were measured, thousandths
    utilization: int | None = None  # percent of the requests


@dataclass(frozen=True, slots=True)
class Groups:
    """Names of pods. Those that ended or are being deleted are in none of them."""

    ready: frozenset[str]
    unready: frozenset[str]
    missing: frozenset[str]


def group(found: Sequence[Pod], samples: Mapping[str, Sample], resource: str, now: datetime) -> Groups:
    ready, unready, missing = set(), set(), set()
    for pod in found:
        name = pod.metadata.name or ""
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            continue
        if pod.status.phase == "Pending":
            unready.add(name)
        elif name not in samples:
            missing.add(name)
        elif resource == "cpu" and _is_starting(pod, samples[name], now):
            unready.add(name)
        else:
            ready.add(name)
    return Groups(frozenset(ready), frozenset(unready), frozenset(missing))


def _is_starting(pod: Pod, sample: Sample, now: datetime) -> bool:
    """Whether its CPU says nothing yet."""
    condition = pods.condition(pod, "Ready")
    if condition is None or pod.status.start_time is None or condition.last_transition_time is None:
        return True
    started, changed = times.parse_time(pod.status.start_time), times.parse_time(condition.last_transition_time)
    is_unready = condition.status == "False"
    if started + CPU_INITIALIZATION > now:
        return is_unready or sample.at < changed + timedelta(seconds=sample.window)
    return is_unready and started + READINESS_DELAY > changed


def by_utilization(
    samples: Mapping[str, Sample], target: int, resource: str, situation: Situation, container: str | None = None
) -> Count:
    """`target` is in percent of what the pods request, of one container or of all."""
    requests = _requests(situation.pods, resource, container)

    def measure(values: Mapping[str, int]) -> tuple[float, Count]:
        known = {name: value for name, value in values.items() if name in requests}
        requested = sum(requests[name] for name in known)
        if not requested:
            raise NotCountable("no metrics returned matched known pods")
        used = sum(known.values())
        utilization = used * 100 // requested
        return utilization / target, Count(0, used // len(known), utilization)

    def full(name: str) -> int:
        return requests[name] * max(100, target) // 100

    return _count(samples, resource, situation, measure, full)


def by_average(samples: Mapping[str, Sample], target: int, resource: str, situation: Situation) -> Count:
    """`target` is a value per pod; `resource` is "" for metrics of other kinds."""

    def measure(values: Mapping[str, int]) -> tuple[float, Count]:
        average = sum(values.values()) // len(values)
        return average / target, Count(0, average)

    return _count(samples, resource, situation, measure, lambda name: target)


def by_value(value: int, target: int, situation: Situation) -> int:
    """For one value that all replicas bring about together."""
    ratio = value / target
    if not situation.replicas:
        return math.ceil(ratio)
    if situation.tolerance.covers(ratio):
        return situation.replicas
    if not situation.pods:
        raise NotCountable("no pods returned by selector while calculating replica count")
    ready = sum(pod.status.phase == "Running" and pods.is_ready(pod) for pod in situation.pods)
    return math.ceil(ratio * ready)


def by_share(value: int, target: int, observed: int, situation: Situation) -> Count:
    """For one value of which each replica is to have `target`; `observed` replicas there are."""
    replicas = observed
    if not observed or not situation.tolerance.covers(value / (target * observed)):
        replicas = math.ceil(value / target)
    return Count(replicas, math.ceil(value / observed) if observed else 0)


def _count(
    samples: Mapping[str, Sample],
    resource: str,
    situation: Situation,
    measure: Callable[[Mapping[str, int]], tuple[float, Count]],
    full: Callable[[str], int],
) -> Count:
    """`measure` gives current / target and what to tell of it; `full` is what a pod uses that uses all of its share."""
    current, tolerance = situation.replicas, situation.tolerance
    if not situation.pods:
        raise NotCountable("no pods returned by selector while calculating replica count")
    groups = group(situation.pods, samples, resource, situation.now)
    values = {name: samples[name].value for name in groups.ready}
    if not values:
        raise NotCountable("did not receive metrics for targeted pods (pods might be unready)")
    ratio, told = measure(values)
    wait_for_unready = bool(groups.unready) and ratio > 1.0

    def counted(replicas: int) -> Count:
        return Count(replicas, told.average, told.utilization)

    if not wait_for_unready and not groups.missing:
        return counted(current if tolerance.covers(ratio) else math.ceil(ratio * len(groups.ready)))
    if ratio < 1.0:
        values |= {name: full(name) for name in groups.missing}
    elif ratio > 1.0:
        values |= dict.fromkeys(groups.missing, 0)
    if wait_for_unready:
        values |= dict.fromkeys(groups.unready, 0)
    assumed, _ = measure(values)
    if tolerance.covers(assumed) or (ratio < 1.0 < assumed) or (assumed < 1.0 < ratio):
        return counted(current)
    replicas = math.ceil(assumed * len(values))
    if (assumed < 1.0 and replicas > current) or (assumed > 1.0 and replicas < current):
        return counted(current)
    return counted(replicas)


def _requests(found: Sequence[Pod], resource: str, container: str | None) -> dict[str, int]:
    """By pod. Raises NotCountable where one says no request: a share of nothing can't be told."""
    requests: dict[str, int] = {}
    for pod in found:
        of_pod = pod.spec.resources.requests.get(resource) if pod.spec.resources is not None else None
        name = pod.metadata.name or ""
        if of_pod is not None and container is None:
            requests[name] = quantity.milli(of_pod)
            continue
        requests[name] = 0
        for each in _counting_containers(pod, container):
            request = (each.resources or ResourceRequirements()).requests.get(resource)
            if request is None:
                raise NotCountable(f"missing request for {resource} in container {each.name} of Pod {name}")
            requests[name] += quantity.milli(request)
    return requests


def _counting_containers(pod: Pod, container: str | None) -> list[Container]:
    """Those that run as long as the pod does: sidecars too, or the one that is asked for."""
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return [each for each in [*pod.spec.containers, *sidecars] if container in (None, each.name)]
