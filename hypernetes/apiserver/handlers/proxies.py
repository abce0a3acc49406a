"""The proxy subresources of pods, services and nodes: finds out who is meant, and has the request carried there."""

from typing import Any

from aiohttp import web
from yarl import URL

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver import proxy as carrying
from hypernetes.apiserver.dialer import Agent
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.objects import Place, missing
from hypernetes.apiserver.proxy import PodPort, Target

Object = dict[str, Any]

_PODS = scheme.by_name("v1", "pods")
_SERVICES = scheme.by_name("v1", "services")
_SLICES = scheme.by_name("discovery.k8s.io/v1", "endpointslices")
_NODES = scheme.by_name("v1", "nodes")
_SERVICE_NAME = "kubernetes.io/service-name"
_SAFE = frozenset({"GET", "HEAD"})


async def proxy(call: Call) -> web.StreamResponse:
    """Any method on `…/proxy/PATH`. A GET of `…/proxy` itself is sent to `…/proxy/`, so that relative links hold."""
    if call.http.headers.get("Upgrade", "").lower() not in ("", "websocket"):
        raise StatusError("BadRequest", "of all upgrades, WebSockets are carried")
    if not call.route.rest and call.http.method in _SAFE:
        query = f"?{call.http.query_string}" if call.http.query_string else ""
        return web.Response(status=301, headers={"Location": f"{call.http.rel_url.raw_path}/{query}"})
    await call.parts.freshness.now()
    if call.resource is _NODES:
        return await _to_node(call)
    target = carrying.parse(call.resource.name, call.route.name)
    if call.resource is _PODS:
        pod = _find(call, _PODS, target.name)
        return await _to_pod(call, target, pod, carrying.of_pod(target, pod))
    found = _endpoint(call, target)
    pod = _find(call, _PODS, found.pod)
    return await _to_pod(call, target, pod, found)


def _endpoint(call: Call, target: Target) -> PodPort:
    service = _find(call, _SERVICES, target.name)
    mirror = call.parts.mirror
    entries = mirror.range(mirror.keys.range(_SLICES, call.one_tenant, call.route.namespace))
    slices = (
        codec.decode(entry.data, entry.revision) for entry in entries if entry.labels.get(_SERVICE_NAME) == target.name
    )
    return carrying.of_service(target, service, slices)


async def _to_pod(call: Call, target: Target, pod: Object, port: PodPort) -> web.StreamResponse:
    """`port.uid` says which pod the endpoint meant: another of its name isn't asked."""
    metadata, node = pod["metadata"], pod["spec"].get("nodeName") or ""
    if port.uid and port.uid != metadata["uid"]:
        raise StatusError("ServiceUnavailable", f'pod "{port.pod}" is another one by now; try again')
    parts = ["forward", call.one_tenant, call.route.namespace, port.pod, str(port.port)]
    url = _url(call, target.scheme, metadata["name"], port.port)
    async with carrying.tunnel(call.parts.dialer, _agent(call, node), parts, [("uid", metadata["uid"])]) as connection:
        return await carrying.relay(call.http, connection, url, _prefix(call), call.parts.departures)


async def _to_node(call: Call) -> web.StreamResponse:
    """The node's own answers (health, metrics), read only: streams into pods have their own subresources."""
    if call.http.method not in _SAFE or "Upgrade" in call.http.headers:
        raise StatusError("MethodNotAllowed", "of a node, GET is carried")
    target = carrying.parse("nodes", call.route.name)
    _find(call, _NODES, target.name)
    agent = _agent(call, target.name)
    words = [word for word in URL(call.route.rest, encoded=True).path.split("/") if word]
    async with call.parts.dialer.get(agent, words, list(call.http.query.items()), silence_seconds=60.0) as answer:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        response.enable_chunked_encoding()
        await response.prepare(call.http)
        async for piece in answer.content.iter_chunked(1 << 16):
            await response.write(piece)
        await response.write_eof()
        return response


def _find(call: Call, resource: scheme.Resource, name: str) -> Object:
    tenant = SYSTEM_TENANT if resource.shared else call.one_tenant
    namespace = call.route.namespace if resource.namespaced else ""
    entry = call.parts.mirror.object(resource, tenant, namespace, name)
    if entry is None:
        raise missing(Place(resource, tenant, namespace, name))
    return codec.decode(entry.data, entry.revision)


def _agent(call: Call, node: str) -> Agent:
    entry = call.parts.mirror.object(_NODES, SYSTEM_TENANT, "", node)
    return Agent.of(None if entry is None else codec.decode(entry.data, entry.revision), node)


def _url(call: Call, scheme_: str, host: str, port: int) -> URL:
    query = f"?{call.http.rel_url.raw_query_string}" if call.http.rel_url.raw_query_string else ""
    return URL(f"{scheme_}://{host}:{port}{call.route.rest or '/'}{query}", encoded=True)


def _prefix(call: Call) -> str:
    path = call.http.rel_url.raw_path
    return path.removesuffix(call.route.rest) if call.route.rest else path
