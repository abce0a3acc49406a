"""Bodies in and out: what a client sends, and the forms in which it takes an answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
import yaml
from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import protobuf, views

MAX_BODY_BYTES = 3 * 1024 * 1024  # as upstream
JSON, YAML = "application/json", "application/yaml"
_MEDIA_TYPES = {"*/*": JSON, "application/json": JSON, "application/yaml": YAML}
_BODY = web.RequestKey("body", bytes)  # where a request holds its own, once read
_META_VERSIONS = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The form of an answer that the client likes best of those we have."""

    media_type: str = JSON
    shape: str = views.OBJECT
    version: str = "v1"  # of meta.k8s.io, where the shape is one of its kinds


def accepted(header: str | None, *, of_list: bool = False) -> Accepted:
    """The first clause of an Accept header that we can serve; `of_list` for an answer with many objects.

    Raises StatusError 406.
    """
    if not header:
        return Accepted()
    partial = "PartialObjectMetadataList" if of_list else "PartialObjectMetadata"
    shapes = {"Table": views.TABLE, partial: views.METADATA}
    for clause in header.split(","):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        kind = _MEDIA_TYPES.get(media_type)
        if kind is None:
            continue
        if "as" not in values:
            return Accepted(kind)
        shape = shapes.get(values["as"])
        if shape is not None and values.get("g") == "meta.k8s.io" and values.get("v") in _META_VERSIONS:
            return Accepted(kind, shape, values["v"])
    message = f"only the following media types are accepted: {JSON}, {YAML}"
    raise StatusError("NotAcceptable", message)


async def receive(request: web.BaseRequest) -> None:
    """Reads the body, for `read_body` to have it at once. Raises StatusError 413."""
    request[_BODY] = await _read(request)


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


async def read_payload(request: web.BaseRequest) -> tuple[bytes | dict[str, Any], str]:
    """The body and its content type, as a schema's `decode` takes them. Raises StatusError."""
    return payload(await read_body(request), request.headers.get("Content-Type", ""))


def payload(body: bytes, content_type: str) -> tuple[bytes | dict[str, Any], str]:
    """A body and its content type, as a schema's `decode` takes them. Raises StatusError."""
    if body and content_type.partition(";")[0].strip().lower() == protobuf.MEDIA_TYPE:
        return protobuf.decode(body), JSON
    return body, content_type


def answer(
    body: bytes | dict[str, Any], status: int = 200, media_type: str = JSON, warnings: list[str] | None = None
) -> web.Response:
    """A whole answer; `body` is JSON or what becomes JSON."""
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


def status_answer(error: StatusError, media_type: str = JSON) -> web.Response:
    response = answer(error.to_dict(), error.code, media_type)
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response


def _quoted(text: str) -> str:
    """As the text of a Warning header (RFC 7234 §5.5): one line, quotes and backslashes escaped."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
