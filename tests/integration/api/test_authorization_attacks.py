"""Attempts to get what somebody was not given. Each is refused, and beside each the same is done by who may."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey

from hypernetes.api import tenancy, times
from hypernetes.apiserver.authn import serviceaccounts
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import node_role
from hypernetes.pki.certificates import key_pem, new_key
from tests.integration.api.servers import Answer, User, serving

Object = dict[str, Any]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
PODS, SECRETS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
EVENTS, PORTS = "/api/v1/namespaces/default/events", "/apis/hypernetes.io/v1/ports"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
REVIEWS, ACCESS = "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1"
WORD = "xyzzy"  # in every secret
HIDDEN = base64.b64encode(WORD.encode())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "state.db"))
    yield opened
    await opened.close()


@pytest.fixture
async def admin(store: Store, tmp_path: Path) -> AsyncIterator[User]:
    async with serving(store, tmp_path, "attacks") as user:
        yield user


class Bearer:
    """Somebody with a token."""

    def __init__(self, nobody: User, token: str) -> None:
        self._nobody, self._headers = nobody, {"Authorization": f"Bearer {token}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        return await self._nobody(method, path, body, headers=self._headers)


async def made(answering: Any) -> Object:
    answer = await answering
    assert answer.status in (200, 201), answer.body
    body: Object = answer.json
    return body


async def bind(user: User, role: str, *subjects: Object, namespace: str = "default", kind: str = "ClusterRole") -> None:
    body = {
        "metadata": {"generateName": "b-"}, "subjects": list(subjects),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
    }  # fmt: skip
    where = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    await made(user("POST", where, body))


def person(name: str) -> Object:
    return {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}


def pod(name: str, secret: str, account: str = "default") -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": account, "automountServiceAccountToken": False,
            "volumes": [{"name": "v", "secret": {"secretName": secret}}],
            "containers": [{"name": "c", "image": "i"}],
        },
    }  # fmt: skip


@asynccontextmanager
async def nodes(admin: User) -> AsyncIterator[tuple[User, User, User]]:
    """acme, and the agents of n1 and n2: acme has the pods one and two there, each with a secret of its name."""
    async with AsyncExitStack() as stack:
        acme = await stack.enter_async_context(await admin.tenant("acme"))
        for name, node in (("one", "n1"), ("two", "n2")):
            await made(admin("POST", "/api/v1/nodes", {"metadata": {"name": node}}))
            await made(acme("POST", SECRETS, {"metadata": {"name": name}, "stringData": {"word": WORD}}))
            await made(acme("POST", ACCOUNTS, {"metadata": {"name": name}}))
            await made(acme("POST", PODS, pod(name, name, name)))
            binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
            await made(admin("POST", f"/tenants/acme{PODS}/{name}/binding", binding))
        one, two = [await stack.enter_async_context(await admin.component(node_role(node))) for node in ("n1", "n2")]
        yield acme, one, two


async def refused(answering: Any, *statuses: int) -> None:
    answer = await answering
    assert answer.status in (statuses or (403,)), answer.body
    assert HIDDEN not in answer.body


async def test_an_agent_reads_no_secret_but_those_of_its_own_pods(admin: User) -> None:
    async with nodes(admin) as (_, one, two):
        for agent, own, other in ((one, "one", "two"), (two, "two", "one")):
            assert (await made(agent("GET", f"/tenants/acme{SECRETS}/{own}")))["data"]["word"]
            await refused(agent("GET", f"/tenants/acme{SECRETS}/{other}"))
            for path in ("/tenants/acme/api/v1/secrets", "/tenants/*/api/v1/secrets", f"/tenants/acme{SECRETS}"):
                await refused(agent("GET", path))
                await refused(agent("GET", path, watch="true", fieldSelector=f"metadata.name={other}"))
            await refused(agent("GET", f"/tenants/acme{SECRETS}/{own}/..%2f{other}"), 403, 404)
            await refused(agent("GET", f"/tenants/acme/api/v1/watch/namespaces/default/secrets/{other}"))


async def test_an_agent_lists_the_pods_of_its_own_node_only(admin: User) -> None:
    async with nodes(admin) as (_, one, _):
        listed = await made(one("GET", "/tenants/*/api/v1/pods", fieldSelector="spec.nodeName=n1"))
        assert [item["metadata"]["name"] for item in listed["items"]] == ["one"]
        for selector in ("", "spec.nodeName=n2", "spec.nodeName!=n2", "spec.nodeName=", "status.phase=Pending"):
            await refused(one("GET", "/tenants/*/api/v1/pods", **({"fieldSelector": selector} if selector else {})))
        twice = "fieldSelector=spec.nodeName%3Dn2&fieldSelector=spec.nodeName%3Dn1"
        await refused(one("GET", f"/tenants/acme/api/v1/pods?{twice}"))
        await refused(one("GET", f"/tenants/acme{PODS}/two"))
        assert (await one("GET", f"/tenants/acme{PODS}/none")).status == 404


async def test_an_agent_writes_nothing_about_another_nodes_pods(admin: User) -> None:
    merge = {"Content-Type": "application/merge-patch+json"}
    status = {"status": {"phase": "Failed", "message": "gone"}}
    async with nodes(admin) as (acme, one, _):
        await made(one("PATCH", f"/tenants/acme{PODS}/one/status", status, headers=merge))
        await refused(one("PATCH", f"/tenants/acme{PODS}/two/status", status, headers=merge))
        await refused(one("PATCH", f"/tenants/acme{PODS}/one", {"metadata": {"labels": {"a": "b"}}}, headers=merge))
        await refused(one("DELETE", f"/tenants/acme{PODS}/two"))
        await refused(one("POST", f"/tenants/acme{PODS}", pod("three", "one")))
        await refused(one("POST", f"/tenants/acme{PODS}/two/binding", {"target": {"kind": "Node", "name": "n1"}}))
        uids = {name: (await acme("GET", f"{PODS}/{name}")).json["metadata"]["uid"] for name in ("one", "two")}

        def about(name: str, uid: str = "") -> Object:
            reference = {"kind": "Pod", "namespace": "default", "name": name, "uid": uid or uids[name]}
            return {"metadata": {"generateName": "e-"}, "involvedObject": reference, "reason": "R", "type": "Normal"}

        def port(name: str, node: str, address: str, mac: str = "") -> Object:
            reference = {"kind": "Pod", "namespace": "default", "name": name, "uid": uids[name]}
            spec = {
                "network": "default", "subnet": "default", "address": address, "nodeName": node, "podRef": reference,
                "macAddress": mac or tenancy.mac_address(uids[name]),
            }  # fmt: skip
            return {"metadata": {"name": f"default.{address}"}, "spec": spec}

        await made(one("POST", f"/tenants/acme{EVENTS}", about("one")))
        await refused(one("POST", f"/tenants/acme{EVENTS}", about("two")))
        await refused(one("POST", f"/tenants/acme{EVENTS}", about("one", "another-uid")))
        await made(one("POST", f"/tenants/acme{PORTS}", port("one", "n1", "10.0.0.5")))
        await refused(one("POST", f"/tenants/acme{PORTS}", port("one", "n1", "10.0.0.9", "02:00:00:00:00:01")))
        await refused(one("POST", f"/tenants/acme{PORTS}", port("two", "n2", "10.0.0.6")))
        await refused(one("POST", f"/tenants/acme{PORTS}", port("two", "n1", "10.0.0.7")))
        await made(admin("POST", f"/tenants/acme{PORTS}", port("two", "n2", "10.0.0.8")))
        await refused(one("DELETE", f"/tenants/acme{PORTS}/default.10.0.0.8"))
        await made(one("DELETE", f"/tenants/acme{PORTS}/default.10.0.0.5"))


async def test_an_agent_gets_tokens_that_end_with_its_own_pods_and_no_others(admin: User) -> None:
    async with nodes(admin) as (_, one, _):

        def asked(name: str | None) -> Object:
            reference = {} if name is None else {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name}}
            return {"spec": reference}

        token = (await made(one("POST", f"/tenants/acme{ACCOUNTS}/one/token", asked("one"))))["status"]["token"]
        async with admin.anonymous() as nobody:
            assert (await Bearer(nobody, token)("GET", "/api")).status == 200
        await refused(one("POST", f"/tenants/acme{ACCOUNTS}/one/token", asked(None)))
        await refused(one("POST", f"/tenants/acme{ACCOUNTS}/one/token", asked("two")), 400, 403)
        await refused(one("POST", f"/tenants/acme{ACCOUNTS}/two/token", asked("two")))
        await refused(one("POST", f"/tenants/acme{ACCOUNTS}/default/token", asked(None)))


async def test_a_name_or_a_group_of_the_clusters_own_gives_nothing_in_a_tenant_or_by_impersonation(admin: User) -> None:
    async with nodes(admin) as (acme, one, _):
        async with await admin.person("acme", "system:node:n1", "system:nodes") as impostor:
            for path in (f"/tenants/acme{SECRETS}/one", f"{SECRETS}/one", "/tenants/*/api/v1/pods"):
                await refused(impostor("GET", path, fieldSelector="spec.nodeName=n1") if "pods" in path
                              else impostor("GET", path))  # fmt: skip
        async with await admin.person("acme", "x", "system:hn-controllers", "system:kube-controller-manager") as other:
            await refused(other("GET", f"{SECRETS}/one"))
        for name in ("system:hn-controllers", "system:hn-scheduler", "system:node:n1"):
            headers = {"Impersonate-User": name, "Impersonate-Group": "system:nodes"}
            await refused(admin("GET", f"/tenants/acme{SECRETS}/one", headers=headers))
            await refused(admin("GET", "/tenants/*/api/v1/pods", headers=headers, fieldSelector="spec.nodeName=n1"))
        assert (await one("GET", f"/tenants/acme{SECRETS}/one")).status == 200
        assert (await acme("GET", f"{SECRETS}/one")).status == 200


async def test_who_may_impersonate_one_thing_may_not_impersonate_another(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "helper") as helper:
        rules = [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["jane"]}]
        await made(acme("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "as-jane"}, "rules": rules}))
        await bind(acme, "as-jane", person("helper"), namespace="")
        await bind(acme, "view", person("jane"))
        await made(acme("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"word": WORD}}))
        jane = {"Impersonate-User": "jane"}
        assert (await helper("GET", PODS, headers=jane)).status == 200
        await refused(helper("GET", PODS))
        await refused(helper("GET", f"{SECRETS}/s", headers=jane))
        for headers in (
            {"Impersonate-User": "acme-admin"}, {**jane, "Impersonate-Group": "system:masters"},
            {**jane, "Impersonate-Uid": "1"}, {**jane, "Impersonate-Extra-Scopes": "all"},
            {"Impersonate-User": "system:serviceaccount:default:default"},
        ):  # fmt: skip
            await refused(helper("GET", f"{SECRETS}/s", headers=headers))
        await refused(helper("GET", f"{SECRETS}/s", headers={"Impersonate-Group": "system:masters"}), 400)
        masters = {**jane, "Impersonate-Group": "system:masters"}
        assert (await acme("GET", f"{SECRETS}/s", headers=masters)).status == 200
        await refused(acme("GET", "/tenants/system/api/v1/nodes", headers=masters))


async def test_a_binding_in_one_namespace_opens_no_other_by_any_path(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        await bind(acme, "admin", person("jane"))
        for namespace in ("default", "kube-system"):
            body = {"metadata": {"name": "s"}, "stringData": {"word": WORD}}
            await made(acme("POST", f"/api/v1/namespaces/{namespace}/secrets", body))
        assert (await jane("GET", f"{SECRETS}/s")).status == 200
        secrets, selector = "/api/v1/namespaces/default/secrets", "fieldSelector=metadata.namespace%3Dkube-system"
        for path in (
            "/api/v1/namespaces/kube-system/secrets/s", "/api/v1/secrets", "/api/v1/namespaces/kube-system/secrets",
            "/api/v1/namespaces/default/../kube-system/secrets/s", "/api/v1/namespaces/KUBE-SYSTEM/secrets/s",
            "/api/v1/namespaces/default%2f..%2fkube-system/secrets/s", "/api/v1/namespaces//secrets/s",
            f"{secrets}/..%2f..%2fkube-system%2fsecrets%2fs", "/api/v1/namespaces/%2e%2e/kube-system/secrets/s",
            "/api/v1/watch/namespaces/kube-system/secrets", "//api/v1/namespaces/kube-system/secrets/s",
            "/api/v1/./namespaces/kube-system/secrets/s", f"{secrets}?namespace=kube-system&{selector}",
        ):  # fmt: skip
            answer = await jane("GET", path)
            assert HIDDEN not in answer.body, path
            assert answer.status in (403, 404) or answer.json["items"] == [], (path, answer.body)


async def test_nobody_gives_away_more_than_they_have(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        await bind(acme, "admin", person("jane"))
        roles, bindings = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
        rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
        await made(jane("POST", roles, {"metadata": {"name": "own"}, "rules": [rule]}))
        await bind(jane, "view", person("john"))
        for wanted in ({**rule, "verbs": ["*"]}, {**rule, "resources": ["nodes"]}, {**rule, "apiGroups": ["*"]},
                       {**rule, "verbs": ["escalate"]}, {**rule, "resources": ["*"]}):  # fmt: skip
            await refused(jane("POST", roles, {"metadata": {"name": "more"}, "rules": [wanted]}))
            merge = {"Content-Type": "application/merge-patch+json"}
            await refused(jane("PATCH", f"{roles}/own", {"rules": [wanted]}, headers=merge))
        body = {
            "metadata": {"name": "b"}, "subjects": [person("jane")],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        }  # fmt: skip
        await refused(jane("POST", bindings, body))
        await refused(jane("POST", f"{RBAC}/clusterrolebindings", body))
        labels = {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}
        aggregated = {"metadata": {"name": "x", "labels": labels}, "rules": [{**rule, "verbs": ["*"]}]}
        await refused(jane("POST", f"{RBAC}/clusterroles", aggregated))
        await made(acme("POST", bindings, body))


async def test_a_review_tells_nothing_of_another_tenant(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        issued = await made(globex("POST", f"{ACCOUNTS}/default/token", {"spec": {}}))
        spec = {"spec": {"token": issued["status"]["token"]}}
        known = (await made(globex("POST", f"{REVIEWS}/tokenreviews", spec)))["status"]
        assert known["authenticated"] is True
        assert known["user"]["username"] == "system:serviceaccount:default:default"
        unknown = (await made(acme("POST", f"{REVIEWS}/tokenreviews", spec)))["status"]
        forged = {"spec": {"token": issued["status"]["token"][:-4] + "AAAA"}}
        assert unknown == (await made(acme("POST", f"{REVIEWS}/tokenreviews", forged)))["status"]
        assert unknown["user"] == {}
        await bind(globex, "cluster-admin", person("jane"), namespace="")
        asked = {"spec": {"user": "jane", "resourceAttributes": {"verb": "list", "resource": "secrets"}}}
        assert (await made(globex("POST", f"{ACCESS}/subjectaccessreviews", asked)))["status"]["allowed"] is True
        assert (await made(acme("POST", f"{ACCESS}/subjectaccessreviews", asked)))["status"]["allowed"] is False
        for tenant in ("globex", "nosuch", "system"):
            await refused(acme("POST", f"/tenants/{tenant}{ACCESS}/subjectaccessreviews", asked))
            await refused(acme("POST", f"/tenants/{tenant}{REVIEWS}/tokenreviews", spec))


async def test_a_token_that_was_tampered_with_opens_nothing(admin: User, store: Store) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex, admin.anonymous() as nobody:
        good = (await made(acme("POST", f"{ACCOUNTS}/default/token", {"spec": {}})))["status"]["token"]
        theirs = (await made(globex("POST", f"{ACCOUNTS}/default/token", {"spec": {}})))["status"]["token"]
        elsewhere = {"spec": {"audiences": ["vault"]}}
        vault = (await made(acme("POST", f"{ACCOUNTS}/default/token", elsewhere)))["status"]["token"]
        uid = (await made(admin("GET", "/apis/hypernetes.io/v1/tenants/acme")))["metadata"]["uid"]
        item = await store.get(f"/hypernetes/attacks/~tokenkeys/acme/{uid}")
        assert item is not None
        key = ECKey.import_key(item.value)
        token = serviceaccounts.verify(good, key, "acme")
        past = replace(token, issued_at=times.now() - timedelta(hours=2), expires_at=times.now() - timedelta(hours=1))
        later = replace(token, issued_at=times.now() + timedelta(hours=1), expires_at=times.now() + timedelta(hours=2))
        head, payload, signature = good.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        masters = base64.urlsafe_b64encode(orjson.dumps({**claims, "sub": "acme-admin"})).decode().rstrip("=")
        unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        assert (await Bearer(nobody, good)("GET", "/api")).status == 200
        assert (await Bearer(nobody, theirs)("GET", "/api")).status == 200
        for bad in (
            serviceaccounts.sign(past, key), serviceaccounts.sign(later, key), vault, f"{head}.{masters}.{signature}",
            f"{unsigned}.{payload}.", f"{unsigned}.{payload}.{signature}", f"{head}.{payload}.", f"{head}.{payload}",
            f"{head}.{payload}.{theirs.split('.')[2]}", serviceaccounts.sign(token, ECKey.generate_key("P-256")),
            serviceaccounts.sign(replace(token, tenant="globex"), key), "x" * 20_000,
        ):  # fmt: skip
            assert (await Bearer(nobody, bad)("GET", "/api")).status == 401, bad[:80]
        huge = await Bearer(nobody, "x" * 100_000)("GET", "/api")
        assert huge.status in (400, 401, 431)
        assert (await Bearer(nobody, theirs)("GET", f"/tenants/acme{SECRETS}")).status == 403
        await made(acme("DELETE", f"{ACCOUNTS}/default"))
        assert (await Bearer(nobody, good)("GET", "/api")).status == 401


async def asked(user: User, key: Any, name: str, *groups: str, names: list[x509.GeneralName] | None = None) -> Answer:
    """The answer to a request for a client's certificate."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    spec = {
        "request": base64.b64encode(pem).decode(), "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }  # fmt: skip
    return await user("POST", REQUESTS, {"metadata": {"generateName": "r-"}, "spec": spec})


async def approve(user: User, request: Object) -> Answer:
    decision = {"conditions": [{"type": "Approved", "status": "True", "reason": "R", "message": "m"}]}
    return await user("PUT", f"{REQUESTS}/{request['metadata']['name']}/approval", {**request, "status": decision})


async def outcome(user: User, request: Object) -> Object:
    """The status of an approved request, once something has come of it."""
    async with asyncio.timeout(20):
        while True:
            status: Object = (await made(user("GET", f"{REQUESTS}/{request['metadata']['name']}")))["status"]
            if status.get("certificate") or any(each["type"] == "Failed" for each in status["conditions"]):
                return status
            await asyncio.sleep(0.05)


async def test_a_certificate_request_makes_a_user_of_the_own_tenant_and_nothing_more(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        await made(acme("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"word": WORD}}))
        key = new_key()
        request = await made(asked(acme, key, "jane", "dev"))
        await made(approve(acme, request))
        certificate = base64.b64decode((await outcome(acme, request))["certificate"])
        async with acme.holder(certificate, key_pem(key)) as jane:
            info = (await made(jane("POST", f"{REVIEWS}/selfsubjectreviews", {})))["status"]["userInfo"]
            assert (info["username"], info["groups"]) == ("jane", ["dev", "system:authenticated"])
            await refused(jane("GET", f"{SECRETS}/s"))
            await refused(jane("GET", f"/tenants/globex{SECRETS}"))
            await bind(acme, "admin", person("jane"))
            assert (await jane("GET", f"{SECRETS}/s")).status == 200
            await bind(globex, "admin", person("jane"))
            await refused(jane("GET", f"/tenants/globex{SECRETS}"))
        uid = (await made(admin("GET", "/apis/hypernetes.io/v1/tenants/globex")))["metadata"]["uid"]
        uri = x509.UniformResourceIdentifier(f"hypernetes://attacks/tenants/globex/{uid}")
        for group in ("system:masters", "keystone:role:admin"):
            await refused(asked(acme, key, "jane", group))
        request = await made(asked(acme, key, "jane", names=[uri]))
        await made(approve(acme, request))
        status = await outcome(acme, request)
        assert "certificate" not in status
        assert [each["type"] for each in status["conditions"]] == ["Approved", "Failed"]


async def test_only_who_may_approve_for_a_signer_approves(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        rules = [{"verbs": ["*"], "apiGroups": ["certificates.k8s.io"],
                  "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"]}]  # fmt: skip
        await made(acme("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "requests"}, "rules": rules}))
        await bind(acme, "requests", person("jane"), namespace="")
        request = await made(asked(jane, new_key(), "john"))
        assert request["spec"]["username"] == "jane"
        await refused(approve(jane, request))
        certificate = {"status": {"certificate": base64.b64encode(b"anything").decode()}}
        merge = {"Content-Type": "application/merge-patch+json"}
        path = f"{REQUESTS}/{request['metadata']['name']}/status"
        await refused(jane("PATCH", path, certificate, headers=merge))
        await bind(acme, "system:certificates.k8s.io:kube-apiserver-client-approver", person("jane"), namespace="")
        await made(approve(jane, request))
        assert (await outcome(acme, request))["certificate"]


async def test_who_may_change_may_not_create_by_the_same_request(admin: User) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        rules = [{"verbs": ["get", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}]
        await made(acme("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "renews"}, "rules": rules}))
        await bind(acme, "renews", person("jane"))
        lease = await made(acme("PUT", f"{leases}/there", {"metadata": {"name": "there"}, "spec": {}}))
        await made(jane("PUT", f"{leases}/there", {**lease, "spec": {"holderIdentity": "jane"}}))
        await refused(jane("PUT", f"{leases}/new", {"metadata": {"name": "new"}, "spec": {}}))


async def test_who_may_read_everything_of_a_pod_may_not_enter_it(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.person("acme", "jane") as jane:
        await made(acme("POST", PODS, pod("p", "s")))
        rules = [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/*", "pods/exec", "pods/log"]}
        ]
        await made(acme("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "reads"}, "rules": rules}))
        await bind(acme, "reads", person("jane"))
        assert (await jane("GET", f"{PODS}/p")).status == 200
        for subresource in ("exec", "attach"):
            await refused(jane("GET", f"{PODS}/p/{subresource}", command="sh", stdout="true"))
        entering = await acme("GET", f"{PODS}/p/exec", command="sh", stdout="true")
        assert entering.status not in (401, 403), entering.body
