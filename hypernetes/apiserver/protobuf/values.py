"""The messages that JSON writes as something else than an object: amounts, times, numbers or names, lists, anything.

Each is a pair of functions: from the message's bytes to the JSON value, and back. As upstream's generated code, a time
that isn't set is a message without fields, and null in JSON.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from hypernetes.api import times
from hypernetes.apiserver.protobuf.descriptors import META, RUNTIME, Malformed, message_class
from hypernetes.apiserver.schema import bodies

_QUANTITY = "k8s.io.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "k8s.io.apimachinery.pkg.util.intstr.IntOrString"
_EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBERED = 4096  # values that objects share: amounts, times of a burst, ports

Value = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]

# Messages that stand for their one field, a list.
_WITH_EXTRA = ("authentication", "authorization", "certificates")
LISTS = frozenset({f"{META}.Verbs", *(f"k8s.io.api.{group}.v1.ExtraValue" for group in _WITH_EXTRA)})
LIST_FIELD = "items"
# Messages that are a schema, or else what the field says that is named here: a list, or a boolean.
UNIONS = {
    f"{_EXTENSIONS}.JSONSchemaPropsOrArray": "jSONSchemas",
    f"{_EXTENSIONS}.JSONSchemaPropsOrBool": "allows",
    f"{_EXTENSIONS}.JSONSchemaPropsOrStringArray": "property",
}
UNION_FIELD = "schema"


@lru_cache(maxsize=_REMEMBERED)
def read_quantity(data: bytes) -> str:
    return _parsed(_QUANTITY, data).string or "0"


@lru_cache(maxsize=_REMEMBERED)
def write_quantity(text: str) -> bytes:
    return _written(_QUANTITY, string=text)


@lru_cache(maxsize=_REMEMBERED)
def read_int_or_string(data: bytes) -> int | str:
    parts = _parsed(_INT_OR_STRING, data)
    value: int | str = parts.strVal if parts.type else parts.intVal
    return value


@lru_cache(maxsize=_REMEMBERED)
def write_int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return _written(_INT_OR_STRING, type=1, intVal=0, strVal=value)
    return _written(_INT_OR_STRING, type=0, intVal=value, strVal="")


@lru_cache(maxsize=_REMEMBERED)
def read_time(data: bytes) -> str | None:
    return times.format_time(_moment(data)) if data else None


@lru_cache(maxsize=_REMEMBERED)
def write_time(text: str | None) -> bytes:
    return b"" if text is None else _instant(text, f"{META}.Time")


@lru_cache(maxsize=_REMEMBERED)
def read_micro_time(data: bytes) -> str | None:
    return times.format_micro_time(_moment(data)) if data else None


@lru_cache(maxsize=_REMEMBERED)
def write_micro_time(text: str | None) -> bytes:
    return b"" if text is None else _instant(text, f"{META}.MicroTime")


def read_json(data: bytes) -> Any:
    """Raises StatusError (bodies.load_json), Malformed."""
    raw = _parsed(f"{RUNTIME}.RawExtension", data).raw
    return bodies.load_json(raw) if raw else None


def write_json(value: Any) -> bytes:
    return _written(f"{RUNTIME}.RawExtension", raw=orjson.dumps(value))


VALUES: dict[str, Value] = {
    _QUANTITY: (read_quantity, write_quantity),
    _INT_OR_STRING: (read_int_or_string, write_int_or_string),
    f"{META}.Time": (read_time, write_time),
    f"{META}.MicroTime": (read_micro_time, write_micro_time),
    # all three are one field of JSON
    f"{RUNTIME}.RawExtension": (read_json, write_json),
    f"{META}.FieldsV1": (read_json, write_json),
    f"{_EXTENSIONS}.JSON": (read_json, write_json),
}
NULLABLE = frozenset({write_time, write_micro_time})  # what writes null as a message, too


def _parsed(message: str, data: bytes) -> Any:
    return message_class(message).FromString(data)


def _written(message: str, **values: Any) -> bytes:
    written: bytes = message_class(message)(**values).SerializeToString()
    return written


def _moment(data: bytes) -> datetime:
    parts = _parsed(f"{META}.Time", data)
    try:
        return _EPOCH + timedelta(seconds=parts.seconds, microseconds=parts.nanos // 1000)
    except OverflowError as error:
        raise Malformed(f"{parts.seconds} seconds are beyond all times") from error


def _instant(text: str, message: str) -> bytes:
    since = times.parse_time(text) - _EPOCH
    return _written(message, seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)
