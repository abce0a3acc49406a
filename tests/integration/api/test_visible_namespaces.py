"""Who may not list all namespaces sees those that they may get; and no watch outlives the right to it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving

NAMESPACES = "/api/v1/namespaces"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PODS = f"{NAMESPACES}/one/pods"


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[User]:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "visible") as user:
        yield user
    await store.close()


def bindings(namespace: str) -> str:
    return f"{RBAC}/namespaces/{namespace}/rolebindings"


async def bind(user: User, namespace: str, role: str = "view") -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "jane"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    }  # fmt: skip
    assert (await user("POST", bindings(namespace), body)).status == 201


async def names(user: User, **query: str) -> list[str]:
    listed = await user("GET", NAMESPACES, **query)
    assert listed.status == 200, listed.body
    (warning,) = listed.headers.getall("Warning")
    assert "filtered" in warning
    assert "remainingItemCount" not in listed.json["metadata"]
    return [item["metadata"]["name"] for item in listed.json["items"]]


async def test_a_list_shows_the_namespaces_that_one_may_get_and_says_so(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        for name in ("one", "two", "three"):
            assert (await acme("POST", NAMESPACES, {"metadata": {"name": name, "labels": {"n": name}}})).status == 201
        assert (await jane("GET", NAMESPACES)).status == 403
        await bind(acme, "one")
        await bind(acme, "three", "edit")
        assert await names(jane) == ["one", "three"]
        assert await names(jane, labelSelector="n in (two, three)") == ["three"]
        assert await names(jane, limit="1") == ["one"]
        assert (await jane("GET", f"{NAMESPACES}/one")).status == 200
        assert (await jane("GET", f"{NAMESPACES}/two")).status == 403
        assert "Warning" not in (await acme("GET", NAMESPACES)).headers
        assert (await jane("GET", f"/tenants/*{NAMESPACES}")).status == 403
        await acme("DELETE", f"{bindings('one')}/jane")
        assert await names(jane) == ["three"]


async def test_a_watch_of_them_begins_anew_when_one_may_see_others(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        for name in ("one", "two"):
            assert (await acme("POST", NAMESPACES, {"metadata": {"name": name}})).status == 201
        await bind(acme, "one")
        merge = {"Content-Type": "application/merge-patch+json"}
        async with jane.watch(NAMESPACES) as watch:
            assert await watch.names(1) == [("ADDED", "one")]
            for name in ("two", "one"):
                body = {"metadata": {"labels": {"a": "b"}}}
                assert (await acme("PATCH", f"{NAMESPACES}/{name}", body, headers=merge)).status == 200
            assert await watch.names(1) == [("MODIFIED", "one")]
            await bind(acme, "two")
            event = await watch.next()
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
            assert await watch.ended()
        async with jane.watch(NAMESPACES) as again:
            assert await again.names(2) == [("ADDED", "one"), ("ADDED", "two")]


async def test_a_watch_ends_with_the_right_to_it_and_no_other_does(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        assert (await acme("POST", NAMESPACES, {"metadata": {"name": "one"}})).status == 201
        await bind(acme, "one")
        revision = (await jane("GET", PODS)).revision
        async with (
            jane.watch(PODS, resourceVersion=revision) as watch,
            acme.watch(PODS, resourceVersion=revision) as own,
        ):
            still = asyncio.create_task(own.next())
            assert (await acme("DELETE", f"{bindings('one')}/jane")).status == 200
            assert await watch.ended()
            made = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
            made["spec"]["automountServiceAccountToken"] = False  # type: ignore[index]
            account = {"metadata": {"name": "default"}}
            await acme("POST", f"{NAMESPACES}/one/serviceaccounts", account)
            answer = await acme("POST", PODS, made)
            assert answer.status == 201, answer.body
            assert (await still)["type"] == "ADDED"
        assert (await jane("GET", PODS)).status == 403
