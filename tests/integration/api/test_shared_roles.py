"""The default roles: stored once, seen and counted in every tenant, changed in none."""

from typing import Any

import pytest

from tests.integration.api.servers import User

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"


def role(name: str, **labels: str) -> dict[str, Any]:
    rules = [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]}]
    return {"metadata": {"name": name, "labels": labels}, "rules": rules}


async def names(user: User, path: str, **query: str) -> list[str]:
    listed = await user("GET", path, **query)
    assert listed.status == 200, listed.body
    return [item["metadata"]["name"] for item in listed.json["items"]]


async def test_a_tenant_sees_them_among_its_own_by_name_in_lists_and_page_by_page(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        for name in ("aaa", "edit-widgets", "zzz"):
            assert (await acme("POST", ROLES, role(name, own="yes"))).status == 201
        seen = await names(acme, ROLES)
        assert seen == sorted(seen)
        assert {"aaa", "zzz", "admin", "cluster-admin", "edit", "view", "system:discovery"} <= set(seen)
        assert await names(acme, ROLES, labelSelector="own=yes") == ["aaa", "edit-widgets", "zzz"]
        assert await names(acme, ROLES, fieldSelector="metadata.name=view") == ["view"]
        view = await acme("GET", f"{ROLES}/view")
        assert view.json["metadata"]["uid"] == (await admin("GET", f"{ROLES}/view")).json["metadata"]["uid"]
        assert (await acme("GET", f"{BINDINGS}/cluster-admin")).status == 200
        paged, token = [], ""
        while True:
            page = (await acme("GET", ROLES, limit="5", **({"continue": token} if token else {}))).json
            paged += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                break
            assert page["metadata"]["remainingItemCount"] == len(seen) - len(paged)
        assert paged == seen


async def test_what_else_system_has_is_not_shown(admin: User) -> None:
    assert (await admin("POST", ROLES, role("of-the-provider"))).status == 201
    async with await admin.tenant("acme") as acme:
        assert "of-the-provider" not in await names(acme, ROLES)
        assert (await acme("GET", f"{ROLES}/of-the-provider")).status == 404


@pytest.mark.parametrize("path", [f"{ROLES}/view", f"{BINDINGS}/cluster-admin"])
async def test_a_tenant_changes_none_of_them_and_takes_none_of_their_names(admin: User, path: str) -> None:
    async with await admin.tenant("acme") as acme:
        shared = (await acme("GET", path)).json
        merge = {"Content-Type": "application/merge-patch+json"}
        for method, body in (("PUT", shared), ("PATCH", {"metadata": {"labels": {"a": "b"}}}), ("DELETE", None)):
            refused = await acme(method, path, body, headers=merge if method == "PATCH" else None)
            assert refused.status == 403, (method, refused.body)
        collection, name = path.rpartition("/")[0], path.rpartition("/")[2]
        fresh = {**shared, "metadata": {"name": name}}
        taken = await acme("POST", collection, fresh)
        assert (taken.status, taken.json["reason"]) == (409, "AlreadyExists")
        assert (await acme("DELETE", collection)).status == 200  # empties its own
        assert (await acme("GET", path)).json == shared


async def test_a_watch_tells_of_both_and_of_each_once(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        revision = (await acme("GET", ROLES)).json["metadata"]["resourceVersion"]
        there = len(await names(acme, ROLES))
        merge = {"Content-Type": "application/merge-patch+json"}
        async with acme.watch(ROLES) as all_of_it, acme.watch(ROLES, resourceVersion=revision) as changes:
            assert len({name for _, name in await all_of_it.names(there)}) == there
            assert (await globex("POST", ROLES, role("theirs"))).status == 201
            assert (await admin("POST", ROLES, role("providers"))).status == 201
            body = {"metadata": {"annotations": {"note": "changed"}}}
            assert (await admin("PATCH", f"{ROLES}/view", body, headers=merge)).status == 200
            assert (await acme("POST", ROLES, role("ours"))).status == 201
            expected = [("MODIFIED", "view"), ("ADDED", "ours")]
            assert await changes.names(2) == expected
            assert await all_of_it.names(2) == expected
        async with acme.watch(ROLES, resourceVersion=revision) as resumed:
            assert await resumed.names(2) == expected
