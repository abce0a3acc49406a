"""How fast replicas may change: the cases of the documentation on scaling policies and stabilisation windows."""

from typing import Any

import pytest

from hypernetes.api.models.autoscaling_v2 import HorizontalPodAutoscaler
from hypernetes.controllers.autoscaling import behavior
from hypernetes.controllers.autoscaling.behavior import Change, History, Recommendation

NOW = 10_000.0
Json = dict[str, Any]


def hpa(maximum: int = 1000, **rules: Json) -> HorizontalPodAutoscaler:
    spec: Json = {"maxReplicas": maximum, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}
    if rules:
        spec["behavior"] = rules
    return HorizontalPodAutoscaler.from_dict({"metadata": {"name": "web"}, "spec": spec})


def policy(type: str, value: int, period: int = 60) -> Json:
    return {"type": type, "value": value, "periodSeconds": period}


def rule(*policies: Json, select: str = "Max", window: int = 0) -> Json:
    return {"policies": list(policies), "selectPolicy": select, "stabilizationWindowSeconds": window}


DOWN = rule(policy("Pods", 4), policy("Percent", 10))


def reached(asked: HorizontalPodAutoscaler, current: int, desired: int, history: History | None = None) -> int:
    return behavior.normalize(asked, history or History(), current, desired, 1, NOW).replicas


@pytest.mark.parametrize(("current", "wanted"), [(80, 72), (72, 64), (41, 36), (40, 36), (36, 32), (3, 1)])
def test_the_policy_that_changes_most_counts(current: int, wanted: int) -> None:
    """The documentation's example: 10 % while there are more than 40, then 4 pods; the rest is rounded down."""
    assert reached(hpa(scaleDown=DOWN), current, 1) == wanted


@pytest.mark.parametrize(
    ("rules", "current", "desired", "wanted"),
    [
        ({"scaleDown": rule(policy("Pods", 4), policy("Percent", 10), select="Min")}, 80, 1, 76),
        ({"scaleDown": rule(policy("Pods", 4), select="Disabled")}, 80, 1, 80),
        ({"scaleUp": rule(policy("Pods", 4), policy("Percent", 100))}, 1, 100, 5),
        ({"scaleUp": rule(policy("Pods", 4), policy("Percent", 100))}, 10, 100, 20),
        ({"scaleUp": rule(policy("Pods", 4), policy("Percent", 100), select="Min")}, 10, 100, 14),
        ({"scaleUp": rule(policy("Pods", 4), select="Disabled")}, 10, 100, 10),
        ({"scaleUp": rule(policy("Percent", 10))}, 10, 100, 11),
        ({"scaleUp": rule(policy("Percent", 900, 60))}, 1, 1000, 10),
        ({"scaleUp": rule(policy("Percent", 900, 60))}, 10, 1000, 100),
    ],
)
def test_policies_bound_a_change(rules: Json, current: int, desired: int, wanted: int) -> None:
    assert reached(hpa(**rules), current, desired) == wanted


def test_what_changed_within_a_period_counts_against_its_policy() -> None:
    asked = hpa(scaleUp=rule(policy("Pods", 4)))
    assert reached(asked, 13, 100, History(ups=[Change(NOW - 30, 3)])) == 14
    assert reached(asked, 14, 100, History(ups=[Change(NOW - 30, 4)])) == 14
    assert reached(asked, 14, 100, History(ups=[Change(NOW - 60, 4)])) == 18
    assert reached(asked, 10, 100, History(downs=[Change(NOW - 30, 3)])) == 17
    asked = hpa(scaleDown=rule(policy("Pods", 4)))
    assert reached(asked, 10, 1, History(downs=[Change(NOW - 30, 3)])) == 9


@pytest.mark.parametrize(("current", "wanted"), [(1, 4), (2, 4), (3, 6), (10, 20)])
def test_without_a_behavior_replicas_may_double(current: int, wanted: int) -> None:
    assert reached(hpa(), current, 100) == wanted


def recommended(*pairs: tuple[float, int]) -> History:
    return History([Recommendation(NOW - age, replicas) for age, replicas in pairs])


def test_the_highest_recommendation_of_the_window_holds_back_a_scale_down() -> None:
    told = behavior.normalize(hpa(), recommended((299, 8), (120, 9), (301, 10)), 10, 2, 1, NOW)
    assert (told.replicas, told.able.reason) == (9, "ScaleDownStabilized")
    assert reached(hpa(), 10, 2, recommended((301, 10))) == 2


def test_the_lowest_recommendation_of_the_window_holds_back_a_scale_up() -> None:
    asked = hpa(scaleUp=rule(policy("Pods", 100), window=60))
    told = behavior.normalize(asked, recommended((59, 4), (30, 6), (61, 2)), 3, 9, 1, NOW)
    assert (told.replicas, told.able.reason) == (4, "ScaleUpStabilized")


def test_old_recommendations_and_changes_are_forgotten() -> None:
    asked = hpa(scaleUp=rule(policy("Pods", 4)), scaleDown=rule(policy("Pods", 4, 120), window=30))
    history = recommended((29, 4), (31, 9))
    behavior.normalize(asked, history, 4, 4, 1, NOW)
    assert [one.replicas for one in history.recommendations] == [4, 4]
    history.ups, history.downs = [Change(NOW - 61, 1)], [Change(NOW - 61, 1)]
    history.scaled(NOW, 4, 6, asked)
    assert (history.ups, history.downs) == ([Change(NOW, 2)], [Change(NOW - 61, 1)])


@pytest.mark.parametrize(
    ("current", "desired", "minimum", "wanted", "reason"),
    [
        (5, 20, 1, 8, "TooManyReplicas"),
        (2, 20, 1, 4, "ScaleUpLimit"),
        (5, 0, 2, 2, "TooFewReplicas"),
        (5, 6, 1, 6, "DesiredWithinRange"),
    ],
)
def test_what_limits_is_told(current: int, desired: int, minimum: int, wanted: int, reason: str) -> None:
    told = behavior.normalize(hpa(maximum=8), History(), current, desired, minimum, NOW)
    assert (told.replicas, told.limit.reason, told.limited) == (wanted, reason, reason != "DesiredWithinRange")


def test_a_rate_that_limits_the_way_down_is_told() -> None:
    told = behavior.normalize(hpa(scaleDown=rule(policy("Pods", 1))), History(), 5, 2, 1, NOW)
    assert (told.replicas, told.limit.reason) == (4, "ScaleDownLimit")
