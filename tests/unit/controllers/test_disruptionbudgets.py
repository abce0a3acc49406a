from datetime import UTC, datetime, timedelta

import pytest

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.controllers import disruptionbudgets
from hypernetes.controllers.disruptionbudgets import Expected, NotExpectable

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def budget(disrupted: dict[str, str] | None = None, **spec: int | str) -> PodDisruptionBudget:
    status = {"disruptedPods": disrupted or {}}
    return PodDisruptionBudget.from_dict({"metadata": {"name": "b", "generation": 3}, "spec": spec, "status": status})


def pod(name: str = "p", ready: str = "True", **metadata: str) -> Pod:
    return Pod.from_dict({
        "metadata": {"name": name, **metadata}, "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "pods", "scale", "wanted"),
    [
        ({"minAvailable": 2}, 3, None, Expected(3, 2)),
        ({"minAvailable": 5}, 3, 3, Expected(3, 5)),
        ({}, 3, 3, Expected(3, 0)),
        ({"minAvailable": "50%"}, 3, 5, Expected(5, 3)),
        ({"minAvailable": "0%"}, 3, 5, Expected(5, 0)),
        ({"maxUnavailable": 1}, 3, 4, Expected(4, 3)),
        ({"maxUnavailable": 9}, 3, 4, Expected(4, 0)),
        ({"maxUnavailable": "30%"}, 3, 7, Expected(7, 4)),
        ({"maxUnavailable": "7%"}, 3, 100, Expected(100, 93)),
        ({"maxUnavailable": "100%"}, 3, 3, Expected(3, 0)),
    ],
)
def test_what_must_be_healthy(spec, pods, scale, wanted):
    assert disruptionbudgets.expected(budget(**spec), [pod()] * pods, scale) == wanted


@pytest.mark.parametrize("spec", [{"maxUnavailable": 1}, {"minAvailable": "50%"}])
def test_shares_need_a_scale(spec):
    with pytest.raises(NotExpectable):
        disruptionbudgets.expected(budget(**spec), [pod()], None)


@pytest.mark.parametrize(
    ("current", "wanted", "allowed"),
    [(3, Expected(3, 2), 1), (2, Expected(3, 2), 0), (1, Expected(3, 2), 0), (3, Expected(0, 0), 0)],
)
def test_what_is_healthy_beyond_that_may_go(current, wanted, allowed):
    status = disruptionbudgets.status(budget(), wanted, current, {}, NOW)
    assert (status.disruptions_allowed, status.current_healthy, status.desired_healthy) == (
        allowed, current, wanted.healthy,
    )  # fmt: skip
    (condition,) = status.conditions
    assert condition.status == ("True" if allowed else "False")
    assert condition.reason == ("SufficientPods" if allowed else "InsufficientPods")
    assert status.observed_generation == 3


def test_pods_that_go_are_not_healthy():
    ending = pod("ending", deletionTimestamp="2030-01-01T00:00:00Z")
    assert disruptionbudgets.healthy([pod("a"), pod("b"), pod("c", "False"), ending], ["b"]) == 1


def test_an_eviction_counts_until_it_shows_or_has_failed():
    def ago(seconds: float) -> str:
        return times.format_time(NOW - timedelta(seconds=seconds))

    told = {"fresh": ago(20), "older": ago(100), "failed": ago(130), "gone": ago(1), "ending": ago(1)}
    ending = pod("ending", deletionTimestamp="2030-01-01T00:00:00Z")
    kept, again = disruptionbudgets.disrupted(
        budget(told), [pod("fresh"), pod("older"), pod("failed"), ending, pod("other")], NOW
    )
    assert kept.keys() == {"fresh", "older"}
    assert again == 20.0


def test_a_budget_that_cannot_be_counted_allows_nothing():
    found = budget()
    found.status.disruptions_allowed = 4
    status = disruptionbudgets.failed(found, "no scale", NOW)
    assert status.disruptions_allowed == 0
    assert [(each.status, each.reason, each.message) for each in status.conditions] == [
        ("False", "SyncFailed", "no scale")
    ]


def test_the_condition_tells_since_when():
    found = budget()
    found.status = disruptionbudgets.status(found, Expected(2, 1), 2, {}, NOW)
    later = disruptionbudgets.status(found, Expected(2, 1), 2, {}, NOW + timedelta(hours=1))
    assert later.conditions == found.status.conditions
    changed = disruptionbudgets.status(found, Expected(2, 1), 1, {}, NOW + timedelta(hours=1))
    assert changed.conditions[0].last_transition_time == "2030-01-01T01:00:00Z"
