"""HorizontalPodAutoscalers that follow metrics which a server in a tenant's own pod has: the real API server, the real
controller, the way through an agent; the server is the test's."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hypernetes.api import times
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.client import Client, ClientConfig, EventRecorder
from hypernetes.controllers.autoscaling import HorizontalPodAutoscalers, controller
from hypernetes.controllers.informers import Informers
from hypernetes.pki import CONTROLLERS
from tests.integration.api import podserver
from tests.integration.api.servers import User, serving

Json = dict[str, Any]
_AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
_APIS = {"custom.metrics.k8s.io": "v1beta1", "external.metrics.k8s.io": "v1beta1"}


class Metrics:
    """Serves what prometheus-adapter does, in the older version of custom metrics."""

    def __init__(self) -> None:
        self.values = {"queue": "0", "hits": "0", "sessions": "0"}
        self.silent = False
        self.refused: list[str] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if len(parts) == 3:
            return web.json_response({"kind": "APIResourceList", "resources": []})
        if parts[0] == "openapi":
            return web.Response(status=404)
        if request.headers["X-Remote-User"] != _AUTOSCALER:
            self.refused.append(request.headers["X-Remote-User"])
            return web.Response(status=403)
        if self.silent:
            await asyncio.sleep(3600)
        name, stamp = parts[-1], times.format_time(times.now())
        item: Json = {"metricName": name, "timestamp": stamp, "value": self.values[name]}
        if "pods" in parts:
            assert request.query["labelSelector"] == "app=web"
            pod = {"kind": "Pod", "namespace": "default", "name": "web-0"}
            item["describedObject"] = pod
        elif "services" in parts:
            item["describedObject"] = {"kind": "Service", "namespace": "default", "name": "shop"}
        return web.json_response({"items": [item]})


@asynccontextmanager
async def autoscaling(admin: User) -> AsyncIterator[None]:
    """The controller alone, as hn-controllers runs it."""
    pki = admin._pki
    pki.ensure(CONTROLLERS, times.now())
    config = ClientConfig(
        server=admin.url, ca_pem=pki.ca_certificate.read_bytes(),
        client_cert_pem=pki.certificate(CONTROLLERS).read_bytes(), client_key_pem=pki.key(CONTROLLERS).read_bytes(),
    )  # fmt: skip
    async with Client(config) as client:
        informers, recorder = Informers(client), EventRecorder(client, "test")
        running = HorizontalPodAutoscalers(client, informers, recorder)
        tasks = [asyncio.ensure_future(each.run()) for each in (informers, recorder, running)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_autoscaler_follows_metrics_of_every_kind_that_a_tenants_own_server_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "PERIOD_SECONDS", 0.5)
    async with AsyncExitStack() as stack:
        store = await open_store(str(tmp_path / "state.db"))
        stack.push_async_callback(store.close)
        admin = await stack.enter_async_context(serving(store, tmp_path, "abc123"))
        acme = await stack.enter_async_context(await admin.tenant("acme"))
        node = await stack.enter_async_context(podserver.a_node(admin))
        tls, authority = podserver.certificate(tmp_path, "adapter.default.svc")
        metrics = Metrics()
        port = await stack.enter_async_context(podserver.listening(metrics, tls))
        await podserver.a_service(admin, node, "acme", "adapter", port)
        for group, version in _APIS.items():
            spec = {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 10,
                "service": {"namespace": "default", "name": "adapter"},
                "caBundle": base64.b64encode(authority).decode(),
            }  # fmt: skip
            path = "/apis/apiregistration.k8s.io/v1/apiservices"
            assert (await acme("POST", path, {"metadata": {"name": f"{version}.{group}"}, "spec": spec})).status == 201
        await target(admin, acme)
        await stack.enter_async_context(autoscaling(admin))
        for name, kind, value, wanted in (
            ("queue", external(), "12", 4),
            ("hits", of_pods(), "25", 5),
            ("sessions", of_object(), "600", 6),
        ):
            await replaced(acme, kind, replicas=1)
            metrics.values[name] = value
            await until(acme, replicas=wanted)
            metrics.values[name] = "0"
        assert metrics.refused == [], "it asks as the account that charts let read"

        metrics.silent = True
        await replaced(acme, external(), replicas=2)
        found = await until(acme, condition=("ScalingActive", "False", "FailedGetExternalMetric"))
        assert found["spec"]["maxReplicas"] == 10
        scale = await acme("GET", "/apis/apps/v1/namespaces/default/deployments/web/scale")
        assert scale.json["spec"]["replicas"] == 2, "what isn't known takes nothing away"


async def target(admin: User, acme: User) -> None:
    """A Deployment with one ready pod: nobody runs any here."""
    container = {"name": "main", "image": "web"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await acme("POST", path, {"metadata": {"name": "web"}, "spec": spec})).status == 201
    pods = "/tenants/acme/api/v1/namespaces/default/pods"
    pod = {
        "metadata": {"name": "web-0", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [container]},
    }
    assert (await admin("POST", pods, pod)).status == 201
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"status": {"phase": "Running", "podIP": "10.0.0.9", "conditions": [ready]}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert (await admin("PATCH", f"{pods}/web-0/status", status, headers=merge)).status == 200


def external() -> Json:
    target = {"type": "AverageValue", "averageValue": "3"}
    return {"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}


def of_pods() -> Json:
    target = {"type": "AverageValue", "averageValue": "5"}
    return {"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": target}}


def of_object() -> Json:
    described = {"apiVersion": "v1", "kind": "Service", "name": "shop"}
    target = {"type": "Value", "value": "100"}
    return {
        "type": "Object",
        "object": {"describedObject": described, "metric": {"name": "sessions"}, "target": target},
    }


_HPAS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"


async def replaced(acme: User, metric: Json, replicas: int) -> None:
    """Another autoscaler, for a target of so many."""
    await acme("DELETE", f"{_HPAS}/web")
    merge = {"Content-Type": "application/merge-patch+json"}
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    assert (await acme("PATCH", path, {"spec": {"replicas": replicas}}, headers=merge)).status == 200
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    free = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 15}]}
    spec = {
        "scaleTargetRef": reference, "maxReplicas": 10, "metrics": [metric], "behavior": {"scaleUp": free},
    }  # fmt: skip
    assert (await acme("POST", _HPAS, {"metadata": {"name": "web"}, "spec": spec})).status == 201


async def until(acme: User, *, replicas: int | None = None, condition: tuple[str, str, str] | None = None) -> Json:
    found: Json = {}
    try:
        async with asyncio.timeout(60):
            while True:
                found = (await acme("GET", f"{_HPAS}/web")).json
                scale = (await acme("GET", "/apis/apps/v1/namespaces/default/deployments/web/scale")).json
                told = [
                    (each["type"], each["status"], each["reason"]) for each in found["status"].get("conditions") or ()
                ]
                if replicas in (None, scale["spec"]["replicas"]) and (condition is None or condition in told):
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(found.get("status")) from None
