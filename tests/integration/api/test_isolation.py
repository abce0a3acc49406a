"""A tenant that tries to see, count, reach or outlive another. It has its own credentials and knows all the names."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import node_role
from tests.integration.api.servers import Answer, User, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
TENANTS = "/apis/hypernetes.io/v1/tenants"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
SECRET = "xyzzy"
KINDS = (
    "/api/v1/namespaces", "/api/v1/pods", "/api/v1/services", "/api/v1/endpoints", "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts", "/api/v1/events", "/api/v1/replicationcontrollers", "/api/v1/networks",
    "/apis/apps/v1/deployments", "/apis/apps/v1/replicasets", "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/events.k8s.io/v1/events", "/apis/coordination.k8s.io/v1/leases", "/apis/hypernetes.io/v1/networks",
    "/apis/hypernetes.io/v1/ports",
)  # fmt: skip


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[User]:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "border") as user:
        yield user
    await store.close()


@asynccontextmanager
async def neighbours(admin: User) -> AsyncIterator[tuple[User, User]]:
    """acme, and globex with something to hide."""
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        for path, body in (
            (CONFIG_MAPS, {"metadata": {"name": SECRET}, "data": {"word": SECRET}}),
            ("/api/v1/namespaces", {"metadata": {"name": SECRET}}),
            (PODS, {"metadata": {"name": SECRET}, "spec": {"containers": [{"name": "c", "image": SECRET}]}}),
        ):
            made = await globex("POST", path, body)
            assert made.status == 201, made.body
        yield acme, globex


class Bearer:
    """Somebody without a certificate, with a token or none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session, self._url, self._headers = session, url, {"Authorization": f"Bearer {token}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        data = None if body is None else orjson.dumps(body)
        headers = {**self._headers, "Content-Type": "application/json"}
        async with self._session.request(method, self._url + path, data=data, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())


@asynccontextmanager
async def bearer(user: User, tmp_path: Path, token: str) -> AsyncIterator[Bearer]:
    context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.crt"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield Bearer(session, user.url, token)


async def account_token(user: User) -> str:
    issued = await user("POST", f"{ACCOUNTS}/default/token", {"spec": {}})
    assert issued.status == 201, issued.body
    token: str = issued.json["status"]["token"]
    return token


async def test_no_list_of_any_kind_in_any_form_shows_another_tenant(admin: User) -> None:
    async with neighbours(admin) as (acme, _):
        for path in KINDS:
            for accept in ("application/json", TABLE, "application/yaml"):
                for query in ({}, {"resourceVersion": "0"}, {"labelSelector": "!nothing"}):
                    answer = await acme("GET", path, headers={"Accept": accept}, **query)
                    assert answer.status == 200, (path, answer.body)
                    assert SECRET.encode() not in answer.body, path
                    assert b"globex" not in answer.body, path


async def test_no_path_leads_to_another_tenant(admin: User) -> None:
    async with neighbours(admin) as (acme, _):
        body = {"metadata": {"name": "mine"}}
        for tenant in ("globex", "system", "nobody", "*", "%2a", "GLOBEX", "globex%2fdefault", ".", ".."):
            for path in (
                CONFIG_MAPS,
                f"{CONFIG_MAPS}/{SECRET}",
                f"{PODS}/{SECRET}/log",
                f"{PODS}/{SECRET}/exec",
                TENANTS,
                "/api",
                "/apis",
            ):
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                    answer = await acme(
                        method, f"/tenants/{tenant}{path}", None if method in ("GET", "DELETE") else body
                    )
                    assert answer.status in (403, 404), (method, tenant, path, answer.body)
                    assert b"items" not in answer.body
                    assert b'"uid"' not in answer.body
        for traversal in (
            f"/tenants/acme/../globex{CONFIG_MAPS}", f"/tenants/acme%2f..%2fglobex{CONFIG_MAPS}",
            f"/api/v1/namespaces/..%2f..%2fglobex%2fdefault/configmaps/{SECRET}",
            f"/tenants/acme/tenants/globex{CONFIG_MAPS}",
            f"/api/v1/namespaces/default/configmaps/..%2f..%2f..%2fglobex%2fdefault%2f{SECRET}",
        ):  # fmt: skip
            answer = await acme("GET", traversal)
            assert answer.status in (403, 404) or answer.json["items"] == [], (traversal, answer.body)


async def test_a_refusal_tells_nothing_of_what_is_there(admin: User) -> None:
    """The answers for a tenant, an object, a resource that exist are those for ones that don't, byte for byte."""
    async with neighbours(admin) as (acme, _):
        for method, path in (
            ("GET", f"{CONFIG_MAPS}/NAME"), ("DELETE", f"{CONFIG_MAPS}/NAME"), ("GET", f"{PODS}/NAME/log"),
            ("GET", "/api/v1/namespaces/NAME"), ("PUT", f"{CONFIG_MAPS}/NAME"), ("PATCH", f"{CONFIG_MAPS}/NAME"),
        ):  # fmt: skip
            body = {} if method in ("PUT", "PATCH") else None
            answers = set()
            for tenant in ("globex", "initech"):
                for name in (SECRET, "absent"):
                    answer = await acme(method, f"/tenants/{tenant}{path.replace('NAME', name)}", body)
                    answers.add((answer.status, answer.body.replace(name.encode(), b"NAME")))
            assert len(answers) == 1, answers
            assert {status for status, _ in answers} == {403}


async def test_a_continue_token_is_good_for_its_tenant_only(admin: User) -> None:
    async with neighbours(admin) as (acme, globex):
        token = (await globex("GET", "/api/v1/configmaps", limit="1")).json["metadata"]["continue"]
        stolen = await acme("GET", "/api/v1/configmaps", limit="1", **{"continue": token})
        assert (stolen.status, stolen.json["reason"]) == (400, "BadRequest")
        assert SECRET.encode() not in stolen.body
        own = (await acme("GET", "/api/v1/configmaps", limit="1")).json["metadata"]["continue"]
        raw = orjson.loads(base64.urlsafe_b64decode(own + "=="))
        for start in ("../globex/default/", "../../", "/", "\U0010ffff"):
            forged = base64.urlsafe_b64encode(orjson.dumps([start, *raw[1:]])).decode().rstrip("=")
            answer = await acme("GET", "/api/v1/configmaps", **{"continue": forged})
            assert SECRET.encode() not in answer.body
            assert b"globex" not in answer.body


async def test_a_revision_of_another_tenant_opens_no_watch_on_it(admin: User) -> None:
    async with neighbours(admin) as (acme, globex):
        revision = (await globex("GET", f"{CONFIG_MAPS}/{SECRET}")).revision
        async with acme.watch("/api/v1/configmaps", resourceVersion=str(int(revision) - 1)) as watch:
            await globex("DELETE", f"{CONFIG_MAPS}/{SECRET}")
            await acme("POST", CONFIG_MAPS, {"metadata": {"name": "mine"}})
            assert await watch.names(1) == [("ADDED", "mine")]


async def test_a_bookmark_of_another_tenants_watch_opens_no_watch_on_it(admin: User) -> None:
    async with neighbours(admin) as (acme, globex):
        told = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        async with globex.watch(CONFIG_MAPS, **told) as watch:
            while (event := await watch.next())["type"] != "BOOKMARK":
                assert event["type"] == "ADDED"
        mark = event["object"]["metadata"]["resourceVersion"]
        assert (await globex("POST", CONFIG_MAPS, {"metadata": {"name": f"{SECRET}-after"}})).status == 201
        async with globex.watch(CONFIG_MAPS, resourceVersion=mark) as theirs, acme.watch(
            "/api/v1/configmaps", resourceVersion=mark, allowWatchBookmarks="true"
        ) as mine:  # fmt: skip
            assert await theirs.names(1) == [("ADDED", f"{SECRET}-after")]
            await acme("POST", CONFIG_MAPS, {"metadata": {"name": "mine"}})
            assert await mine.names(1) == [("ADDED", "mine")]


async def test_remaining_counts_are_of_the_own_tenant(admin: User) -> None:
    async with neighbours(admin) as (acme, _):
        everything = len((await acme("GET", "/api/v1/configmaps")).json["items"])
        first = (await acme("GET", "/api/v1/configmaps", limit="1")).json["metadata"]
        assert first["remainingItemCount"] == everything - 1


async def test_a_token_opens_its_own_tenant_only(admin: User, tmp_path: Path) -> None:
    async with neighbours(admin) as (acme, _):
        token = await account_token(acme)
        async with bearer(acme, tmp_path, token) as account:
            assert (await account("GET", "/version")).status == 200
            assert (await account("GET", "/api")).status == 200
            for tenant in ("globex", "system", "nobody", "*"):
                answer = await account("GET", f"/tenants/{tenant}{CONFIG_MAPS}")
                assert answer.status == 403
                assert (await account("GET", f"/tenants/{tenant}/api")).status == 403
        head, payload, signature = token.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        forged = orjson.loads(orjson.dumps(claims).replace(b"acme", b"globex"))
        unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        for tampered in (
            f"{head}.{base64.urlsafe_b64encode(orjson.dumps(forged)).decode().rstrip('=')}.{signature}",
            f"{head}.{payload}.", f"{head}.{payload}", f"{payload}.{payload}.{signature}", "x", "a.b.c", "é",
            f"{unsigned}.{payload}.", "." * 8000,
        ):  # fmt: skip
            async with bearer(acme, tmp_path, tampered) as thief:
                assert (await thief("GET", "/api")).status == 401, tampered[:100]


async def test_without_a_credential_there_is_only_health(admin: User, tmp_path: Path) -> None:
    async with bearer(admin, tmp_path, "") as nobody:
        for path in ("/readyz", "/version"):
            assert (await nobody("GET", path)).status == 200
        for path in (
            "/api",
            "/apis",
            CONFIG_MAPS,
            "/tenants/acme/api",
            "/metrics",
            "/openapi/v3",
            "/nothing",
            "/tenants/acme/version",
            "/tenants/nosuch/version",
        ):
            assert (await nobody("GET", path)).status == 403, path


async def test_a_tenant_made_again_takes_no_old_credential_and_shows_no_old_revision(
    admin: User, tmp_path: Path
) -> None:
    async with neighbours(admin) as (_, globex):
        token = await account_token(globex)
        listed = (await globex("GET", "/api/v1/configmaps", limit="1")).json["metadata"]
        assert (await admin("DELETE", f"{TENANTS}/globex")).status == 200
        async with asyncio.timeout(20):
            while (await admin("GET", f"{TENANTS}/globex")).status != 404:
                await asyncio.sleep(0.05)
        async with await admin.tenant("globex") as again, bearer(admin, tmp_path, token) as account:
            assert (await globex("GET", CONFIG_MAPS)).status == 401
            assert (await globex("GET", "/api")).status == 401
            assert (await account("GET", "/api")).status == 401
            stolen = await again("GET", "/api/v1/configmaps", **{"continue": listed["continue"]})
            assert stolen.status in (400, 410)
            then = await again(
                "GET", "/api/v1/configmaps", resourceVersion=listed["resourceVersion"], resourceVersionMatch="Exact"
            )
            assert then.status == 410
            assert SECRET.encode() not in then.body
            async with again.watch("/api/v1/configmaps", resourceVersion=listed["resourceVersion"]) as watch:
                event = await watch.next()
                assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_an_agent_makes_the_node_and_the_lease_of_its_own_name_only(admin: User) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    async with await admin.component(node_role("n1")) as agent:
        for path in ("/api/v1/nodes", leases):
            for metadata in ({"name": "n2"}, {"generateName": "n1"}):
                refused = await agent("POST", path, {"metadata": metadata})
                assert refused.status == 403, refused.body
            assert (await agent("POST", path, {"metadata": {"name": "n1"}})).status == 201
        names = [item["metadata"]["name"] for item in (await admin("GET", "/api/v1/nodes")).json["items"]]
        assert names == ["n1"]


async def test_a_node_tells_a_tenant_nothing_in_any_form(admin: User) -> None:
    node = {
        "metadata": {
            "name": "n1", "labels": {"kubernetes.io/hostname": "n1", "rack": SECRET}, "annotations": {SECRET: SECRET},
        },
        "spec": {"podCIDR": "192.0.2.0/24", "taints": [{"key": SECRET, "effect": "NoSchedule"}], "providerID": SECRET},
    }  # fmt: skip
    assert (await admin("POST", "/api/v1/nodes", node)).status == 201
    status = {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.77"}], "capacity": {"cpu": "77777"},
        "images": [{"names": [SECRET]}], "volumesInUse": [SECRET],
        "conditions": [{"type": "Ready", "status": "True", "message": SECRET}, {"type": SECRET, "status": "True"}],
        "nodeInfo": {
            "machineID": SECRET, "systemUUID": SECRET, "bootID": SECRET, "kernelVersion": SECRET, "osImage": SECRET,
            "containerRuntimeVersion": SECRET, "kubeletVersion": "v1.36.0", "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }  # fmt: skip
    patched = await admin(
        "PATCH", "/api/v1/nodes/n1/status", {"status": status}, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert patched.status == 200, patched.body
    async with await admin.tenant("acme") as acme:
        seen = [await acme("GET", path) for path in ("/api/v1/nodes", "/api/v1/nodes/n1", "/api/v1/nodes/n1/status")]
        seen += [
            await acme("GET", "/api/v1/nodes", headers={"Accept": accept})
            for accept in (TABLE, TABLE.replace("Table", "PartialObjectMetadataList"))
        ]
        seen.append(await acme("GET", "/api/v1/nodes", headers={"Accept": TABLE}, includeObject="Object"))
        for answer in seen:
            assert answer.status == 200
            for hidden in (SECRET, "192.0.2.", "77777", "rack"):
                assert hidden.encode() not in answer.body.replace(b'"resourceVersion":"', b""), answer.body
        async with acme.watch("/api/v1/nodes") as watch:
            assert SECRET not in str(await watch.next())
        for selector in ({"labelSelector": f"rack={SECRET}"}, {"labelSelector": "rack"}):
            assert (await acme("GET", "/api/v1/nodes", **selector)).json["items"] == []


async def test_discovery_offers_a_tenant_only_what_it_may_use(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        offered = {resource["name"] for resource in (await acme("GET", "/apis/hypernetes.io/v1")).json["resources"]}
        assert offered == {
            "networks", "networks/status", "ports", "ports/status", "users", "users/password", "users/token"
        }  # fmt: skip
        core = {resource["name"] for resource in (await acme("GET", "/api/v1")).json["resources"]}
        assert {"pods", "pods/log", "nodes"} <= core
        assert not {"bindings", "pods/binding"} & core
        for path in ("/apis", "/api"):
            document = (await acme("GET", path, headers={"Accept": aggregated})).body
            assert b'"resource":"tenants"' not in document
            assert b'"bindings"' not in document
        assert b"/tenants" not in (await acme("GET", "/openapi/v3/apis/hypernetes.io/v1")).body
        provider = {resource["name"] for resource in (await admin("GET", "/apis/hypernetes.io/v1")).json["resources"]}
        assert {"tenants", "tenants/certificate"} <= provider
        assert (await admin("GET", "/tenants/acme/apis/hypernetes.io/v1")).body == (
            await acme("GET", "/apis/hypernetes.io/v1")
        ).body
