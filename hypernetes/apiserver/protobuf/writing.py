"""What JSON says of an object to its message. Each kind of message has its writer, compiled on first use.

The objects are ours: read from JSON or from a message, and checked. A field that is there is written, also where it has
its type's zero, since only so can a client tell it from one that isn't. null is written where it is a time's.
"""

import base64
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from hypernetes.apiserver.protobuf.descriptors import Field, fields, message_class
from hypernetes.apiserver.protobuf.values import LIST_FIELD, LISTS, NULLABLE, UNION_FIELD, UNIONS, VALUES

Write = Callable[[Any], Any]  # of a JSON value: the field's value; of an object: its message


def write(message: str, obj: dict[str, Any]) -> bytes:
    """The message of an object, whose apiVersion and kind are the envelope's to say."""
    written: bytes = _writer(message)(obj)
    return written


@cache
def _writer(message: str) -> Write:
    make = message_class(message)
    table: dict[str, tuple[str, Write | None, bool]] = {}  # JSON's key -> the field, what converts, inline
    for field in fields(message):
        if field.inline:
            table.update((key, (field.name, None, True)) for key in _keys(field.type))
    for field in fields(message):
        if not field.inline:
            table[field.key] = (field.name, _of_field(field), False)
    inlined = {field.name: _late(field.type) for field in fields(message) if field.inline}
    find = table.get

    def write_message(obj: dict[str, Any]) -> bytes:
        values: dict[str, Any] = {}
        for key, value in obj.items():
            entry = find(key)
            if entry is None:
                continue
            name, convert, inline = entry
            if inline:
                values.setdefault(name, {})[key] = value
            elif value is not None:
                values[name] = value if convert is None else convert(value)
            elif convert in NULLABLE:
                values[name] = b""
        for name, write_inlined in inlined.items():
            if name in values:
                values[name] = write_inlined(values[name])
        written: bytes = make(**values).SerializeToString(deterministic=True)
        return written

    if message in UNIONS:
        return partial(_write_union, write_message, UNIONS[message])
    if message in LISTS:
        return lambda value: write_message({LIST_FIELD: value})
    return write_message


@cache
def _keys(message: str) -> frozenset[str]:
    """How JSON names the fields of an inlined message."""
    found: set[str] = set()
    for field in fields(message):
        found |= _keys(field.type) if field.inline else {field.key}
    return frozenset(found)


def _write_union(write_message: Write, other: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return write_message({other: value})
    return write_message({UNION_FIELD: value, **({other: True} if other == "allows" else {})})


def _of_field(field: Field) -> Write | None:
    """None where JSON's value is the library's, too."""
    item = _of_item(field)
    if item is None:
        return None
    if field.map:
        return lambda value: {key: item(each) for key, each in value.items()}
    if field.repeated:
        return lambda value: [item(each) for each in value]
    return item


def _of_item(field: Field) -> Write | None:
    if field.type == "bytes":
        return base64.b64decode
    if field.is_scalar:
        return None
    return VALUES[field.type][1] if field.type in VALUES else _late(field.type)


def _late(message: str) -> Write:
    """Looked up on first use: messages may contain themselves."""
    found: Write | None = None

    def write_late(value: Any) -> Any:
        nonlocal found
        if found is None:
            found = _writer(message)
        return found(value)

    return write_late
