"""How fast the number of replicas may follow what the metrics ask for: stabilisation windows and policies.

Times are monotonic seconds: a clock that jumps neither opens nor closes a window.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from hypernetes.api.models.autoscaling_v2 import HorizontalPodAutoscaler, HPAScalingPolicy, HPAScalingRules

DOWN_WINDOW_SECONDS = 300  # where the HPA says nothing
UP_WINDOW_SECONDS = 0
# Without a behavior, a target may double at a time, and have at least this many.
_FREE_FACTOR, _FREE_REPLICAS = 2, 4
_NO_LIMIT = 2**31 - 1


class Change(NamedTuple):
    at: float
    replicas: int  # by how many, never negative


class Recommendation(NamedTuple):
    at: float
    replicas: int


@dataclass(slots=True)
class History:
    """What is remembered of one HPA; bounded by the longest window, in steps of the reconcile period."""

    recommendations: list[Recommendation] = field(default_factory=list)
    ups: list[Change] = field(default_factory=list)
    downs: list[Change] = field(default_factory=list)

    def recommended(self, now: float, replicas: int, longest: float) -> None:
        self.recommendations = [one for one in self.recommendations if one.at > now - longest]
        self.recommendations.append(Recommendation(now, replicas))

    def scaled(self, now: float, before: int, after: int, hpa: HorizontalPodAutoscaler) -> None:
        up, down = rules(hpa)
        self.ups = [each for each in self.ups if each.at > now - _longest_period(up)]
        self.downs = [each for each in self.downs if each.at > now - _longest_period(down)]
        (self.ups if after > before else self.downs).append(Change(now, abs(after - before)))


class Told(NamedTuple):
    """Why a number is what it is: reason and message of a condition."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Normalized:
    replicas: int
    able: Told
    limit: Told
    limited: bool


_READY = Told("ReadyForNewScale", "recommended size matches current size")
_HELD_DOWN = Told(
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_HELD_UP = Told(
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_WITHIN = Told("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY = Told("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = Told("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_UP_LIMIT = Told("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT = Told("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


def rules(hpa: HorizontalPodAutoscaler) -> tuple[HPAScalingRules, HPAScalingRules]:
    """For up and down."""
    behavior = hpa.spec.behavior
    up = behavior.scale_up if behavior is not None else None
    down = behavior.scale_down if behavior is not None else None
    return up or HPAScalingRules(), down or HPAScalingRules()


def normalize(
    hpa: HorizontalPodAutoscaler, history: History, current: int, desired: int, minimum: int, now: float
) -> Normalized:
    """What may be made of `desired` now; the history remembers that it was asked for."""
    up, down = rules(hpa)
    up_window = _window(up, UP_WINDOW_SECONDS)
    down_window = _window(down, DOWN_WINDOW_SECONDS)
    stable = _stabilized(history, current, desired, now - up_window, now - down_window)
    history.recommended(now, desired, max(up_window, down_window))
    able = _READY if stable == desired else _HELD_DOWN if stable >= desired else _HELD_UP
    replicas, limit = stable, _WITHIN
    if stable > current:
        limits = [(hpa.spec.max_replicas, _TOO_MANY), (max(current, _up_limit(hpa, history, current, now)), _UP_LIMIT)]
        most, why = min(limits, key=lambda each: each[0])
        if stable > most:
            replicas, limit = most, why
    elif stable < current:
        limits = [(minimum, _TOO_FEW), (min(current, _down_limit(down, history, current, now)), _DOWN_LIMIT)]
        least, why = max(limits, key=lambda each: each[0])
        if stable < least:
            replicas, limit = least, why
    return Normalized(replicas, able, limit, limited=replicas != stable)


def _stabilized(history: History, current: int, desired: int, up_since: float, down_since: float) -> int:
    """As low as the lowest of the window for up, as high as the highest of the window for down."""
    lowest = min([desired, *(one.replicas for one in history.recommendations if one.at > up_since)])
    highest = max([desired, *(one.replicas for one in history.recommendations if one.at > down_since)])
    return min(max(current, lowest), highest)


def _up_limit(hpa: HorizontalPodAutoscaler, history: History, current: int, now: float) -> int:
    if hpa.spec.behavior is None:
        return max(_FREE_FACTOR * current, _FREE_REPLICAS)
    up, _ = rules(hpa)
    if up.select_policy == "Disabled":
        return current
    choose: Callable[[Iterable[int]], int] = min if up.select_policy == "Min" else max
    if not up.policies:
        return _NO_LIMIT
    return choose(_raised(policy, _at_period_start(policy, history, current, now)) for policy in up.policies)


def _down_limit(down: HPAScalingRules, history: History, current: int, now: float) -> int:
    if down.select_policy == "Disabled":
        return current
    choose: Callable[[Iterable[int]], int] = max if down.select_policy == "Min" else min
    if not down.policies:
        return 0
    return choose(_lowered(policy, _at_period_start(policy, history, current, now)) for policy in down.policies)


def _at_period_start(policy: HPAScalingPolicy, history: History, current: int, now: float) -> int:
    since = now - policy.period_seconds
    added = sum(each.replicas for each in history.ups if each.at > since)
    removed = sum(each.replicas for each in history.downs if each.at > since)
    return current - added + removed


def _raised(policy: HPAScalingPolicy, before: int) -> int:
    if policy.type == "Pods":
        return before + policy.value
    return -(-before * (100 + policy.value) // 100)  # whole numbers: 1.1 isn't quite 110 %


def _lowered(policy: HPAScalingPolicy, before: int) -> int:
    if policy.type == "Pods":
        return before - policy.value
    return math.trunc(before * (100 - policy.value) / 100)


def _window(given: HPAScalingRules, otherwise: int) -> int:
    return otherwise if given.stabilization_window_seconds is None else given.stabilization_window_seconds


def _longest_period(given: HPAScalingRules) -> int:
    return max((policy.period_seconds for policy in given.policies), default=0)
