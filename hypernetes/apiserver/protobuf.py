"""Bodies in `application/vnd.kubernetes.protobuf`, which kubectl's create commands and typed Go clients send.

The envelope is four bytes and a `runtime.Unknown`; in it lies the message of the kind. Here it becomes the dict that
the JSON form of the same object would have been; answers are JSON. The wire format is protobuf's
(https://protobuf.dev/programming-guides/encoding/).
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import orjson

from hypernetes.api import facts, times
from hypernetes.api.status import StatusError

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_MAX_DEPTH = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALARS = frozenset({"int32", "int64", "uint32", "uint64", "bool", "string", "bytes", "double"})
_META = "k8s.io.apimachinery.pkg.apis.meta.v1"


class Malformed(ValueError):
    """The bytes are no message of the kind."""


class _Field(NamedTuple):
    name: str
    repeated: bool
    type: str  # a scalar, or a full message name
    key: str | None = None  # of a map
    inline: bool = False  # its fields belong to the parent in JSON


def decode(body: bytes) -> dict[str, Any]:
    """The object in an envelope. Raises StatusError 400."""
    try:
        if not body.startswith(_MAGIC):
            raise Malformed("the envelope's first bytes are missing")
        envelope = _message(memoryview(body)[len(_MAGIC) :], "k8s.io.apimachinery.pkg.runtime.Unknown", 0)
        head = envelope.get("typeMeta") or {}
        api_version, kind = head.get("apiVersion", ""), head.get("kind", "")
        raw = base64.b64decode(envelope.get("raw", ""))
        obj = _message(memoryview(raw), _message_of(api_version, kind), 0)
    except (ValueError, OverflowError) as error:
        raise StatusError("BadRequest", f"the body is not a valid protobuf message: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **obj}


@cache
def _kinds() -> dict[tuple[str, str], str]:
    """(apiVersion, kind) -> message."""
    found = {}
    for name, schema in facts.schemas().items():
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            api_version = "/".join(filter(None, (gvk["group"], gvk["version"])))
            message = name.removeprefix("io.k8s.")
            found[api_version, gvk["kind"]] = f"k8s.io.{message}"
    return found


def _message_of(api_version: str, kind: str) -> str:
    name = _kinds().get((api_version, kind), "")
    if name not in facts.messages():
        raise Malformed(f"no kind {kind!r} is registered for version {api_version!r}")
    return name


@cache
def _fields(message: str) -> dict[int, _Field]:
    properties = facts.schemas().get(message.replace("k8s.io.", "io.k8s.", 1), {}).get("properties")
    package = message.rpartition(".")[0]
    found = {}
    for number, name, label, type_ in facts.messages()[message]:
        key = None
        if label == "map":
            key, _, type_ = type_.removeprefix("map<").removesuffix(">").partition(",")
            type_ = type_.removeprefix(".")  # how a full name is told from one of the same package
        full = type_ if type_ in _SCALARS or "." in type_ else f"{package}.{type_}"
        inline = properties is not None and name not in properties and full not in _SCALARS
        found[number] = _Field(name, label == "repeated", full, key, inline)
    return found


def _message(data: memoryview, message: str, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise Malformed("nested too deeply")
    fields = _fields(message)
    made: dict[str, Any] = {}
    for number, wire, value in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.key is not None:
            key, item = _entry(value, field, depth)
            made.setdefault(field.name, {})[key] = item
        elif field.repeated:
            items = made.setdefault(field.name, [])
            if wire == _BYTES and field.type not in ("string", "bytes") and field.type in _SCALARS:
                items += [_value(_VARINT, item, field.type, depth) for item in _packed(value)]
            else:
                items.append(_value(wire, value, field.type, depth))
        elif field.inline:
            made.update(_value(wire, value, field.type, depth))
        elif field.type != "string" or value != b"":  # strings that aren't set are sent all the same
            made[field.name] = _value(wire, value, field.type, depth)
    return made


def _entry(data: Any, field: _Field, depth: int) -> tuple[str, Any]:
    if not isinstance(data, memoryview):
        raise Malformed(f"{field.name} is no map")
    key: Any = ""
    item: Any = "" if field.type in ("string", "bytes") else _value(_BYTES, memoryview(b""), field.type, depth)
    for number, wire, value in _wire(data):
        if number == 1:
            key = _value(wire, value, field.key or "string", depth)
        elif number == 2:
            item = _value(wire, value, field.type, depth)
    return key, item


def _value(wire: int, value: Any, type_: str, depth: int) -> Any:
    if type_ in _SCALARS:
        return _scalar(wire, value, type_)
    if wire != _BYTES:
        raise Malformed(f"a {type_} isn't of wire type {wire}")
    if type_ in _SPECIAL:
        return _SPECIAL[type_](value)
    if type_ not in facts.messages():
        raise Malformed(f"no message {type_}")
    return _message(value, type_, depth + 1)


def _scalar(wire: int, value: Any, type_: str) -> Any:
    if type_ in ("string", "bytes"):
        if wire != _BYTES:
            raise Malformed(f"a {type_} isn't of wire type {wire}")
        return str(value, "utf-8") if type_ == "string" else base64.b64encode(value).decode()
    if wire != _VARINT:
        raise Malformed(f"a {type_} isn't of wire type {wire}")
    if type_ == "bool":
        return bool(value)
    return value - (1 << 64) if value >= 1 << 63 and not type_.startswith("u") else value


def _wire(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value) of each field; bytes as a view."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise Malformed(f"wire type {wire}")
        if at + length > len(data):
            raise Malformed("a field is longer than what is left")
        yield number, wire, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number has no end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
        shift += 7


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _moment(data: memoryview) -> datetime | None:
    parts = _message(data, f"{_META}.Time", 0)
    if not parts:
        return None
    return _EPOCH + timedelta(seconds=parts.get("seconds", 0), microseconds=parts.get("nanos", 0) // 1000)


def _time(data: memoryview) -> str | None:
    moment = _moment(data)
    return None if moment is None else times.format_time(moment)


def _micro_time(data: memoryview) -> str | None:
    moment = _moment(data)
    return None if moment is None else times.format_micro_time(moment)


def _quantity(data: memoryview) -> str:
    text: str = _message(data, "k8s.io.apimachinery.pkg.api.resource.Quantity", 0).get("string", "0")
    return text


def _int_or_string(data: memoryview) -> int | str:
    parts = _message(data, "k8s.io.apimachinery.pkg.util.intstr.IntOrString", 0)
    value: int | str = parts.get("strVal", "") if parts.get("type") else parts.get("intVal", 0)
    return value


def _raw_json(data: memoryview) -> Any:
    for number, wire, value in _wire(data):
        if number == 1 and wire == _BYTES:
            return orjson.loads(value) if len(value) else None
    return None


_SPECIAL: dict[str, Any] = {
    f"{_META}.Time": _time,
    f"{_META}.MicroTime": _micro_time,
    f"{_META}.FieldsV1": _raw_json,
    "k8s.io.apimachinery.pkg.runtime.RawExtension": _raw_json,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _quantity,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
}
