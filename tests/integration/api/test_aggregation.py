"""APIServices: parts of a tenant's API that a server in its pods serves; what that server may do wrong harms nobody."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hypernetes.apiserver.aggregation import availability, offers
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import CONTROLLERS, FRONT_PROXY_CLIENT
from tests.integration.api import podserver
from tests.integration.api.podserver import Node
from tests.integration.api.servers import User, serving

Json = dict[str, Any]

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
METRICS = "/apis/metrics.example.com/v1"
ONE = f"{METRICS}/namespaces/default/pods/*/requests"
_AGGREGATED = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


class Backend:
    """A server of metrics. `answers` are what it does else, by path."""

    def __init__(self) -> None:
        self.seen: list[web.BaseRequest] = []
        self.answers: dict[str, Callable[[], Any]] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        if request.path in self.answers:
            answer: web.StreamResponse = await self.answers[request.path]()
            return answer
        if request.path == METRICS:
            row = {"name": "pods/requests", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
            car = {
                "name": "cars",
                "singularName": "car",
                "namespaced": False,
                "kind": "Car",
                "verbs": ["list", "create"],
            }
            return web.json_response({"kind": "APIResourceList", "resources": [row, car]})
        if request.path == f"/openapi/v3{METRICS}":
            return web.json_response({"openapi": "3.0.0", "paths": {f"{METRICS}/cars": {}}})
        if request.path == "/openapi/v2":
            paths = {f"{METRICS}/cars": {}, "/api/v1/pods": {"x-stolen": True}}
            types = {"com.example.Car": {"type": "object"}, "io.k8s.api.core.v1.Pod": {"type": "string"}}
            return web.json_response({"swagger": "2.0", "paths": paths, "definitions": types})
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"type":"ADDED"}\n')
            await asyncio.sleep(3600)
        return web.json_response({"path": request.rel_url.raw_path, "body": (await request.read()).decode()})

    def last(self) -> web.BaseRequest:
        return [each for each in self.seen if each.headers["X-Remote-User"] != "system:kube-aggregator"][-1]


class Stage:
    def __init__(self, admin: User, acme: User, node: Node, backend: Backend, bundle: str, directory: Path) -> None:
        self.admin, self.acme, self.node, self.backend = admin, acme, node, backend
        self.bundle, self.directory = bundle, directory

    def service(self, **spec: Any) -> Json:
        given = {
            "group": "metrics.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"namespace": "default", "name": "metrics"}, "caBundle": self.bundle, **spec,
        }  # fmt: skip
        return {"metadata": {"name": f"{given['version']}.{given['group']}"}, "spec": given}

    async def until(self, status: str, reason: str, name: str = "v1.metrics.example.com") -> Json:
        async with asyncio.timeout(20):
            while True:
                found: Json = (await self.acme("GET", f"{SERVICES}/{name}")).json
                conditions = found.get("status", {}).get("conditions", [])
                if [(each["status"], each["reason"]) for each in conditions] == [(status, reason)]:
                    condition: Json = conditions[0]
                    return condition
                await asyncio.sleep(0.05)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(availability, "INTERVAL_SECONDS", 0.5)
    async with AsyncExitStack() as stack:
        store = await open_store(str(tmp_path / "state.db"))
        stack.push_async_callback(store.close)
        admin = await stack.enter_async_context(serving(store, tmp_path, "abc123"))
        acme = await stack.enter_async_context(await admin.tenant("acme"))
        node = await stack.enter_async_context(podserver.a_node(admin))
        tls, authority = podserver.certificate(tmp_path, "metrics.default.svc")
        tls.verify_mode = podserver.ssl.CERT_REQUIRED
        tls.load_verify_locations(admin._pki.front_proxy_ca)
        backend = Backend()
        port = await stack.enter_async_context(podserver.listening(backend, tls))
        await podserver.a_service(admin, node, "acme", "metrics", port)
        bundle = base64.b64encode(authority).decode()
        yield Stage(admin, acme, node, backend, bundle, tmp_path)


async def registered(stage: Stage, **spec: Any) -> None:
    made = await stage.acme("POST", SERVICES, stage.service(**spec))
    assert made.status == 201, made.body


async def test_a_request_is_carried_to_the_server_with_who_asks(stage: Stage) -> None:
    assert (await stage.acme("GET", ONE)).status == 404
    await registered(stage)
    await stage.until("True", "Passed")
    forged = {"X-Remote-User": "root", "X-Remote-Group": "system:masters", "Authorization": ""}
    async with await stage.admin.person("acme", "jane", "system:masters", "staff") as jane:
        answer = await jane("POST", f"{METRICS}/cars", {"kind": "Car"}, headers=forged, dryRun="All")
    assert (answer.status, answer.json) == (200, {"path": f"{METRICS}/cars", "body": '{"kind":"Car"}'})
    seen = stage.backend.last()
    assert seen.headers.getall("X-Remote-User") == ["jane"]
    assert seen.headers.getall("X-Remote-Group") == ["system:masters", "staff", "system:authenticated"]
    assert (seen.query_string, "Authorization" in seen.headers) == ("dryRun=All", False)
    assert seen.transport is not None
    peer = seen.transport.get_extra_info("peercert")
    assert dict(pair for pairs in peer["subject"] for pair in pairs)["commonName"] == FRONT_PROXY_CLIENT
    assert {address for _, address in stage.node.machine.asked} == {"10.0.0.5"}, "the pod's own address, by its agent"

    async with stage.acme.watch(f"{METRICS}/cars") as watch:
        assert await watch.next() == {"type": "ADDED"}
    assert (await stage.admin("GET", f"/tenants/acme{ONE}")).status == 200
    assert stage.backend.last().headers["X-Remote-User"] == "system:hypernetes:provider"
    async with await stage.admin.component(CONTROLLERS) as controllers:
        assert (await controllers("GET", f"/tenants/acme{ONE}")).status == 200
    account = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
    assert stage.backend.last().headers["X-Remote-User"] == account
    assert (await stage.acme("GET", f"{METRICS}/namespaces/default/pods/..%2fx/requests")).status == 400


async def test_only_who_may_is_carried(stage: Stage) -> None:
    await registered(stage)
    await stage.until("True", "Passed")
    async with await stage.admin.person("acme", "joe") as joe:
        assert (await joe("GET", ONE)).status == 403
        rule = {"apiGroups": ["metrics.example.com"], "resources": ["pods/requests"], "verbs": ["get"]}
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        await stage.acme("POST", f"{rbac}/roles", {"metadata": {"name": "reads"}, "rules": [rule]})
        binding = {
            "metadata": {"name": "joe"}, "subjects": [{"kind": "User", "name": "joe"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"},
        }  # fmt: skip
        await stage.acme("POST", f"{rbac}/rolebindings", binding)
        assert (await joe("GET", ONE)).status == 200
        assert (await joe("GET", f"{METRICS}/cars")).status == 403


async def test_discovery_and_openapi_tell_of_it_to_its_tenant_alone(stage: Stage) -> None:
    before = {path: (await stage.admin("GET", path)).body for path in ("/apis", "/openapi/v3")}
    await registered(stage)
    await stage.until("True", "Passed")
    names = [group["name"] for group in (await stage.acme("GET", "/apis")).json["groups"]]
    assert (names[0], names[-1]) == ("apiregistration.k8s.io", "metrics.example.com")
    listed = (await stage.acme("GET", METRICS)).json
    assert [row["name"] for row in listed["resources"]] == ["cars", "pods/requests"]
    aggregated = (await stage.acme("GET", "/apis", headers=_AGGREGATED)).json["items"][-1]
    (version,) = aggregated["versions"]
    assert (version["version"], version["freshness"]) == ("v1", "Current")
    assert [each["resource"] for each in version["resources"]] == ["cars", "pods"]
    assert version["resources"][1]["subresources"][0]["subresource"] == "requests"
    index = (await stage.acme("GET", "/openapi/v3")).json["paths"]
    url = index[METRICS[1:]]["serverRelativeURL"]
    assert (await stage.acme("GET", *url.split("?")[:1])).json["paths"] == {f"{METRICS}/cars": {}}
    merged = (await stage.acme("GET", "/openapi/v2")).json
    assert f"{METRICS}/cars" in merged["paths"]
    assert "x-stolen" not in merged["paths"]["/api/v1/pods"], "of its own group it may speak, and of no other"
    assert merged["definitions"]["io.k8s.api.core.v1.Pod"]["type"] == "object"

    async with await stage.admin.tenant("globex") as globex:
        assert "metrics.example.com" not in (await globex("GET", "/apis")).body.decode()
        assert (await globex("GET", METRICS)).status == 404
        assert (await globex("GET", ONE)).status == 404
        assert (await globex("GET", f"{SERVICES}/v1.metrics.example.com")).status == 404
        assert (await globex("GET", f"/tenants/acme{ONE}")).status == 403
    assert {path: (await stage.admin("GET", path)).body for path in before} == before
    assert (await stage.acme("DELETE", f"{SERVICES}/v1.metrics.example.com")).status == 200
    assert (await stage.acme("GET", METRICS)).status == 404


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"group": "apps"}, "spec.group"),
        ({"group": "metrics.k8s.io"}, "spec.group"),
        ({"group": "hypernetes.io"}, "spec.group"),
        ({"group": "apiextensions.k8s.io"}, "spec.group"),
        ({"groupPriorityMinimum": 20001}, "spec.groupPriorityMinimum"),
        ({"versionPriority": 0}, "spec.versionPriority"),
        ({"insecureSkipTLSVerify": True}, "spec.insecureSkipTLSVerify"),
        ({"caBundle": base64.b64encode(b"no").decode()}, "spec.caBundle"),
        ({"service": {"namespace": "default"}}, "spec.service.name"),
        ({"service": None}, "spec.caBundle"),
    ],
)
async def test_what_cant_be_registered(stage: Stage, spec: Json, field: str) -> None:
    refused = await stage.acme("POST", SERVICES, stage.service(**spec))
    assert (refused.status, [cause["field"] for cause in refused.json["details"]["causes"]]) == (422, [field])


async def test_who_isnt_the_one_of_the_bundle_is_not_asked(stage: Stage) -> None:
    _, other = podserver.certificate(stage.directory, "other.default.svc")
    await registered(stage, caBundle=base64.b64encode(other).decode())
    await stage.until("False", "FailedDiscoveryCheck")
    assert (await stage.acme("GET", ONE)).status == 503
    patch = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
    merge = {"Content-Type": "application/merge-patch+json"}
    await stage.acme("PATCH", f"{SERVICES}/v1.metrics.example.com", patch, headers=merge)
    await stage.until("True", "Passed")
    assert (await stage.acme("GET", ONE)).status == 200


async def test_what_stands_between_certificates_may_be_of_any_language(stage: Stage) -> None:
    bundle = "# Főtanúsítvány\n".encode() + base64.b64decode(stage.bundle)
    await registered(stage, caBundle=base64.b64encode(bundle).decode())
    await stage.until("True", "Passed")
    assert (await stage.acme("GET", ONE)).status == 200


async def test_a_check_that_fails_in_a_new_way_ends_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await registered(stage)
    await stage.until("True", "Passed")
    rows = availability.offers.rows

    def fail(document: bytes) -> Any:
        if b"bad.example.com" in document or b"v2" in document:
            raise TypeError("of a kind that nobody thought of")
        return rows(document)

    monkeypatch.setattr(availability.offers, "rows", fail)
    await registered(stage, version="v2")
    await stage.until("False", "FailedDiscoveryCheck", "v2.metrics.example.com")
    assert (await stage.acme("GET", ONE)).status == 200


async def test_without_a_pod_behind_it_it_is_told_why(stage: Stage) -> None:
    await registered(stage, service={"namespace": "default", "name": "nobody"})
    condition = await stage.until("False", "ServiceNotFound")
    assert condition["message"] == 'service/nobody in "default" is not present'
    assert (await stage.acme("GET", ONE)).status == 503
    assert (await stage.acme("GET", METRICS)).status == 503
    aggregated = (await stage.acme("GET", "/apis", headers=_AGGREGATED)).json["items"][-1]
    assert aggregated["versions"] == [{"version": "v1", "resources": [], "freshness": "Stale"}]
    root = "/api/v1/namespaces/default/services"
    ports = {"spec": {"ports": [{"port": 80}]}}
    await stage.acme("POST", root, {"metadata": {"name": "nobody"}, **ports})
    await stage.until("False", "ServicePortError")
    merge = {"Content-Type": "application/merge-patch+json"}
    await stage.acme("PATCH", f"{root}/nobody", {"spec": {"ports": [{"port": 443}]}}, headers=merge)
    await stage.until("False", "MissingEndpoints")
    outside = {"type": "ExternalName", "externalName": "example.com"}
    await stage.acme("DELETE", f"{root}/nobody")
    await stage.acme("POST", root, {"metadata": {"name": "nobody"}, "spec": outside})
    await stage.until("False", "ServiceAccessError")


async def _hangs() -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _garbage() -> web.StreamResponse:
    return web.Response(body=b"\x00garbage")


async def _pretends() -> web.StreamResponse:
    rows = [{"name": "pods", "namespaced": 1, "kind": ["Pod"], "verbs": "all"}]
    return web.json_response({"kind": "APIResourceList", "resources": rows})


async def _floods() -> web.StreamResponse:
    return web.Response(body=b"x" * (offers.MAX_BYTES + 1))


async def _fails() -> web.StreamResponse:
    return web.Response(status=500, text="secret of the server's")


async def _elsewhere() -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "https://169.254.169.254/"})


@pytest.mark.parametrize("lie", [_hangs, _garbage, _pretends, _floods, _fails, _elsewhere])
async def test_a_server_that_lies_or_hangs_is_unavailable_and_nobody_else_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lie: Callable[[], Any]
) -> None:
    monkeypatch.setattr(availability, "_ANSWER_SECONDS", 1.0)
    stage.backend.answers[METRICS] = lie
    await registered(stage)
    condition = await stage.until("False", "FailedDiscoveryCheck")
    assert "secret" not in condition["message"]
    assert (await stage.acme("GET", ONE)).status == 503
    async with asyncio.timeout(5):
        assert (await stage.acme("GET", "/api/v1/namespaces/default/pods")).status == 200
        assert (await stage.acme("GET", "/apis")).status == 200
    del stage.backend.answers[METRICS]
    await stage.until("True", "Passed")
    assert (await stage.acme("GET", ONE)).status == 200


async def test_an_answer_that_leads_elsewhere_or_never_comes_is_503(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernetes.apiserver.handlers.aggregating._ANSWER_SECONDS", 0.5)
    await registered(stage)
    await stage.until("True", "Passed")
    for lie in (_elsewhere, _hangs):
        stage.backend.answers[ONE] = lie
        answer = await stage.acme("GET", ONE)
        assert (answer.status, answer.json["kind"]) == (503, "Status")


async def test_servers_are_told_how_to_know_us(stage: Stage) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    told = (await stage.acme("GET", path)).json["data"]
    assert told["requestheader-client-ca-file"] == stage.admin._pki.front_proxy_ca.read_text()
    assert "client-ca-file" not in told, "our authority signs for all tenants"
    role = "extension-apiserver-authentication-reader"
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system"
    binding = {
        "metadata": {"name": "server"}, "subjects": [{"kind": "User", "name": "server"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
    }  # fmt: skip
    assert (await stage.acme("POST", f"{rbac}/rolebindings", binding)).status == 201
    async with await stage.admin.person("acme", "server") as server:
        assert (await server("GET", path)).status == 200
    merge = {"Content-Type": "application/merge-patch+json"}
    forged = {"data": {"requestheader-client-ca-file": "mine"}}
    assert (await stage.acme("PATCH", path, forged, headers=merge)).json["data"] == told
