"""Evictions, as kubectl drain and autoscalers ask for them, and what a disruption budget lets through."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.integration.api.servers import Answer, User

Object = dict[str, Any]

PODS = "/api/v1/namespaces/space/pods"
BUDGETS = "/apis/policy/v1/namespaces/space/poddisruptionbudgets"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(autouse=True)
async def namespace(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})
    account = {"metadata": {"name": "default"}}
    await admin("POST", "/api/v1/namespaces/space/serviceaccounts", account)


async def running_pod(admin: User, name: str, ready: str = "True") -> None:
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": "n1"}
    made = await admin("POST", PODS, {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})
    assert made.status == 201, made.body
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    assert (await admin("PATCH", f"{PODS}/{name}/status", {"status": status}, headers=MERGE)).status == 200


async def budget(admin: User, name: str = "b", **status: Any) -> None:
    """A budget with a status as the disruption controller writes it."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    made = await admin("POST", BUDGETS, {"metadata": {"name": name}, "spec": spec})
    assert made.status == 201, made.body
    told = {"observedGeneration": 1, "expectedPods": 3, "currentHealthy": 3, "desiredHealthy": 1, **status}
    written = await admin("PATCH", f"{BUDGETS}/{name}/status", {"status": told}, headers=MERGE)
    assert written.status == 200, written.body


async def evict(admin: User, name: str, **options: Any) -> Answer:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}
    return await admin("POST", f"{PODS}/{name}/eviction", body)


async def test_as_many_go_as_the_budget_allows_however_many_ask(admin: User) -> None:
    names = [f"p{number}" for number in range(10)]
    for name in names:
        await running_pod(admin, name)
    await budget(admin, disruptionsAllowed=3)
    answers = await asyncio.gather(*(evict(admin, name) for name in names))
    assert Counter(answer.status for answer in answers) == {201: 3, 429: 7}
    ending = {
        pod["metadata"]["name"]
        for pod in (await admin("GET", PODS)).json["items"]
        if "deletionTimestamp" in pod["metadata"]
    }
    status = (await admin("GET", f"{BUDGETS}/b")).json["status"]
    assert (status["disruptionsAllowed"], status["disruptedPods"].keys()) == (0, ending)
    assert len(ending) == 3


async def test_who_is_refused_is_told_why_and_a_stale_budget_when_to_ask_again(admin: User) -> None:
    await running_pod(admin, "p")
    await budget(admin, disruptionsAllowed=0, currentHealthy=1)
    refused = await evict(admin, "p")
    assert (refused.status, refused.json["reason"]) == (429, "TooManyRequests")
    (cause,) = refused.json["details"]["causes"]
    assert cause["message"] == "The disruption budget b needs 1 healthy pods and has 1 currently"
    await admin("PATCH", f"{BUDGETS}/b", {"spec": {"minAvailable": 2}}, headers=MERGE)
    refused = await evict(admin, "p")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "10")


async def test_a_dry_run_takes_nothing_from_the_budget(admin: User) -> None:
    await running_pod(admin, "p")
    await budget(admin, disruptionsAllowed=1)
    before = (await admin("GET", f"{BUDGETS}/b")).json
    assert (await evict(admin, "p", dryRun=["All"])).status == 201
    assert (await admin("GET", f"{BUDGETS}/b")).json == before
    assert "deletionTimestamp" not in (await admin("GET", f"{PODS}/p")).json["metadata"]


async def test_two_budgets_are_too_many(admin: User) -> None:
    await running_pod(admin, "p")
    await budget(admin, "a", disruptionsAllowed=1)
    await budget(admin, "b", disruptionsAllowed=1)
    refused = await evict(admin, "p")
    assert refused.status == 500
    assert "more than one PodDisruptionBudget" in refused.json["message"]


async def test_a_pod_that_is_not_ready_goes_without_charge(admin: User) -> None:
    await running_pod(admin, "p", ready="False")
    await budget(admin, disruptionsAllowed=0)
    assert (await evict(admin, "p", gracePeriodSeconds=7)).status == 201
    pod = (await admin("GET", f"{PODS}/p")).json
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 7
    assert pod["status"]["conditions"][-1]["reason"] == "EvictionByEvictionAPI"
    assert not (await admin("GET", f"{BUDGETS}/b")).json["status"].get("disruptedPods")
