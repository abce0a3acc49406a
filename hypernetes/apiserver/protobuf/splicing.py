"""An object's message as it is kept, without what differs from reader to reader, and with it: codec.py for JSON.

The metadata is field 1 of every object and so comes first. What is added to it, the resourceVersion and on
`/tenants/*/` paths the tenant's annotation, lies at its beginning: the order of fields means nothing.

    0a │ length │ resourceVersion, annotation │ metadata as kept │ the other fields
"""

from functools import lru_cache

from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.apiserver.protobuf import writing
from hypernetes.apiserver.protobuf.descriptors import META
from hypernetes.apiserver.protobuf.wire import FIRST, read_varint, varint

_RESOURCE_VERSION = b"\x32"  # the tag of ObjectMeta's field 6


def splice(message: bytes, revision: int, tenant: str | None = None) -> bytes:
    """The message of an object (not of a list) as a client gets it. Revision 0 is that of one that isn't stored."""
    assert message.startswith(FIRST)
    length, at = read_varint(message, 1)
    added = b""
    if revision:
        text = str(revision).encode()
        added = b"".join((_RESOURCE_VERSION, varint(len(text)), text))
    if tenant is not None:
        added += _annotation(tenant)
    return b"".join((FIRST, varint(length + len(added)), added, message[at:]))


@lru_cache(maxsize=4096)
def _annotation(tenant: str) -> bytes:
    return writing.write(f"{META}.ObjectMeta", {"annotations": {TENANT_ANNOTATION: tenant}})
