"""What was just written counts for the next request, and what plugins say reaches the client."""

from typing import Any

import pytest

from tests.integration.api.servers import User

Object = dict[str, Any]

SPACE = "/api/v1/namespaces/space"
PODS = f"{SPACE}/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(autouse=True)
async def namespace(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})
    account = {"metadata": {"name": "default"}, "automountServiceAccountToken": False}
    await admin("POST", f"{SPACE}/serviceaccounts", account)


def pod(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}], **spec}}


async def test_a_rule_holds_for_whoever_has_the_answer_to_its_making(admin: User) -> None:
    for turn in range(10):
        ranges = f"{SPACE}/limitranges"
        limits = [{"type": "Container", "default": {"cpu": f"{turn + 1}"}}]
        made = await admin("POST", ranges, {"metadata": {"name": f"r{turn}"}, "spec": {"limits": limits}})
        assert made.status == 201, made.body
        created = await admin("POST", PODS, pod(f"limited{turn}"))
        assert created.json["spec"]["containers"][0]["resources"]["limits"] == {"cpu": f"{turn + 1}"}
        await admin("DELETE", f"{ranges}/r{turn}")

        classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
        await admin("POST", classes, {"metadata": {"name": f"c{turn}"}, "value": turn})
        created = await admin("POST", PODS, pod(f"ranked{turn}", priorityClassName=f"c{turn}"))
        assert created.json["spec"]["priority"] == turn


async def test_a_level_that_was_raised_refuses_the_next_pod(admin: User) -> None:
    for turn, level in enumerate(("restricted", "privileged") * 3):
        labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
        assert (await admin("PATCH", SPACE, labels, headers=MERGE)).status == 200
        created = await admin("POST", PODS, pod(f"p{turn}"))
        assert created.status == (403 if level == "restricted" else 201)


async def test_warnings_of_plugins_are_headers(admin: User) -> None:
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/warn": "baseline"}}}
    await admin("PATCH", SPACE, labels, headers=MERGE)
    created = await admin("POST", PODS, pod("p", hostNetwork=True))
    assert created.status == 201
    assert created.headers["Warning"] == (
        '299 - "would violate PodSecurity \\"baseline:latest\\": host namespaces (hostNetwork=true)"'
    )


async def test_the_two_priority_classes_of_every_cluster_are_there_and_stay(admin: User) -> None:
    """Once for all tenants: they lie in the provider's."""
    async with await admin.tenant("acme") as acme:
        listed = (await acme("GET", "/apis/scheduling.k8s.io/v1/priorityclasses")).json["items"]
        assert {each["metadata"]["name"]: each["value"] for each in listed} == {
            "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000,
        }  # fmt: skip
        path = "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical"
        assert (await acme("GET", path)).json["value"] == 2_000_001_000
        assert (await acme("DELETE", path)).status == 403
        assert (await acme("PATCH", path, {"description": "mine"}, headers=MERGE)).status == 403
        again = {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}
        assert (await acme("POST", path.rpartition("/")[0], again)).status == 409
        assert (await admin("DELETE", path)).status == 403


async def test_another_tenant_s_rules_and_quotas_are_not_ours(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        for user in (acme, globex):
            await user("POST", "/api/v1/namespaces", {"metadata": {"name": "space"}})
            await user("POST", f"{SPACE}/serviceaccounts", {"metadata": {"name": "default"}})
        hard = {"configmaps": "0"}
        await acme("POST", f"{SPACE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
        told = await acme("PATCH", f"{SPACE}/resourcequotas/q/status", {"status": {"hard": hard}}, headers=MERGE)
        assert told.status == 200, told.body
        classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
        await acme("POST", classes, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
        assert (await acme("POST", f"{SPACE}/configmaps", {"metadata": {"name": "a"}})).status == 403
        assert (await globex("POST", f"{SPACE}/configmaps", {"metadata": {"name": "a"}})).status == 201
        assert (await globex("POST", PODS, pod("p"))).json["spec"]["priority"] == 0
        assert (await acme("POST", PODS, pod("p"))).json["spec"]["priority"] == 7
