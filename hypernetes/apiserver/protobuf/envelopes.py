"""What is around a message: four bytes and a `runtime.Unknown` that says the kind; in a watch, an event, its length.

k8s\\0 │ Unknown{typeMeta{apiVersion, kind}, raw}            an object, or a list
length │ WatchEvent{type, object{raw: k8s\\0 │ Unknown…}}    an event; the length is four bytes, big-endian
"""

from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from hypernetes.api.status import StatusError
from hypernetes.apiserver.protobuf import reading, writing
from hypernetes.apiserver.protobuf.descriptors import META, RUNTIME, Malformed, message_class, of_kind
from hypernetes.apiserver.protobuf.wire import FIRST, SECOND, chunk, varint

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
WATCH_MEDIA_TYPE = f"{MEDIA_TYPE};stream=watch"
_MAGIC = b"k8s\x00"
_SHOWN = 100  # characters of what a client says, in an error
TAIL = b"\x1a\x00\x22\x00"  # contentEncoding and contentType, which upstream writes and leaves empty


def decode(body: bytes, default: tuple[str, str] = ("", "")) -> dict[str, Any]:
    """The object in an envelope; one that doesn't say its kind is of the `default` (apiVersion, kind).

    Raises StatusError 400.
    """
    try:
        if not body.startswith(_MAGIC):
            raise Malformed("the envelope's first bytes are missing")
        envelope: Any = message_class(f"{RUNTIME}.Unknown").FromString(body[len(_MAGIC) :])
        head: Any = message_class(f"{RUNTIME}.TypeMeta").FromString(envelope.typeMeta)
        api_version, kind = head.apiVersion or default[0], head.kind or default[1]
        message = of_kind(api_version, kind)
        if message is None:
            raise Malformed(f"no kind {kind[:_SHOWN]!r} is registered for version {api_version[:_SHOWN]!r}")
        obj = reading.read(message, envelope.raw)
    except (DecodeError, Malformed) as error:
        raise StatusError("BadRequest", f"the body is not a valid protobuf message: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **obj}


def encode(obj: dict[str, Any]) -> bytes:
    """An object, whole, in its envelope. KeyError for a kind that has no message."""
    # the old discovery documents don't say theirs
    api_version, kind = obj.get("apiVersion", ""), obj["kind"]
    message = of_kind(api_version or "v1", kind)
    if message is None:
        raise KeyError(f"no message of kind {kind} in {api_version}")
    return wrap(api_version, kind, writing.write(message, obj))


def wrap(api_version: str, kind: str, message: bytes) -> bytes:
    return b"".join((head(api_version, kind, len(message)), message, TAIL))


def head(api_version: str, kind: str, length: int) -> bytes:
    """What comes before a message of `length` bytes; `TAIL` comes after it."""
    return _kind(api_version, kind) + varint(length)


@lru_cache(maxsize=512)
def _kind(api_version: str, kind: str) -> bytes:
    said = message_class(f"{RUNTIME}.TypeMeta")(apiVersion=api_version, kind=kind).SerializeToString()
    return b"".join((_MAGIC, chunk(FIRST, said), SECOND))


def event(event_type: str, obj: bytes) -> bytes:
    """A frame of a watch; `obj` is in its envelope."""
    framed = chunk(FIRST, event_type.encode()) + chunk(SECOND, chunk(FIRST, obj))
    return len(framed).to_bytes(4, "big") + framed


def frames(data: bytes) -> int:
    """How many frames of a watch there are in `data`."""
    at = count = 0
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
        count += 1
    return count


def list_head(metadata: dict[str, Any]) -> bytes:
    """The first field of a list's message; its items follow."""
    return chunk(FIRST, writing.write(f"{META}.ListMeta", metadata))


@lru_cache(maxsize=4096)
def item_head(length: int) -> bytes:
    """What comes before each item of a list."""
    return SECOND + varint(length)
