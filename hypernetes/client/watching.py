"""Watch events as the server writes them: one JSON object per line."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from hypernetes.api.object import Object
from hypernetes.api.status import StatusError
from hypernetes.client.errors import Garbled

T = TypeVar("T", bound=Object)

BOOKMARK = "BOOKMARK"
_HEADS = {kind: b'{"type":"' + kind.encode() + b'","object":' for kind in ("ADDED", "MODIFIED", "DELETED")}


@dataclass(frozen=True, slots=True)
class RawEvent:
    """`data` is the object's JSON; `fields` the same, parsed. For a BOOKMARK `data` is empty."""

    type: str  # ADDED, MODIFIED, DELETED or BOOKMARK
    data: bytes
    fields: dict[str, Any]

    @property
    def resource_version(self) -> str:
        version: str = self.fields["metadata"]["resourceVersion"]
        return version


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """`object` is None for a BOOKMARK, which only says up to where nothing more is to come."""

    type: str
    object: T | None
    resource_version: str


def parse_line(line: bytes) -> RawEvent:
    """Raises the StatusError that an ERROR event carries, and Garbled for what is no watch event."""
    try:
        event = orjson.loads(line)
        kind, fields = event["type"], event["object"]
        if kind == "ERROR":
            raise StatusError.from_dict(fields, int(fields.get("code") or 500))
        if kind == BOOKMARK:
            return RawEvent(kind, b"", fields)
        return RawEvent(kind, _object_bytes(line, kind, fields), fields)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Garbled(f"not a watch event: {line[:200]!r}") from error


def _object_bytes(line: bytes, kind: str, fields: dict[str, Any]) -> bytes:
    """Cut out of the line where it has the usual form, so that nothing is encoded again."""
    head = _HEADS[kind]
    if line.startswith(head) and line.endswith(b"}}"):
        return line[len(head) : -1]
    return orjson.dumps(fields)
