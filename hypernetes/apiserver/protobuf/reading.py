"""A message to what JSON says of it. Each kind of message has its reader, compiled on first use.

What is read is hostile until proven otherwise. A few bytes of a message can stand for a large structure, so the parts
of a body are counted, nested ones as they are reached; and nested messages lie as bytes in their parents, so that
nothing is made of those behind the limit.
"""

import base64
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from hypernetes.apiserver.protobuf import wire
from hypernetes.apiserver.protobuf.descriptors import Field, Malformed, fields, message_class
from hypernetes.apiserver.protobuf.values import LIST_FIELD, LISTS, UNION_FIELD, UNIONS, VALUES

MAX_DEPTH = 100  # of nested messages; the protobuf library's own limit
_SMALL_BYTES = 512
_WIRE_TYPES = {"bool": wire.VARINT, "int32": wire.VARINT, "int64": wire.VARINT, "double": wire.FIXED64}
MAX_PARTS = 200_000  # of one body: messages, and entries of lists and maps; some 0.5 s to read


class Budget:
    """How many parts a body may still have."""

    __slots__ = ("left",)

    def __init__(self, parts: int = MAX_PARTS) -> None:
        self.left = parts

    def take(self, parts: int) -> None:
        """Raises Malformed."""
        self.left -= parts
        if self.left < 0:
            raise Malformed(f"it has more than {MAX_PARTS:,} parts")


Read = Callable[[Any, int, Budget], Any]  # of a field's value, at a depth


def read(message: str, data: bytes, budget: Budget | None = None) -> dict[str, Any]:
    """What JSON says of a message. Raises Malformed, and StatusError for JSON inside of it that is none."""
    try:
        found: dict[str, Any] = _reader(message)(data, 0, budget or Budget())
    except (DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error
    return found


@cache
def _reader(message: str) -> Read:
    """What it needs is made when the first message comes: messages may contain themselves, and most are never seen."""
    plan: _Plan | None = None

    def read_message(data: bytes, depth: int, budget: Budget) -> dict[str, Any]:
        nonlocal plan
        if plan is None:
            plan = _plan(message)
        parse, table, types = plan
        if depth > MAX_DEPTH:
            raise Malformed("it is nested too deeply")
        budget.take(1)
        parsed = parse(data)
        if _has_unknown(parsed, len(data)):
            _check_types(data, types, budget)
        made: dict[str, Any] = {}
        for described, value in parsed.ListFields():
            key, convert, inline = table[described]
            if convert is None:
                made[key] = value
            elif inline:
                made.update(convert(value, depth + 1, budget))
            else:
                made[key] = convert(value, depth + 1, budget)
        return made

    if message in UNIONS:
        return partial(_read_union, read_message, UNIONS[message])
    if message in LISTS:
        return lambda data, depth, budget: read_message(data, depth, budget).get(LIST_FIELD, [])
    return read_message


Types = Mapping[int, tuple[str, frozenset[int]]]  # of a message's fields, by number: the name, and the wire types


class _Plan(NamedTuple):
    """How a kind of message is read."""

    parse: Callable[[bytes], Any]
    table: dict[Any, tuple[str, Read | None, bool]]  # the library's descriptor -> JSON's key, what converts, inline
    types: Types


def _plan(message: str) -> _Plan:
    made, known = message_class(message), fields(message)
    described = made.DESCRIPTOR.fields_by_number
    table = {described[field.number]: (field.key, _of_field(field), field.inline) for field in known}
    kind = message.rpartition(".")[2]
    return _Plan(made.FromString, table, {each.number: (f"{each.name} of {kind}", _wire_types(each)) for each in known})


def _has_unknown(parsed: Any, size: int) -> bool:
    """Whether there may be fields that the library doesn't know; False is certain. Few messages have any.

    To count them is quickest where there are none, but takes the library microseconds for each: not for large messages.
    """
    if size <= _SMALL_BYTES:
        return len(UnknownFieldSet(parsed)) > 0
    parsed.DiscardUnknownFields()
    return bool(parsed.ByteSize() != size)


def _check_types(data: bytes, known: Types, budget: Budget) -> None:
    """Whether each field that is known has its wire type; the library takes it for an unknown one else.

    Raises Malformed.
    """
    for number, wire_type in wire.tags(data):
        budget.take(1)
        name, allowed = known.get(number, ("", None))
        if allowed is not None and wire_type not in allowed:
            raise Malformed(f"{name} can't have wire type {wire_type}")


def _wire_types(field: Field) -> frozenset[int]:
    if field.map or field.type not in _WIRE_TYPES:
        return frozenset({wire.BYTES})
    own = _WIRE_TYPES[field.type]
    return frozenset({own, wire.BYTES} if field.repeated else {own})  # numbers may be packed


def _read_union(read_message: Read, other: str, data: bytes, depth: int, budget: Budget) -> Any:
    found = read_message(data, depth, budget)
    if UNION_FIELD in found and not isinstance(found.get(other), list):
        return found[UNION_FIELD]
    return found.get(other, False if other == "allows" else [])


def _of_field(field: Field) -> Read | None:
    """None where the value is JSON's already."""
    item = _of_item(field)
    if field.map:
        return partial(_read_map, item)
    if field.repeated:
        return partial(_read_list, item)
    return item


def _read_map(item: Read | None, value: Any, depth: int, budget: Budget) -> dict[str, Any]:
    budget.take(len(value))
    if item is None:
        return {key: value[key] for key in value}
    return {key: item(value[key], depth, budget) for key in value}


def _read_list(item: Read | None, value: Any, depth: int, budget: Budget) -> list[Any]:
    budget.take(len(value))
    return list(value) if item is None else [item(each, depth, budget) for each in value]


def _of_item(field: Field) -> Read | None:
    if field.type == "bytes":
        return lambda value, depth, budget: base64.b64encode(value).decode()
    if field.type == "double":
        return lambda value, depth, budget: _number(value)
    if field.is_scalar:
        return None
    if field.type in VALUES:
        convert = VALUES[field.type][0]
        return lambda value, depth, budget: convert(value)
    return _reader(field.type)


def _number(value: float) -> int | float:
    """As JSON writes it: without a fraction where there is none. Raises Malformed for what isn't finite."""
    if value != value or value in (float("inf"), float("-inf")):
        raise Malformed(f"{value} is no number")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
