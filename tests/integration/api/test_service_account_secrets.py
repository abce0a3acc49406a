"""Token Secrets of service accounts, the rotation of a tenant's keys, and tokens that nodes begin with."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from hypernetes.api import times
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki.certificates import key_pem, new_key
from tests.integration.api.servers import User, serving

SECRETS, ACCOUNTS = "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/serviceaccounts"
SYSTEM_SECRETS = "/api/v1/namespaces/kube-system/secrets"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TENANT = "/apis/hypernetes.io/v1/tenants/acme"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
TYPE = "kubernetes.io/service-account-token"


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[User]:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "secrets1") as user:
        yield user
    await store.close()


async def made(answering: Any) -> Any:
    answer = await answering
    assert answer.status in (200, 201), answer.body
    return answer.json


async def status(nobody: User, token: str, path: str = "/api") -> int:
    return (await nobody("GET", path, headers={"Authorization": f"Bearer {token}"})).status


async def filled(owner: User, name: str, other_than: str = "") -> dict[str, str]:
    """The data of a Secret once it has a token, and another one than this."""
    async with asyncio.timeout(20):
        while True:
            found = (await made(owner("GET", f"{SECRETS}/{name}"))).get("data") or {}
            data = {key: base64.b64decode(value).decode() for key, value in found.items()}
            if data.get("token", other_than) != other_than:
                return data
            await asyncio.sleep(0.02)


async def gone(owner: User, path: str) -> None:
    async with asyncio.timeout(20):
        while (await owner("GET", path)).status != 404:
            await asyncio.sleep(0.02)


def secret(name: str, account: str, **annotations: str) -> Any:
    return {"metadata": {"name": name, "annotations": {NAME: account, **annotations}}, "type": TYPE}


async def test_a_secret_gets_a_token_that_counts_as_long_as_it_holds_it(admin: User) -> None:
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        account = await made(acme("POST", ACCOUNTS, {"metadata": {"name": "robot"}}))
        for name in ("one", "two"):
            await made(acme("POST", SECRETS, secret(name, "robot")))
        one, two = await filled(acme, "one"), await filled(acme, "two")
        assert one["namespace"] == "default"
        assert one["ca.crt"].startswith("-----BEGIN CERTIFICATE")
        found = (await made(acme("GET", f"{SECRETS}/one")))["metadata"]["annotations"]
        assert found[UID] == account["metadata"]["uid"]
        headers = {"Authorization": f"Bearer {one['token']}"}
        info = (await made(nobody("POST", SELF, {}, headers=headers)))["status"]["userInfo"]
        assert info["username"] == "system:serviceaccount:default:robot"
        overwritten = {"data": {"token": base64.b64encode(b"another").decode()}}
        merge = {"Content-Type": "application/merge-patch+json"}
        await made(acme("PATCH", f"{SECRETS}/two", overwritten, headers=merge))
        again = await filled(acme, "two", "another")
        assert await status(nobody, two["token"]) == 401, "its Secret holds another one"
        assert await status(nobody, again["token"]) == 200
        await made(acme("DELETE", f"{SECRETS}/one"))
        assert await status(nobody, one["token"]) == 401
        await made(acme("POST", SECRETS, secret("one", "robot")))
        assert (await filled(acme, "one"))["token"] != one["token"]
        assert await status(nobody, one["token"]) == 401
        await made(acme("DELETE", f"{ACCOUNTS}/robot"))
        assert await status(nobody, again["token"]) == 401
        for name in ("one", "two"):
            await gone(acme, f"{SECRETS}/{name}")


async def test_a_secret_waits_for_its_account_and_takes_no_other_ones(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        await made(globex("POST", ACCOUNTS, {"metadata": {"name": "late"}}))
        await made(acme("POST", SECRETS, secret("early", "late")))
        await made(acme("POST", SECRETS, secret("wrong", "default", **{UID: "00000000-34a5-4f9e-9a80-0d8f8a9d3f10"})))
        await gone(acme, f"{SECRETS}/wrong")
        assert "data" not in await made(acme("GET", f"{SECRETS}/early"))
        await made(acme("POST", ACCOUNTS, {"metadata": {"name": "late"}}))
        assert (await filled(acme, "early"))["token"]


async def test_after_a_rotation_former_tokens_count_until_they_end_unless_they_are_ended(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex, acme.anonymous() as nobody:
        await made(acme("POST", SECRETS, secret("lasting", "default")))
        lasting = (await filled(acme, "lasting"))["token"]

        async def granted(owner: User) -> str:
            return (await made(owner("POST", f"{ACCOUNTS}/default/token", {"spec": {}})))["status"]["token"]

        first, theirs = await granted(acme), await granted(globex)
        for asker in (acme, globex):
            assert (await asker("POST", f"{TENANT}/tokenkeys", {"spec": {}})).status == 403
        keys = (await made(admin("POST", f"{TENANT}/tokenkeys", {"spec": {}})))["status"]["keys"]
        assert [bool(each["until"]) for each in keys] == [False, True]
        published = (await made(acme("GET", "/openid/v1/jwks")))["keys"]
        assert [each["kid"] for each in published] == [each["id"] for each in keys]
        assert all("d" not in each for each in published)
        second, anew = await granted(acme), (await filled(acme, "lasting", lasting))["token"]
        assert [await status(nobody, each) for each in (first, second, anew, theirs)] == [200] * 4
        assert await status(nobody, lasting) == 401
        keys = (await made(admin("POST", f"{TENANT}/tokenkeys", {"spec": {"overlapSeconds": 0}})))["status"]["keys"]
        assert len(keys) == 1
        assert [await status(nobody, each) for each in (first, second, theirs)] == [401, 401, 200]
        assert await status(nobody, await granted(acme)) == 200
        assert await status(nobody, (await filled(acme, "lasting", anew))["token"]) == 200
        for bad in (-1, 10**9, "x", True):
            assert (await admin("POST", f"{TENANT}/tokenkeys", {"spec": {"overlapSeconds": bad}})).status == 422
        missing = await admin("POST", "/apis/hypernetes.io/v1/tenants/nobody/tokenkeys", {"spec": {}})
        assert missing.status == 404


def bootstrap(id: str, secret: str = "0123456789abcdef", **data: str) -> Any:
    said = {"token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true", **data}
    return {
        "metadata": {"name": f"bootstrap-token-{id}"}, "type": "bootstrap.kubernetes.io/token", "stringData": said,
    }  # fmt: skip


async def bind(admin: User, role: str, group: str) -> None:
    body = {
        "metadata": {"generateName": "b-"}, "subjects": [{"kind": "Group", "name": group}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    }  # fmt: skip
    await made(admin("POST", BINDINGS, body))


def request(name: str, key: Any, group: str = "system:nodes") -> Any:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    pem = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"],
    }  # fmt: skip
    return {"metadata": {"generateName": "node-"}, "spec": spec}


async def outcome(admin: User, name: str) -> Any:
    async with asyncio.timeout(20):
        while not (found := (await made(admin("GET", f"{REQUESTS}/{name}"))).get("status") or {}).get("certificate"):
            await asyncio.sleep(0.02)
    return found


async def test_a_node_begins_with_a_bootstrap_token_and_goes_on_with_a_certificate(admin: User) -> None:
    group = "system:bootstrappers:rack-7"
    await made(admin("POST", SYSTEM_SECRETS, bootstrap("abcdef", **{"auth-extra-groups": group})))
    shown = {"Authorization": "Bearer abcdef.0123456789abcdef"}
    async with admin.anonymous() as nobody:
        info = (await made(nobody("POST", SELF, {}, headers=shown)))["status"]["userInfo"]
        assert info["username"] == "system:bootstrap:abcdef"
        assert info["groups"] == ["system:bootstrappers", group, "system:authenticated"]
        key = new_key()
        assert (await nobody("POST", REQUESTS, request("system:node:n9", key), headers=shown)).status == 403
        await bind(admin, "system:node-bootstrapper", "system:bootstrappers")
        unapproved = await made(nobody("POST", REQUESTS, request("system:node:n8", key), headers=shown))
        await bind(admin, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", group)
        asked = await made(nobody("POST", REQUESTS, request("system:node:n9", key), headers=shown))
        found = await outcome(admin, asked["metadata"]["name"])
        assert [each["reason"] for each in found["conditions"]] == ["AutoApproved"]
        async with admin.holder(base64.b64decode(found["certificate"]), key_pem(key)) as node:
            await made(node("POST", "/api/v1/nodes", {"metadata": {"name": "n9"}}))
            assert (await node("GET", "/api/v1/secrets")).status == 403
        impostors = [
            await made(nobody("POST", REQUESTS, each, headers=shown))
            for each in (
                request("system:node:n9", new_key()), request("system:admin", key),
                request("system:node:n7", key, "system:masters"),
            )
        ]  # fmt: skip
        last = await made(nobody("POST", REQUESTS, request("system:node:n6", new_key()), headers=shown))
        await outcome(admin, last["metadata"]["name"])
        for each in (unapproved, *impostors):
            left = (await made(admin("GET", f"{REQUESTS}/{each['metadata']['name']}"))).get("status") or {}
            assert not left.get("certificate")
        for path in ("/api/v1/nodes", SYSTEM_SECRETS, "/tenants/*/api/v1/pods"):
            assert (await nobody("GET", path, headers=shown)).status == 403
        await made(admin("DELETE", f"{SYSTEM_SECRETS}/bootstrap-token-abcdef"))
        assert (await nobody("GET", "/api", headers=shown)).status == 401


async def test_a_bootstrap_token_that_is_not_as_it_must_be_opens_nothing(admin: User) -> None:
    past = times.format_time(times.now() - timedelta(seconds=1))
    for body in (
        bootstrap("aaaaaa", expiration=past), bootstrap("bbbbbb", **{"usage-bootstrap-authentication": "false"}),
        bootstrap("cccccc", **{"auth-extra-groups": "system:masters"}), bootstrap("dddddd", expiration="soon"),
        {**bootstrap("eeeeee"), "type": "Opaque"}, bootstrap("ffffff", secret="another-secret-0"),
        bootstrap("gggggg", **{"token-id": "abcdef"}),
    ):  # fmt: skip
        await made(admin("POST", SYSTEM_SECRETS, body))
    future = times.format_time(times.now() + timedelta(hours=1))
    await made(admin("POST", SYSTEM_SECRETS, bootstrap("zzzzzz", expiration=future)))
    async with await admin.tenant("acme") as acme, admin.anonymous() as nobody:
        await made(acme("POST", SYSTEM_SECRETS, bootstrap("tenant")))
        for id in ("aaaaaa", "bbbbbb", "cccccc", "dddddd", "eeeeee", "ffffff", "gggggg", "tenant", "nobody"):
            assert await status(nobody, f"{id}.0123456789abcdef") == 401, id
        assert await status(nobody, "zzzzzz.0123456789abcdef") == 200
        assert await status(nobody, "zzzzzz.0123456789abcdeX") == 401
