"""What an HPA comes to: how many replicas, why, and what its status says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hypernetes.api import quantity, times
from hypernetes.api.models.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
    HPAScalingRules,
    MetricSpec,
    MetricStatus,
)
from hypernetes.controllers.autoscaling import behavior, proposals
from hypernetes.controllers.autoscaling.behavior import History, Told
from hypernetes.controllers.autoscaling.proposals import Proposal, Reading
from hypernetes.controllers.autoscaling.replicacounts import DEFAULT_TOLERANCE, NotCountable, Situation, Tolerance

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition: `told` tells reason and message."""

    type: str
    holds: bool
    told: Told


@dataclass(frozen=True, slots=True)
class Decision:
    """`replicas` None: nothing can be said, and the target stays as it is."""

    replicas: int | None
    reason: str = ""  # why it changes, for its Event
    verdicts: list[Verdict] = field(default_factory=list)
    metrics: list[MetricStatus] = field(default_factory=list)
    warnings: list[Told] = field(default_factory=list)  # for Events


def minimum(hpa: HorizontalPodAutoscaler) -> int:
    return 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas


def tolerance(hpa: HorizontalPodAutoscaler) -> Tolerance:
    up, down = behavior.rules(hpa)
    return Tolerance(down=_tolerance(down), up=_tolerance(up))


def _tolerance(rules: HPAScalingRules) -> float:
    return DEFAULT_TOLERANCE if rules.tolerance is None else float(quantity.parse(rules.tolerance))


def without_metrics(hpa: HorizontalPodAutoscaler, current: int) -> Decision | None:
    """Where it can be said without a look at them."""
    if current == 0 and minimum(hpa) != 0:
        told = Told("ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
        return Decision(current, verdicts=[Verdict(ACTIVE, False, told)])
    if current > hpa.spec.max_replicas:
        return Decision(hpa.spec.max_replicas, "Current number of replicas above Spec.MaxReplicas")
    if current < minimum(hpa):
        return Decision(minimum(hpa), "Current number of replicas below Spec.MinReplicas")
    return None


def refused(told: Told) -> Decision:
    """Where the metrics can't even be asked for."""
    return Decision(None, verdicts=[Verdict(ACTIVE, False, told)], warnings=[told])


def decide(
    hpa: HorizontalPodAutoscaler,
    readings: Sequence[Reading],
    situation: Situation,
    observed: int,
    history: History,
    moment: float,
) -> Decision:
    """`readings` are of the spec's metrics, in order; `moment` is in monotonic seconds."""
    found: list[Proposal] = []
    failures: list[tuple[MetricSpec, NotCountable]] = []
    for spec, reading in zip(hpa.spec.metrics, readings, strict=True):
        try:
            found.append(proposals.propose(spec, reading, situation, observed))
        except NotCountable as error:
            failures.append((spec, error))
    warnings = [_failure(spec, error) for spec, error in failures]
    # Of equals the first.
    highest = max(found, key=lambda each: each.replicas, default=None)
    statuses = [each.status for each in found]
    if highest is None or (failures and highest.replicas < situation.replicas):
        return _held(failures, len(readings), statuses, warnings)
    told = Told(
        "ValidMetricFound",
        f"the HPA was able to successfully calculate a replica count from {highest.metric}",
    )
    normal = behavior.normalize(hpa, history, situation.replicas, highest.replicas, minimum(hpa), moment)
    verdicts = [
        Verdict(ACTIVE, True, told),
        Verdict(ABLE, True, normal.able),
        Verdict(LIMITED, normal.limited, normal.limit),
    ]
    # Said of what was asked for, before it was held back.
    reason = f"{highest.metric} above target" if highest.replicas > situation.replicas else "All metrics below target"
    return Decision(normal.replicas, reason, verdicts, statuses, warnings)


def _held(
    failures: Sequence[tuple[MetricSpec, NotCountable]],
    asked: int,
    statuses: list[MetricStatus],
    warnings: list[Told],
) -> Decision:
    """What isn't known might want more: nothing is taken away."""
    first_spec, first = failures[0]
    failure = _failure(first_spec, first)
    active = Told(failure.reason, f"the HPA was unable to compute the replica count: {failure.message}")
    summary = Told(
        "FailedComputeMetricsReplicas",
        f"invalid metrics ({len(failures)} invalid out of {asked}), first error is: {failure.message}",
    )
    return Decision(None, "", [Verdict(ACTIVE, False, active)], statuses, [*warnings, summary])


def _failure(spec: MetricSpec, error: NotCountable) -> Told:
    target = spec.resource or spec.container_resource
    what = f"{target.name} resource" if target is not None else f"{spec.type.lower()}"
    reason = proposals.FAILURE_REASONS.get(spec.type, proposals.UNKNOWN_TYPE)
    return Told(reason, f"failed to get {what} metric value: {error}")


def status(
    hpa: HorizontalPodAutoscaler,
    verdicts: Sequence[Verdict],
    current: int | None,
    desired: int | None,
    metrics: list[MetricStatus] | None,
    now: datetime,
    *,
    rescaled: bool,
) -> HorizontalPodAutoscalerStatus:
    """What it should say now. Of several verdicts of one type the last counts; None leaves what it said."""
    conditions = {each.type: each for each in hpa.status.conditions}
    for verdict in {each.type: each for each in verdicts}.values():
        said, before = "True" if verdict.holds else "False", conditions.get(verdict.type)
        since = before.last_transition_time if before is not None and before.status == said else times.format_time(now)
        conditions[verdict.type] = HorizontalPodAutoscalerCondition(
            type=verdict.type, status=said, reason=verdict.told.reason, message=verdict.told.message,
            last_transition_time=since,
        )  # fmt: skip
    former = hpa.status
    return HorizontalPodAutoscalerStatus(
        conditions=list(conditions.values()),
        current_metrics=former.current_metrics if metrics is None else metrics,
        current_replicas=former.current_replicas if current is None else current,
        desired_replicas=former.desired_replicas if desired is None else desired,
        last_scale_time=times.format_time(now) if rescaled else former.last_scale_time,
        observed_generation=hpa.metadata.generation,
    )
