"""OpenAPI v2 in the protobuf form of gnostic's `OpenAPIv2.proto`, which clients in Go decode faster than JSON.

Numbers are the fields' of that file. The wire format is protobuf's (https://protobuf.dev/programming-guides/encoding/):
a field is its number with a wire type, and text and messages are preceded by their length.
"""

from collections.abc import Mapping
from typing import Any

import orjson

_VARINT, _LENGTH = 0, 2
# Fields of Schema that are text, or a flag.
_SCHEMA_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4}
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def document(spec: Mapping[str, Any]) -> bytes:
    """A whole v2 document."""
    info = _text(1, spec["info"]["title"]) + _text(2, spec["info"]["version"])
    paths = b"".join(_message(2, _named(path, _path_item(item))) for path, item in spec["paths"].items())
    types = b"".join(_message(1, _named(name, _schema(value))) for name, value in spec["definitions"].items())
    return _text(1, spec["swagger"]) + _message(2, info) + _message(8, paths) + _message(9, types)


def _path_item(item: Mapping[str, Any]) -> bytes:
    operations = [_message(number, _operation(item[method])) for method, number in _METHODS.items() if method in item]
    return b"".join(operations) + _parameters(9, item) + _extensions(10, item)


def _operation(operation: Mapping[str, Any]) -> bytes:
    responses = b"".join(
        _message(
            1,
            _named(
                code, _message(1, _text(1, each["description"]) + _message(2, _message(1, _schema(each["schema"]))))
            ),
        )
        for code, each in operation["responses"].items()
    )
    consumed = b"".join(_text(7, media) for media in operation.get("consumes", ()))
    head = _text(5, operation["operationId"]) + consumed
    return head + _parameters(8, operation) + _message(9, responses) + _extensions(13, operation)


def _parameters(number: int, holder: Mapping[str, Any]) -> bytes:
    return b"".join(_message(number, _message(1, _parameter(each))) for each in holder.get("parameters", ()))


def _parameter(parameter: Mapping[str, Any]) -> bytes:
    if parameter["in"] == "body":
        body = _text(2, parameter["name"]) + _text(3, "body") + _flag(4, parameter["required"])
        return _message(1, body + _message(5, _schema(parameter["schema"])))
    one = _flag(1, parameter.get("required", False)) + _text(2, parameter["in"]) + _text(4, parameter["name"])
    if parameter["in"] == "query":
        return _message(2, _message(3, one + _text(6, parameter["type"]) + _flag(20, parameter["uniqueItems"])))
    return _message(2, _message(4, one + _text(5, parameter["type"]) + _flag(19, parameter["uniqueItems"])))


def _schema(schema: Mapping[str, Any]) -> bytes:
    made = [_text(number, schema[key]) for key, number in _SCHEMA_TEXTS.items() if key in schema]
    made += [_text(19, name) for name in schema.get("required", ())]
    made += [_message(20, _any(value)) for value in schema.get("enum", ())]
    if "additionalProperties" in schema:
        made.append(_message(21, _message(1, _schema(schema["additionalProperties"]))))
    if "type" in schema:
        made.append(_message(22, _text(1, schema["type"])))
    if "items" in schema:
        made.append(_message(23, _message(1, _schema(schema["items"]))))
    if "properties" in schema:
        fields = schema["properties"].items()
        made.append(_message(25, b"".join(_message(1, _named(name, _schema(value))) for name, value in fields)))
    return b"".join(made) + _extensions(31, schema)


def _extensions(number: int, holder: Mapping[str, Any]) -> bytes:
    """What begins with `x-`, its value as YAML (which JSON is)."""
    return b"".join(_message(number, _named(key, _any(value))) for key, value in holder.items() if key.startswith("x-"))


def _any(value: Any) -> bytes:
    return _message(2, orjson.dumps(value))


def _named(name: str, value: bytes) -> bytes:
    """NamedSchema, NamedPathItem and the like: a name and what it names."""
    return _text(1, name) + _message(2, value)


def _text(number: int, value: str) -> bytes:
    return _message(number, value.encode())


def _message(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _flag(number: int, value: bool) -> bytes:
    return _varint(number << 3 | _VARINT) + b"\x01" if value else b""


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
