"""The one form in which objects are stored, made so that reads need no parsing.

An object is stored as JSON that begins with apiVersion, kind and metadata, with the annotations (if any) first in the
metadata, and without what differs from reader to reader: the resourceVersion, and on `/tenants/*/` paths the tenant's
annotation. Both have a fixed place and are spliced in there.

    {"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","annotations":{"hypernetes.io/tenant":"a",…
                                               └──────spliced──────┘               └────────spliced────────┘

Who manages what of the object (managedFields) is often longer than the object and seldom looked at. So it is apart: in
the store it comes first in the metadata, where it can be found without parsing; in memory it lies beside the object
(mirror.py), and readers get it spliced in behind the resourceVersion.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from hypernetes.api.tenancy import TENANT_ANNOTATION

_METADATA = b'"metadata":{'
_ANNOTATIONS = b'"annotations":{'
_MANAGED = b'"managedFields":'
# A string's closing quote is followed by : , } or ], never by a letter: so this is no part of a string.
_NEXT_MEMBER = re.compile(rb'\],"[A-Za-z]')
_APART = ("annotations", "resourceVersion", "managedFields")


def encode(obj: dict[str, Any]) -> bytes:
    """The stored form of an object, which is left as it is. It must have metadata with a name.

    What orjson gives has the whole of the buffer that it wrote to behind it, 4 KB and more, for as long as it lives: so
    here is a copy.
    """
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _APART}
    annotations = {
        key: value for key, value in (obj["metadata"].get("annotations") or {}).items() if key != TENANT_ANNOTATION
    }
    if annotations:
        metadata = {"annotations": annotations, **metadata}
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    encoded = orjson.dumps({**head, **{key: value for key, value in obj.items() if key not in head}})
    return bytes(memoryview(encoded))


def join(data: bytes, managed: bytes) -> bytes:
    """What is written to the store, of an object and the array of its managers (b"": none)."""
    if not managed:
        return data
    at = data.index(_METADATA) + len(_METADATA)
    return b"".join((data[:at], _MANAGED, managed, b",", data[at:]))


def split(value: bytes) -> tuple[bytes, bytes]:
    """An object and the array of its managers, of what `join` made of them."""
    at = value.find(_METADATA) + len(_METADATA)
    if not value.startswith(_MANAGED, at):
        return value, b""
    found = _NEXT_MEMBER.search(value, at)
    assert found is not None  # the name comes after it
    end = found.start() + 1
    return value[:at] + value[end + 1 :], value[at + len(_MANAGED) : end]


def decode(data: bytes, revision: int) -> dict[str, Any]:
    """The object as a dictionary, with its resourceVersion."""
    obj: dict[str, Any] = orjson.loads(data)
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj


def splice(
    data: bytes, revision: int, tenant: str | None = None, api_version: str | None = None, *, in_list: bool = False,
    managed: Sequence[bytes] = (),
) -> bytes:  # fmt: skip
    """The object as a client gets it, from its stored form and the pieces of the array of its managers.

    `tenant` adds the tenant's annotation; `api_version` replaces the stored one (two names of the same objects); an
    item of a list doesn't repeat what the list says of its kind. Revision 0 is that of an object that isn't stored.
    """
    metadata = data.index(_METADATA)
    at = metadata + len(_METADATA)
    head = data[:at]
    if in_list:
        head = b"{" + _METADATA
    elif api_version is not None:
        head = b'{"apiVersion":"%b"%b' % (api_version.encode(), head[head.index(b',"kind"') :])
    version = b'"resourceVersion":"%d",' % revision if revision else b""
    if managed:
        version = b"".join((version, _MANAGED, *managed, b","))
    if tenant is None:
        return b"".join((head, version, data[at:]))
    annotation = b'"%b":"%b"' % (TENANT_ANNOTATION.encode(), tenant.encode())
    if data.startswith(_ANNOTATIONS, at):
        at += len(_ANNOTATIONS)
        return b"".join((head, version, _ANNOTATIONS, annotation, b",", data[at:]))
    return b"".join((head, version, _ANNOTATIONS, annotation, b"},", data[at:]))
