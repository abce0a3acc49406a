"""Tenants that are protected, suspended and resumed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.integration.api.servers import User
from tests.integration.api.test_pods import pod

TENANTS = "/apis/hypernetes.io/v1/tenants"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}
_DEADLINE_SECONDS = 30.0


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives once that is true."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while not (result := await condition()):
            await asyncio.sleep(0.05)
        return result


async def set_spec(admin: User, tenant: str, **spec: Any) -> None:
    answer = await admin("PATCH", f"{TENANTS}/{tenant}", {"spec": spec}, headers=MERGE)
    assert answer.status == 200, answer.body


async def condition(admin: User, tenant: str, type: str) -> tuple[str, str] | None:
    """Its status and reason."""
    conditions = (await admin("GET", f"{TENANTS}/{tenant}")).json["status"].get("conditions", [])
    return next(((each["status"], each["reason"]) for each in conditions if each["type"] == type), None)


async def test_a_protected_tenant_is_not_deleted_until_that_is_cleared(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await set_spec(admin, "acme", deletionProtection=True)
        refused = await admin("DELETE", f"{TENANTS}/acme")
        assert refused.status == 403
        assert "spec.deletionProtection" in refused.json["message"]
        assert (await admin("DELETE", TENANTS)).status == 403
        assert (await acme("GET", CONFIG_MAPS)).status == 200
        assert "deletionTimestamp" not in (await admin("GET", f"{TENANTS}/acme")).json["metadata"]
        await set_spec(admin, "acme", deletionProtection=False)
        assert (await admin("DELETE", f"{TENANTS}/acme")).status == 200


async def test_a_suspended_tenant_is_read_only_to_its_people_and_says_why(admin: User) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        assert (await acme("POST", CONFIG_MAPS, config_map)).status == 201
        async with acme.watch(CONFIG_MAPS, resourceVersion=(await acme("GET", CONFIG_MAPS)).revision) as watch:
            await set_spec(admin, "acme", suspended=True)
            for method, path, body in (
                ("POST", CONFIG_MAPS, {"metadata": {"name": "b"}}),
                ("PUT", f"{CONFIG_MAPS}/a", config_map),
                ("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}),
                ("DELETE", f"{CONFIG_MAPS}/a", None),
                ("DELETE", CONFIG_MAPS, None),
                ("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}}),
                ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {}),
                ("GET", f"{PODS}/p/exec?command=sh", None),
            ):
                refused = await acme(method, path, body, headers=MERGE if method == "PATCH" else None)
                assert (refused.status, method, path) == (403, method, path)
                assert "the tenant is suspended" in refused.json["message"]
            review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
            asked = await acme("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
            assert asked.status == 201
            assert (await acme("GET", f"{CONFIG_MAPS}/a")).status == 200
            assert (await globex("POST", CONFIG_MAPS, config_map)).status == 201
            assert (await admin("POST", f"/tenants/acme{CONFIG_MAPS}", {"metadata": {"name": "b"}})).status == 201
            assert await watch.names(1) == [("ADDED", "b")]
            assert (await admin("GET", f"{TENANTS}/acme")).json["status"]["phase"] == "Suspended"
            await set_spec(admin, "acme", suspended=None)
            assert (await acme("POST", CONFIG_MAPS, {"metadata": {"name": "c"}})).status == 201
            assert await watch.names(1) == [("ADDED", "c")]
        assert (await admin("GET", f"{TENANTS}/acme")).json["status"]["phase"] == "Active"


async def test_the_pods_of_a_suspended_tenant_are_told_to_stop_and_none_is_made(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await acme("POST", PODS, pod("runs"))
        await acme("POST", PODS, pod("ended"))
        ended = {"status": {"phase": "Succeeded"}}
        assert (await admin("PATCH", f"/tenants/acme{PODS}/ended/status", ended, headers=MERGE)).status == 200
        await set_spec(admin, "acme", suspended=True)
        await until(lambda: told_to_stop(acme, "runs"))
        assert await until(lambda: condition(admin, "acme", "Suspended")) == ("False", "PodsStopping")
        refused = await admin("POST", f"/tenants/acme{PODS}", pod("new"))
        assert refused.status == 403
        assert [each["reason"] for each in refused.json["details"]["causes"]] == ["TenantSuspended"]
        assert not await told_to_stop(acme, "ended")
        # as the node's agent does once it has stopped
        assert (await admin("DELETE", f"/tenants/acme{PODS}/runs", {"gracePeriodSeconds": 0})).status == 200

        async def is_stopped() -> bool:
            return await condition(admin, "acme", "Suspended") == ("True", "PodsStopped")

        async def is_resumed() -> bool:
            return await condition(admin, "acme", "Suspended") == ("False", "Resumed")

        await until(is_stopped)
        await set_spec(admin, "acme", suspended=False)
        await until(is_resumed)
        assert (await acme("POST", PODS, pod("new"))).status == 201


async def told_to_stop(user: User, name: str) -> bool:
    answer = await user("GET", f"{PODS}/{name}")
    return "deletionTimestamp" in answer.json["metadata"]
