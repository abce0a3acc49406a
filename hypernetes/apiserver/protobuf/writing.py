"""What JSON says of an object to its message. Each kind of message has its writer, compiled on first use.

The objects are ours: read from JSON or from a message, and checked. A field that is there is written, also where it has
its type's zero, since only so can a client tell it from one that isn't. null is written where it is a time's.
"""

import base64
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from hypernetes.apiserver.protobuf.descriptors import Field, fields, message_class
from hypernetes.apiserver.protobuf.values import LIST_FIELD, LISTS, NULLABLE, UNION_FIELD, UNIONS, VALUES

Write = Callable[[Any], Any]  # of a JSON value: the field's value; of an object: its message


def write(message: str, obj: dict[str, Any]) -> bytes:
    """The message of an object, whose apiVersion and kind are the envelope's to say."""
    written: bytes = _writer(message)(obj)
    return written


@cache
def _writer(message: str) -> Write:
    """What it needs is made when the first object comes: messages may contain themselves, and most are never seen."""
    plan: _Plan | None = None

    def write_message(obj: dict[str, Any]) -> bytes:
        nonlocal plan
        if plan is None:
            plan = _plan(message)
        make, table, inlined, sort = plan
        values: dict[str, Any] = {}
        for key, value in obj.items():
            entry = table.get(key)
            if entry is None:
                continue
            name, convert, inline = entry
            if inline:
                values.setdefault(name, {})[key] = value
            elif value is not None:
                values[name] = value if convert is None else convert(value)
            elif convert in NULLABLE:
                values[name] = b""
        for name, write_inlined in inlined:
            if name in values:
                values[name] = write_inlined(values[name])
        written: bytes = make(**values).SerializeToString(deterministic=sort)
        return written

    if message in UNIONS:
        return partial(_write_union, write_message, UNIONS[message])
    if message in LISTS:
        return lambda value: write_message({LIST_FIELD: value})
    return write_message


class _Plan(NamedTuple):
    """How a kind of message is written."""

    make: Callable[..., Any]
    table: dict[str, tuple[str, Write | None, bool]]  # JSON's key -> the field, what converts, inline
    inlined: list[tuple[str, Write]]
    sort: bool  # there are maps, whose keys are to be in order


def _plan(message: str) -> _Plan:
    known = fields(message)
    table: dict[str, tuple[str, Write | None, bool]] = {}
    for field in known:
        if field.inline:
            table.update((key, (field.name, None, True)) for key in _keys(field.type))
    table |= {field.key: (field.name, _of_field(field), False) for field in known if not field.inline}
    inlined = [(field.name, _writer(field.type)) for field in known if field.inline]
    return _Plan(message_class(message), table, inlined, any(field.map for field in known))


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
    return VALUES[field.type][1] if field.type in VALUES else _writer(field.type)
