"""Paths that are no resource: discovery, OpenAPI, version, health."""

from aiohttp import web

from hypernetes.apiserver import discovery, openapi
from hypernetes.apiserver.documents import Document
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.routing import not_served

HEALTH_PATHS = ("/healthz", "/livez", "/readyz")
_ROOT_PATHS = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]


async def serve(call: Call) -> web.StreamResponse:
    """Raises StatusError 404 for a path that leads nowhere."""
    path = call.route.path.rstrip("/") or "/"
    accept = call.http.headers.get("Accept")
    found = discovery.for_tenant(call.tenant)
    match path.split("/")[1:]:
        case ["api"] | ["apis"] if (version := discovery.aggregated_version(accept)) is not None:
            return _document(call, found.aggregated(path == "/api", version))
        case [""]:
            body: dict[str, object] | None = {"paths": _ROOT_PATHS}
        case ["api"]:
            body = found.api_versions(call.http.host)
        case ["apis"]:
            body = found.group_list()
        case ["api", version]:
            body = found.resource_list("", version)
        case ["apis", group]:
            body = found.group(group)
        case ["apis", group, version]:
            body = found.resource_list(group, version)
        case ["version"]:
            body = dict(discovery.version())
        case ["openapi", "v2"]:
            documents = openapi.of(found)
            return _document(call, documents.v2_protobuf() if openapi.V2_PROTOBUF in (accept or "") else documents.v2())
        case ["openapi", "v3"]:
            prefix = f"/tenants/{call.route.tenant}" if call.route.tenant else ""
            return _document(call, openapi.of(found).index(prefix))
        case ["openapi", "v3", "api", version]:
            return _document(call, openapi.of(found).group("", version))
        case ["openapi", "v3", "apis", group, version]:
            return _document(call, openapi.of(found).group(group, version))
        case _:
            body = None
    if body is None:
        raise not_served()
    return negotiation.answer(body, 200, negotiation.accepted(accept).media_type)


def _document(call: Call, document: Document | None) -> web.StreamResponse:
    if document is None:
        raise not_served()
    headers = {"ETag": document.etag, "Vary": "Accept", "Content-Type": document.content_type}
    if document.matches(call.http.headers.get("If-None-Match")):
        return web.Response(status=304, headers=headers)
    return web.Response(body=document.body, headers=headers)
