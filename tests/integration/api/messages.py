"""A client's view of protobuf: classes with all messages nested in one another, as a generator makes of .proto files.

The server takes messages apart by itself; this is what it has to agree with.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import aiohttp
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from yarl import URL

from hypernetes.api import facts
from tests.integration.api.servers import User

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
META = "k8s.io.apimachinery.pkg.apis.meta.v1"
RUNTIME = "k8s.io.apimachinery.pkg.runtime"
_TYPE = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_TYPE, f"TYPE_{name.upper()}") for name in ("bool", "bytes", "double", "int32", "int64", "string")
}


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", syntax="proto2")
    for name, fields in facts.messages().items():
        described = file.message_type.add(name=_flat(name))
        for number, key, label, type_ in fields:
            field = described.field.add(name=key, number=number, label=3 if label in ("repeated", "map") else 1)
            if label != "map":
                _set_type(field, type_, name)
                continue
            entry = described.nested_type.add(name=f"{key[:1].upper()}{key[1:]}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=1, type=_TYPE.TYPE_STRING)
            value = entry.field.add(name="value", number=2, label=1)
            _set_type(value, type_.partition(",")[2].removesuffix(">"), name)
            field.type, field.type_name = _TYPE.TYPE_MESSAGE, f".{described.name}.{entry.name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _set_type(field: Any, type_: str, within: str) -> None:
    if type_ in _SCALARS:
        field.type = _SCALARS[type_]
        return
    full = type_.removeprefix(".") if "." in type_ else f"{within.rpartition('.')[0]}.{type_}"
    field.type, field.type_name = _TYPE.TYPE_MESSAGE, f".{_flat(full)}"


def _flat(name: str) -> str:
    return name.replace(".", "_")


@cache
def message(name: str) -> Any:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(_flat(name)))


def sealed(api_version: str, kind: str, inner: Any) -> bytes:
    """A message in its envelope."""
    unknown = message(f"{RUNTIME}.Unknown")(raw=inner.SerializeToString())
    unknown.typeMeta.apiVersion, unknown.typeMeta.kind = api_version, kind
    return MAGIC + unknown.SerializeToString()


def opened(body: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind and message of what is in an envelope."""
    assert body.startswith(MAGIC), body[:200]
    unknown = message(f"{RUNTIME}.Unknown").FromString(body[len(MAGIC) :])
    return unknown.typeMeta.apiVersion, unknown.typeMeta.kind, unknown.raw


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        assert headers["Content-Type"] == PROTOBUF, (status, headers["Content-Type"], body[:500])
        self.api_version, self.kind, self.raw = opened(body)

    def of(self, name: str) -> Any:
        """The message, which is to be one of this name."""
        assert self.kind != "Status" or name.endswith(".Status"), self.of(f"{META}.Status")
        return message(name).FromString(self.raw)


class Client:
    """Speaks protobuf and nothing else."""

    def __init__(self, user: User) -> None:
        self._user = user

    async def __call__(self, method: str, path: str, body: bytes | None = None, **query: str) -> Answer:
        answer = await self._user(method, path, body, headers={"Content-Type": PROTOBUF, "Accept": PROTOBUF}, **query)
        return Answer(answer.status, answer.headers, answer.body)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator["Watch"]:
        url = URL(self._user.url + path).with_query({"watch": "true", "timeoutSeconds": "60", **query})
        async with self._user._session.get(url, headers={"Accept": PROTOBUF}) as response:
            assert (response.status, response.headers["Content-Type"]) == (200, f"{PROTOBUF};stream=watch")
            yield Watch(response)


class Watch:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, str, bytes]:
        """The event's type, and the kind and message of what it is about."""
        length = int.from_bytes(await self._response.content.readexactly(4), "big")
        event = message(f"{META}.WatchEvent").FromString(await self._response.content.readexactly(length))
        return event.type, *opened(event.object.raw)[1:]
