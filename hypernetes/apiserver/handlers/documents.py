"""Paths that are no resource: discovery, OpenAPI, version, health."""

import asyncio
from typing import Any

from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import discovery, openapi
from hypernetes.apiserver.aggregation.documents import Extended
from hypernetes.apiserver.discovery import Discovery
from hypernetes.apiserver.documents import Document
from hypernetes.apiserver.handlers import issuers, negotiation, plaintext
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.routing import not_served

_ROOT_PATHS = [
    "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version",
]  # fmt: skip

_YEAR_SECONDS = 365 * 24 * 3600


async def serve(call: Call) -> web.StreamResponse:
    """Raises StatusError 404 for a version that isn't there, 405 for another method than GET."""
    path = call.route.path.rstrip("/") or "/"
    parts = path.split("/")[1:]
    accept = call.http.headers.get("Accept")
    found = call.parts.aggregation.documents(call.tenant)
    if parts[0] == "openapi":
        return await _openapi(call, parts[1:], found)
    if parts == ["metrics"]:
        return await _metrics(call)
    if parts == issuers.CONFIGURATION_PATH:
        return await issuers.configuration(call)
    if parts == issuers.KEYS_PATH:
        return await issuers.keys(call)
    body: dict[str, Any] | None
    match parts:
        case [""]:
            body = {"paths": _ROOT_PATHS}
        case ["apis", group, *_] if found.group(group) is None:
            return plaintext.no_such_path()
        case ["apis", group]:  # whatever the method, as upstream
            body = found.group(group)
        case ["api" | "apis" | "version", *_] if call.http.method != "GET":
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        case ["api"] | ["apis"] if (form := discovery.aggregated_form(accept)) is not None:
            return _document(call, found.aggregated(path == "/api", form))
        case ["api"]:
            body = found.api_versions(call.http.host)
        case ["apis"]:
            body = found.group_list()
        case ["api", version]:
            body = found.resource_list("", version)
        case ["apis", group, version]:
            body = found.resource_list(group, version)
        case ["version"]:
            body = dict(discovery.version())
        case _:
            return plaintext.no_such_path()
    if body is None:
        raise not_served()
    return negotiation.answer(body, 200, negotiation.chosen(accept, in_protobuf="kind" in body).media_type)


async def _metrics(call: Call) -> web.StreamResponse:
    """Of this server process: they aren't any tenant's."""
    text = call.parts.observer.render(call.http.headers.get("Accept", ""))
    body, content_type = await asyncio.to_thread(text)
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _openapi(call: Call, parts: list[str], found: Discovery | Extended) -> web.StreamResponse:
    documents = found if isinstance(found, Extended) else Extended(found, ())
    match parts:
        case ["v2"]:
            in_protobuf = openapi.V2_PROTOBUF in call.http.headers.get("Accept", "")
            return _document(call, await documents.openapi_v2(in_protobuf))
        case ["v3"]:
            prefix = f"/tenants/{call.route.tenant}" if call.route.tenant else ""
            return _document(call, documents.openapi_index(prefix))
        case ["v3", "api", version]:
            document = documents.openapi_group("", version)
        case ["v3", "apis", group, version]:
            document = documents.openapi_group(group, version)
        case _:
            document = None
    if document is None:
        return plaintext.no_such_path()
    asked = call.http.query.get("hash")
    if asked is not None and asked != document.hash:
        raw = f"{call.http.rel_url.raw_path}?hash={document.hash}"
        return web.Response(status=301, headers={"Location": raw})
    return _document(call, document, cacheable=asked is not None)


def _document(call: Call, document: Document, *, cacheable: bool = False) -> web.StreamResponse:
    """`cacheable`: the URL names the content, so that a client needn't ask again."""
    headers = {"ETag": document.etag, "Vary": "Accept, Accept-Encoding", "Content-Type": document.content_type}
    # private: what a tenant is offered is its own
    headers["Cache-Control"] = f"private, immutable, max-age={_YEAR_SECONDS}" if cacheable else "private, no-cache"
    if document.matches(call.http.headers.get("If-None-Match")):
        return web.Response(status=304, headers=headers)
    body = document.body
    if document.compressed is not None and negotiation.takes_gzip(call.http):
        body, headers["Content-Encoding"] = document.compressed, "gzip"
    return web.Response(body=body, headers=headers)
