"""The proxy subresources of pods, services and nodes: finds out who is meant, and has the request carried there."""

from typing import Any

from aiohttp import web
from yarl import URL

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import proxy as carrying
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.proxy import PodPort, Target, finding
from hypernetes.apiserver.proxy.finding import NODES, PODS

Object = dict[str, Any]

_SAFE = frozenset({"GET", "HEAD"})


async def proxy(call: Call) -> web.StreamResponse:
    """Any method on `…/proxy/PATH`. A GET of `…/proxy` itself is sent to `…/proxy/`, so that relative links hold."""
    if call.http.headers.get("Upgrade", "").lower() not in ("", "websocket"):
        raise StatusError("BadRequest", "of all upgrades, WebSockets are carried")
    if not call.route.rest and call.http.method in _SAFE:
        query = f"?{call.http.query_string}" if call.http.query_string else ""
        return web.Response(status=301, headers={"Location": f"{call.http.rel_url.raw_path}/{query}"})
    await call.parts.freshness.now()
    if call.resource is NODES:
        return await _to_node(call)
    target, namespace = carrying.parse(call.resource.name, call.route.name), call.route.namespace
    mirror = call.parts.mirror
    if call.resource is PODS:
        pod = finding.find(mirror, PODS, call.one_tenant, namespace, target.name)
        return await _to_pod(call, target, pod, carrying.of_pod(target, pod))
    found = finding.endpoint(mirror, call.one_tenant, namespace, target)
    return await _to_pod(call, target, finding.pod(mirror, call.one_tenant, namespace, found), found)


async def _to_pod(call: Call, target: Target, pod: Object, port: PodPort) -> web.StreamResponse:
    metadata = pod["metadata"]
    agent = finding.agent(call.parts.mirror, pod["spec"].get("nodeName") or "")
    way = finding.way(call.one_tenant, call.route.namespace, port)
    url = _url(call, target.scheme, metadata["name"], port.port)
    async with carrying.tunnel(call.parts.dialer, agent, way, [("uid", metadata["uid"])]) as connection:
        return await carrying.relay(call.http, connection, url, _prefix(call), call.parts.departures)


async def _to_node(call: Call) -> web.StreamResponse:
    """The node's own answers (health, metrics), read only: streams into pods have their own subresources."""
    if call.http.method not in _SAFE or "Upgrade" in call.http.headers:
        raise StatusError("MethodNotAllowed", "of a node, GET is carried")
    target = carrying.parse("nodes", call.route.name)
    finding.find(call.parts.mirror, NODES, SYSTEM_TENANT, "", target.name)
    agent = finding.agent(call.parts.mirror, target.name)
    words = [word for word in URL(call.route.rest, encoded=True).path.split("/") if word]
    async with call.parts.dialer.get(agent, words, list(call.http.query.items()), silence_seconds=60.0) as answer:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        response.enable_chunked_encoding()
        await response.prepare(call.http)
        async for piece in answer.content.iter_chunked(1 << 16):
            await response.write(piece)
        await response.write_eof()
        return response


def _url(call: Call, scheme_: str, host: str, port: int) -> URL:
    query = f"?{call.http.rel_url.raw_query_string}" if call.http.rel_url.raw_query_string else ""
    return URL(f"{scheme_}://{host}:{port}{call.route.rest or '/'}{query}", encoded=True)


def _prefix(call: Call) -> str:
    path = call.http.rel_url.raw_path
    return path.removesuffix(call.route.rest) if call.route.rest else path
