"""Bodies in and out: what a client sends, and the forms in which it takes an answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import yaml
from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import protobuf, views
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.largebodies import is_large

MAX_BODY_BYTES = 3 * 1024 * 1024  # as upstream
JSON, YAML, PROTOBUF = "application/json", "application/yaml", protobuf.MEDIA_TYPE
_MEDIA_TYPES = (JSON, YAML, PROTOBUF)  # the first is what a client gets that takes anything
_BODY = web.RequestKey("body", bytes)  # where a request holds its own, once read
_META_VERSIONS = ("v1", "v1beta1")
_REMEMBERED = 1024  # Accept headers; clients of one kind send the same


@dataclass(frozen=True, slots=True)
class Accepted:
    """The form of an answer that the client likes best of those we have."""

    media_type: str = JSON
    shape: str = views.OBJECT
    version: str = "v1"  # of meta.k8s.io, where the shape is one of its kinds


def accepted(call: Call, *, of_list: bool = False, streamed: bool = False) -> Accepted:
    """The form for what a call is about; `of_list` for an answer with many objects, `streamed` for a watch.

    Raises StatusError 406.
    """
    in_protobuf = protobuf.has(call.resource.api_version, call.resource.kind)
    return chosen(call.http.headers.get("Accept"), of_list=of_list, streamed=streamed, in_protobuf=in_protobuf)


@lru_cache(maxsize=_REMEMBERED)
def chosen(
    header: str | None, *, of_list: bool = False, streamed: bool = False, in_protobuf: bool = True
) -> Accepted:  # fmt: skip
    """The best clause of an Accept header that we can serve, as upstream: by quality, and the plainer one first.

    A table is never written in protobuf; metadata is, of kinds too that have no message. Raises StatusError 406.
    """
    if not header:
        return Accepted()
    partial = "PartialObjectMetadataList" if of_list else "PartialObjectMetadata"
    shapes = {"Table": views.TABLE, partial: views.METADATA}
    for media_range, values in _clauses(header):
        for media_type in _MEDIA_TYPES:
            if not _matches(media_range, media_type) or (streamed and media_type == YAML):
                continue
            if "as" not in values:
                if media_type != PROTOBUF or in_protobuf:
                    return Accepted(media_type)
                continue
            shape = shapes.get(values["as"])
            known = values.get("g") == views.META_GROUP and values.get("v") in _META_VERSIONS
            if shape is not None and known and (media_type != PROTOBUF or shape == views.METADATA):
                return Accepted(media_type, shape, values["v"])
    served = [each for each in _MEDIA_TYPES if (each != PROTOBUF or in_protobuf) and not (streamed and each == YAML)]
    raise StatusError("NotAcceptable", f"only the following media types are accepted: {', '.join(served)}")


def _clauses(header: str) -> list[tuple[str, dict[str, str]]]:
    """(media range, parameters) of an Accept header, the best first (RFC 9110 §12.5.1)."""
    found = []
    for clause in header.split(","):
        media_range, *parameters = (part.strip() for part in clause.split(";"))
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        quality = _quality(values.pop("q", "1"))
        if quality > 0:
            found.append((-quality, media_range.count("*"), media_range.lower(), values))
    return [(media_range, values) for _, _, media_range, values in sorted(found, key=lambda each: each[:2])]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _matches(media_range: str, media_type: str) -> bool:
    return media_range in (media_type, "*/*")  # upstream serves nothing for `application/*`


async def receive(request: web.BaseRequest) -> None:
    """Reads the body, for `read_body` to have it at once. Raises StatusError 413."""
    request[_BODY] = await _read(request)


def held_body(request: web.BaseRequest) -> bytes | None:
    """The body, if it was read ahead."""
    return request.get(_BODY)


async def read_body(request: web.BaseRequest) -> bytes:
    """The body, if it isn't too large. Raises StatusError 413."""
    received = request.get(_BODY)
    return await _read(request) if received is None else received


async def _read(request: web.BaseRequest) -> bytes:
    too_large = StatusError("RequestEntityTooLarge", f"limit is {MAX_BODY_BYTES}")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # that was no part of the answer
    chunks, size = [], 0
    try:
        while chunk := await request.content.readany():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise too_large
            chunks.append(chunk)
    except web.RequestPayloadError as error:
        raise StatusError("BadRequest", "the body of the request is not as its headers say") from error
    return b"".join(chunks)


async def read_payload(call: Call, default: tuple[str, str]) -> tuple[bytes | dict[str, Any], str]:
    """The body and its content type, as a schema's `decode` takes them. Raises StatusError.

    `default` is the apiVersion and kind of a message that doesn't say its own.
    """
    body, content_type = await read_body(call.http), call.http.headers.get("Content-Type", "")
    if is_large(len(body), content_type):
        return await call.parts.large_bodies.read(payload, body, content_type, default)
    return payload(body, content_type, default)


def payload(body: bytes, content_type: str, default: tuple[str, str]) -> tuple[bytes | dict[str, Any], str]:
    """A body and its content type, as a schema's `decode` takes them. Raises StatusError."""
    if content_type.partition(";")[0].strip().lower() != PROTOBUF:
        return body, content_type
    if not protobuf.has(*default):
        message = f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
        raise StatusError("UnsupportedMediaType", message)
    return protobuf.decode(body, default), JSON


def answer(
    body: bytes | dict[str, Any], status: int = 200, media_type: str = JSON, warnings: list[str] | None = None
) -> web.Response:
    """A whole answer; `body` is what becomes it, or bytes: JSON (also for YAML), or protobuf in its envelope."""
    if media_type == PROTOBUF:
        data = body if isinstance(body, bytes) else protobuf.encode(body)
    else:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
    if media_type == YAML:
        data = yaml.dump(orjson.loads(data), Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
    response = web.Response(status=status, body=data, headers={"Content-Type": media_type})
    warn(response, warnings or ())
    return response


def warn(response: web.StreamResponse, warnings: Iterable[str]) -> None:
    """For the client to show beside the answer."""
    for warning in warnings:
        response.headers.add("Warning", f'299 - "{_quoted(warning)}"')


def takes_gzip(request: web.BaseRequest) -> bool:
    """Whether the client takes an answer compressed with gzip (RFC 9110 §12.5.3)."""
    for clause in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, *parameters = (part.strip() for part in clause.split(";"))
        if coding in ("gzip", "*"):
            return not any(
                parameter.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for parameter in parameters
            )
    return False


def media_type(request: web.BaseRequest) -> str:
    """Of what isn't the object that the request is about (a Status, a token); JSON where the client takes no form."""
    try:
        return chosen(request.headers.get("Accept")).media_type
    except StatusError:
        return JSON


def status_answer(error: StatusError, request: web.BaseRequest) -> web.Response:
    response = answer(error.to_dict(), error.code, media_type(request))
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response


def _quoted(text: str) -> str:
    """As the text of a Warning header (RFC 7234 §5.5): one line, quotes and backslashes escaped."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
