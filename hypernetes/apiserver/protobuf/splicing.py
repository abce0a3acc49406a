"""An object's message as it is kept: with its resourceVersion at a fixed place, where another one can be put instead.

The metadata is field 1 of every object and so comes first. The resourceVersion, and on `/tenants/*/` paths the tenant's
annotation, lie at its beginning: the order of fields means nothing. Most answers are what is kept.

    0a │ length │ resourceVersion, annotation │ the rest of the metadata │ the other fields
"""

from functools import lru_cache

from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.apiserver.protobuf import writing
from hypernetes.apiserver.protobuf.descriptors import META
from hypernetes.apiserver.protobuf.wire import FIRST, chunk, read_varint, varint

_RESOURCE_VERSION = b"\x32"  # the tag of ObjectMeta's field 6


def begun(message: bytes, revision: int) -> bytes:
    """The message of an object with its resourceVersion. Revision 0 is that of one that isn't stored."""
    length, at = read_varint(message, 1)
    return _joined(_version(revision), length, message[at:])


def splice(message: bytes, revision: int, tenant: str | None = None) -> bytes:
    """A message that `begun` made, with another resourceVersion, or with the tenant's annotation."""
    length, at = read_varint(message, 1)
    if message.startswith(_RESOURCE_VERSION, at):
        former = 2 + message[at + 1]
        length, at = length - former, at + former
    added = _version(revision)
    if tenant is not None:
        added += _annotation(tenant)
    return _joined(added, length, message[at:])


def _joined(added: bytes, length: int, rest: bytes) -> bytes:
    return b"".join((FIRST, varint(length + len(added)), added, rest))


def _version(revision: int) -> bytes:
    return chunk(_RESOURCE_VERSION, str(revision).encode()) if revision else b""


@lru_cache(maxsize=4096)
def _annotation(tenant: str) -> bytes:
    return writing.write(f"{META}.ObjectMeta", {"annotations": {TENANT_ANNOTATION: tenant}})
