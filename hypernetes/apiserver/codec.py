"""The one form in which objects are stored, made so that reads need no parsing.

An object is stored as JSON that begins with apiVersion, kind and metadata, with the annotations (if any) first in the
metadata, and without what differs from reader to reader: the resourceVersion, and on `/tenants/*/` paths the tenant's
annotation. Both have a fixed place and are spliced in there.

    {"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","annotations":{"hypernetes.io/tenant":"a",…
                                               └──────spliced──────┘               └────────spliced────────┘
"""

from typing import Any

import orjson

from hypernetes.api.tenancy import TENANT_ANNOTATION

_METADATA = b'"metadata":{'
_ANNOTATIONS = b'"annotations":{'


def encode(obj: dict[str, Any]) -> bytes:
    """The stored form of an object, which is left as it is. It must have metadata with a name.

    What orjson gives has the whole of the buffer that it wrote to behind it, 4 KB and more, for as long as it lives: so
    here is a copy.
    """
    metadata = {key: value for key, value in obj["metadata"].items() if key not in ("annotations", "resourceVersion")}
    annotations = {
        key: value for key, value in (obj["metadata"].get("annotations") or {}).items() if key != TENANT_ANNOTATION
    }
    if annotations:
        metadata = {"annotations": annotations, **metadata}
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    encoded = orjson.dumps({**head, **{key: value for key, value in obj.items() if key not in head}})
    return bytes(memoryview(encoded))


def decode(data: bytes, revision: int) -> dict[str, Any]:
    """The object as a dictionary, with its resourceVersion."""
    obj: dict[str, Any] = orjson.loads(data)
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj


def splice(
    data: bytes, revision: int, tenant: str | None = None, api_version: str | None = None, *, in_list: bool = False
) -> bytes:
    """The object as a client gets it, from its stored form.

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
    if tenant is None:
        return b"".join((head, version, data[at:]))
    annotation = b'"%b":"%b"' % (TENANT_ANNOTATION.encode(), tenant.encode())
    if data.startswith(_ANNOTATIONS, at):
        at += len(_ANNOTATIONS)
        return b"".join((head, version, _ANNOTATIONS, annotation, b",", data[at:]))
    return b"".join((head, version, _ANNOTATIONS, annotation, b"},", data[at:]))
