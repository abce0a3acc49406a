from datetime import UTC, datetime
from typing import Any

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver import disruptions
from hypernetes.apiserver.disruptions import Verdict

Object = dict[str, Any]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def pod(phase: str = "Running", ready: str = "True", **metadata: Any) -> Object:
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": "p", "labels": {"app": "web"}, **metadata},
            "status": {"phase": phase, "conditions": conditions}}  # fmt: skip


def budget(policy: str = "", selector: Object | None = None, generation: int = 1, **status: Any) -> Object:
    spec = {"selector": {"matchLabels": {"app": "web"}} if selector is None else selector}
    if policy:
        spec["unhealthyPodEvictionPolicy"] = policy
    return {"metadata": {"name": "b", "generation": generation}, "spec": spec,
            "status": {"observedGeneration": 1, **status}}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "free"),
    [
        (pod(), False),
        (pod("Pending"), True),
        (pod("Succeeded"), True),
        (pod("Failed"), True),
        (pod(deletionTimestamp="2030-01-01T00:00:00Z"), True),
    ],
)
def test_who_serves_nobody_needs_no_budget(found, free):
    assert disruptions.needs_no_budget(found) is free


def test_only_a_pod_that_has_not_begun_may_come_to_need_one():
    assert disruptions.may_have_begun(pod("Pending"))
    assert not disruptions.may_have_begun(pod("Failed"))
    assert not disruptions.may_have_begun(pod("Pending", deletionTimestamp="2030-01-01T00:00:00Z"))


def test_budgets_are_found_by_their_selectors():
    all_pods, others = budget(selector={}), budget(selector={"matchLabels": {"app": "db"}})
    none: Object = {"metadata": {"name": "n"}, "spec": {}}
    assert disruptions.budgets_of(pod(), [budget(), all_pods, others, none]) == [budget(), all_pods]


@pytest.mark.parametrize(
    ("found", "of", "verdict"),
    [
        (pod(), None, Verdict.FREE),
        (pod(), budget(currentHealthy=9, desiredHealthy=1), Verdict.COUNTED),
        (pod(ready="False"), budget(currentHealthy=2, desiredHealthy=2), Verdict.UNCHANGED),
        (pod(ready="False"), budget(currentHealthy=1, desiredHealthy=2), Verdict.COUNTED),
        (pod(ready="False"), budget("AlwaysAllow", currentHealthy=0, desiredHealthy=2), Verdict.UNCHANGED),
        (pod(ready="False"), budget("IfHealthyBudget", currentHealthy=0, desiredHealthy=2), Verdict.COUNTED),
        (pod(ready="False"), budget(currentHealthy=0, desiredHealthy=0), Verdict.COUNTED),
    ],
)
def test_a_pod_that_is_not_ready_is_no_loss_to_a_healthy_budget(found, of, verdict):
    assert disruptions.decide(found, of) is verdict


def test_an_eviction_takes_one_disruption_and_is_written_down():
    charged = disruptions.charge(budget(disruptionsAllowed=2), "p", NOW)["status"]
    assert charged["disruptionsAllowed"] == 1
    assert charged["disruptedPods"] == {"p": "2030-01-01T00:00:00Z"}
    assert "conditions" not in charged
    last = disruptions.charge(budget(disruptionsAllowed=1, disruptedPods={"q": "x"}), "p", NOW)["status"]
    assert last["disruptedPods"].keys() == {"p", "q"}
    assert [(each["type"], each["status"], each["reason"]) for each in last["conditions"]] == [
        ("DisruptionAllowed", "False", "InsufficientPods")
    ]


@pytest.mark.parametrize(
    ("of", "reason", "retry"),
    [
        (budget(disruptionsAllowed=0, desiredHealthy=2, currentHealthy=2), "TooManyRequests", None),
        (budget(generation=2, disruptionsAllowed=5), "TooManyRequests", 10),
        (budget(disruptionsAllowed=-1), "Forbidden", None),
        (budget(disruptionsAllowed=5, disruptedPods=dict.fromkeys(map(str, range(2001)), "x")), "Forbidden", None),
    ],
)
def test_what_the_budget_does_not_allow_is_refused(of, reason, retry):
    with pytest.raises(StatusError) as caught:
        disruptions.charge(of, "p", NOW)
    assert caught.value.reason == reason
    assert caught.value.details.get("retryAfterSeconds") == retry
    if reason == "TooManyRequests":
        assert [each["reason"] for each in caught.value.causes] == ["DisruptionBudget"]


def test_an_evicted_pod_says_so_once():
    twice = disruptions.targeted(disruptions.targeted(pod(), NOW), NOW)
    assert [each["type"] for each in twice["status"]["conditions"]] == ["Ready", "DisruptionTarget"]
