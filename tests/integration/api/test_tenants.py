"""Tenants: each is a cluster of its own, and none learns of another."""

import asyncio
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hypernetes.apiserver.storage.base import Store
from hypernetes.pki import client_context
from tests.integration.api.servers import User

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TENANTS = "/apis/hypernetes.io/v1/tenants"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def node(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "rack": "secret"}},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.9"}]},
    }  # fmt: skip


async def test_a_new_tenant_is_usable_at_once(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        namespaces = (await acme("GET", "/api/v1/namespaces")).json["items"]
        assert [item["metadata"]["name"] for item in namespaces] == [
            "default", "kube-node-lease", "kube-public", "kube-system",
        ]  # fmt: skip
        for path in (
            "/api/v1/namespaces/default/serviceaccounts/default",
            "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt",
            "/api/v1/namespaces/default/services/kubernetes",
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
            "/apis/hypernetes.io/v1/networks/default",
            "/api/v1/networks/default",
        ):
            assert (await acme("GET", path)).status == 200, path


async def test_two_tenants_use_the_same_names_and_addresses(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        for user in (acme, globex):
            assert (await user("POST", "/api/v1/namespaces", {"metadata": {"name": "web"}})).status == 201
            made = await user(
                "POST", "/api/v1/namespaces/web/services",
                {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.254.0.10", "ports": [{"port": 80}]}},
            )  # fmt: skip
            assert made.status == 201, made.body
        await acme("DELETE", "/api/v1/namespaces/web/services/s")
        assert (await globex("GET", "/api/v1/namespaces/web/services/s")).status == 200


async def test_nothing_of_another_tenant_shows(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        await acme("POST", CONFIG_MAPS, config_map("hidden", word="xyzzy"))
        for path in ("/api/v1/configmaps", "/api/v1/namespaces", CONFIG_MAPS, "/apis", "/api/v1", "/openapi/v3"):
            answer = await globex("GET", path)
            assert b"acme" not in answer.body, path
            assert b"hidden" not in answer.body, path
        assert (await globex("GET", f"{CONFIG_MAPS}/hidden")).status == 404


async def test_the_refusal_is_the_same_for_a_tenant_that_exists_and_one_that_does_not(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await admin("POST", TENANTS, {"metadata": {"name": "globex"}})
        for method, path in (
            ("GET", CONFIG_MAPS), ("GET", f"{CONFIG_MAPS}/a"), ("POST", CONFIG_MAPS), ("DELETE", f"{CONFIG_MAPS}/a"),
            ("GET", "/version"), ("GET", "/api/v1/nodes"),
        ):  # fmt: skip
            there = await acme(method, f"/tenants/globex{path}", {} if method == "POST" else None)
            nowhere = await acme(method, f"/tenants/initech{path}", {} if method == "POST" else None)
            assert (there.status, there.body) == (nowhere.status, nowhere.body)
            assert there.status == 403
        everywhere = await acme("GET", "/tenants/*/api/v1/configmaps")
        assert everywhere.status == 403


async def test_a_watch_sees_its_own_tenant_only(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        revision = (await acme("GET", CONFIG_MAPS)).revision
        async with acme.watch("/api/v1/configmaps", resourceVersion=revision) as watch:
            await globex("POST", CONFIG_MAPS, config_map("theirs"))
            await acme("POST", CONFIG_MAPS, config_map("ours"))
            assert await watch.names(1) == [("ADDED", "ours")]


async def test_the_provider_sees_all_tenants_and_whose_an_object_is(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await acme("POST", CONFIG_MAPS, config_map("a"))
        listed = (await admin("GET", "/tenants/*/api/v1/configmaps", fieldSelector="metadata.name=a")).json
        (found,) = listed["items"]
        assert found["metadata"]["annotations"] == {"hypernetes.io/tenant": "acme"}
        async with admin.watch(
            "/tenants/*/api/v1/configmaps", resourceVersion=listed["metadata"]["resourceVersion"]
        ) as w:
            await acme("POST", CONFIG_MAPS, config_map("b"))
            event = await w.next()
            assert event["object"]["metadata"]["annotations"] == {"hypernetes.io/tenant": "acme"}
        mine = (await acme("GET", f"{CONFIG_MAPS}/a")).json
        assert "annotations" not in mine["metadata"]


async def test_a_client_cannot_claim_another_tenant_by_annotation(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        body = config_map("a")
        body["metadata"]["annotations"] = {"hypernetes.io/tenant": "globex"}
        assert (await acme("POST", CONFIG_MAPS, body)).status == 201
        listed = (await admin("GET", "/tenants/*/api/v1/configmaps", fieldSelector="metadata.name=a")).json
        assert listed["items"][0]["metadata"]["annotations"] == {"hypernetes.io/tenant": "acme"}


async def test_a_tenant_sees_of_a_node_what_is_its_business(admin: User) -> None:
    assert (await admin("POST", "/api/v1/nodes", node("n1"))).status == 201
    async with await admin.tenant("acme") as acme:
        (shown,) = (await acme("GET", "/api/v1/nodes")).json["items"]
        assert shown["metadata"]["labels"] == {"kubernetes.io/hostname": "n1"}
        assert "addresses" not in shown["status"]
        assert (await acme("DELETE", "/api/v1/nodes/n1")).status == 403
        assert (await acme("POST", "/api/v1/nodes", node("n2"))).status == 403


async def test_a_tenant_that_is_deleted_leaves_nothing_and_its_credentials_open_nothing(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await acme("POST", CONFIG_MAPS, config_map("old"))
        assert (await admin("DELETE", f"{TENANTS}/acme")).status == 200
        async with asyncio.timeout(20):
            while (await admin("GET", f"{TENANTS}/acme")).status != 404:
                await asyncio.sleep(0.05)
        assert (await acme("GET", CONFIG_MAPS)).status == 401
        async with await admin.tenant("acme") as again:
            assert (await acme("GET", CONFIG_MAPS)).status == 401
            names = [item["metadata"]["name"] for item in (await again("GET", CONFIG_MAPS)).json["items"]]
            assert names == ["kube-root-ca.crt"]


async def test_pods_of_a_tenant_with_another_service_range_can_verify_the_api(admin: User, tmp_path: Path) -> None:
    async def shown(user: User, name: str) -> None:
        """Raises SSLError if the server's certificate isn't good for this name."""
        url, context = urlsplit(user.url), client_context(tmp_path / "pki" / "ca.crt")
        _, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context, server_hostname=name)
        writer.close()

    with pytest.raises(ssl.SSLCertVerificationError):
        await shown(admin, "172.20.0.1")
    async with await admin.tenant("acme", serviceCIDR="172.20.0.0/16"):
        for name in ("172.20.0.1", "10.254.0.1", "127.0.0.1", "kubernetes.default.svc"):
            await shown(admin, name)


async def test_a_tenant_ends_when_its_networks_have_ended_and_takes_nothing_new_until_then(admin: User) -> None:
    network = "/apis/hypernetes.io/v1/networks/default"
    merge = {"Content-Type": "application/merge-patch+json"}

    async def finalizers(*names: str) -> None:  # as the network's controller does
        body = {"metadata": {"finalizers": list(names) or None}}
        assert (await admin("PATCH", f"/tenants/acme{network}", body, headers=merge)).status == 200

    async with await admin.tenant("acme") as acme:
        await finalizers("hypernetes.io/network")
        await acme("POST", CONFIG_MAPS, config_map("old"))
        await admin("DELETE", f"{TENANTS}/acme")
        async with asyncio.timeout(20):
            while "deletionTimestamp" not in (await admin("GET", f"/tenants/acme{network}")).json["metadata"]:
                await asyncio.sleep(0.05)
        assert (await admin("GET", f"{TENANTS}/acme")).json["status"]["phase"] == "Terminating"
        assert (await acme("GET", f"{CONFIG_MAPS}/old")).status == 200  # can be read until the networks are gone
        for method, path in (("POST", CONFIG_MAPS), ("PATCH", network)):
            assert (await acme(method, path, config_map("new"), headers=merge)).status == 403
        assert (await admin("POST", f"/tenants/acme{CONFIG_MAPS}", config_map("new"))).status == 403
        await finalizers()
        async with asyncio.timeout(20):
            while (await admin("GET", f"{TENANTS}/acme")).status != 404:
                await asyncio.sleep(0.05)
    listed = (await admin("GET", "/tenants/*/apis/hypernetes.io/v1/networks")).json["items"]
    assert {item["metadata"]["annotations"]["hypernetes.io/tenant"] for item in listed} == {"system"}


async def test_what_was_being_written_as_a_tenant_ended_is_not_in_the_next_of_its_name(
    admin: User, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, begun, go_on = store.create, asyncio.Event(), asyncio.Event()

    async def slow(key: str, *arguments: Any, **more: Any) -> int:
        if key.endswith("/late"):
            begun.set()
            await go_on.wait()
        return await create(key, *arguments, **more)

    monkeypatch.setattr(store, "create", slow)
    async with await admin.tenant("acme") as acme, asyncio.timeout(30):
        writing = asyncio.create_task(acme("POST", CONFIG_MAPS, config_map("late")))
        await begun.wait()
        await admin("DELETE", f"{TENANTS}/acme")
        while (await admin("GET", f"{TENANTS}/acme")).status != 404:
            await asyncio.sleep(0.05)
        go_on.set()
        await writing
    async with await admin.tenant("acme") as again:
        names = [item["metadata"]["name"] for item in (await again("GET", CONFIG_MAPS)).json["items"]]
        assert names == ["kube-root-ca.crt"]


async def test_tenants_live_in_system(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        assert (await acme("GET", TENANTS)).status in (403, 404)
        assert (await admin("GET", f"/tenants/acme{TENANTS}")).status == 404
    assert (await admin("POST", TENANTS, {"metadata": {"name": "system"}})).status == 422
    assert (await admin("GET", f"/tenants/nobody{CONFIG_MAPS}")).status == 404
