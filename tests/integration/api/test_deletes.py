"""Deletes of many objects at once, and what stays behind."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.integration.api.servers import User

Object = dict[str, Any]

SPACE = "/api/v1/namespaces/space"
MAPS = f"{SPACE}/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
MERGE = {"Content-Type": "application/merge-patch+json"}
ROOT = "kube-root-ca.crt"  # each namespace has it, whatever is deleted


@pytest.fixture(autouse=True)
async def namespace(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})


async def make(admin: User, count: int, **metadata: Any) -> None:
    bodies = [{"metadata": {"name": f"m{number:03}", **metadata}} for number in range(count)]
    answers = await asyncio.gather(*(admin("POST", MAPS, body) for body in bodies))
    assert {answer.status for answer in answers} == {201}


async def names(admin: User) -> list[str]:
    found = [each["metadata"]["name"] for each in (await admin("GET", MAPS)).json["items"]]
    assert found.count(ROOT) == 1
    return [name for name in found if name != ROOT]


async def test_a_whole_collection_goes_and_is_answered_in_order(admin: User) -> None:
    await make(admin, 100)
    await admin("POST", MAPS, {"metadata": {"name": "held", "finalizers": ["example.com/f"]}})
    answer = await admin("DELETE", MAPS)
    assert [each["metadata"]["name"] for each in answer.json["items"]] == [
        "held", ROOT, *(f"m{n:03}" for n in range(100))
    ]  # fmt: skip
    assert await names(admin) == ["held"]


async def test_a_selector_and_a_limit_bound_what_goes(admin: User) -> None:
    await make(admin, 50, labels={"g": "x"})
    await admin("POST", MAPS, {"metadata": {"name": "other"}})
    answer = await admin("DELETE", MAPS, labelSelector="g=x", limit="40")
    assert len(answer.json["items"]) == 40
    assert await names(admin) == [*(f"m{number:03}" for number in range(40, 50)), "other"]


async def test_the_answer_has_the_form_that_is_asked_for(admin: User) -> None:
    await make(admin, 3)
    table = (await admin("DELETE", MAPS, headers=TABLE)).json
    assert (table["kind"], [row["cells"][0] for row in table["rows"]]) == ("Table", [ROOT, "m000", "m001", "m002"])


async def test_two_requests_share_the_work_and_each_object_is_in_one_answer(admin: User) -> None:
    await make(admin, 60)
    answers = await asyncio.gather(*(admin("DELETE", MAPS) for _ in range(2)))
    told = Counter(each["metadata"]["name"] for answer in answers for each in answer.json["items"])
    assert {answer.status for answer in answers} == {200}
    assert told - Counter({ROOT: 2}) == Counter(f"m{number:03}" for number in range(60))
    assert await names(admin) == []


async def test_a_quota_counts_every_one_of_a_collection(admin: User) -> None:
    hard = {"configmaps": "50"}
    await admin("POST", f"{SPACE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    await admin("PATCH", f"{SPACE}/resourcequotas/q/status", {"status": {"hard": hard}}, headers=MERGE)
    await make(admin, 40)
    await admin("DELETE", MAPS, limit="36")
    assert (await admin("GET", f"{SPACE}/resourcequotas/q")).json["status"]["used"] == {"configmaps": "6"}


async def test_a_dry_run_deletes_nothing(admin: User) -> None:
    await make(admin, 3)
    answer = await admin("DELETE", MAPS, dryRun="All")
    assert len(answer.json["items"]) == 4
    assert len(await names(admin)) == 3
