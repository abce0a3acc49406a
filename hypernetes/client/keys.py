"""How informers and queues name an object: by tenant, namespace and name."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hypernetes.api import tenancy


class Key(NamedTuple):
    tenant: str
    namespace: str  # "" for a cluster-scoped object
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def key_of(obj: Any) -> Key:
    """Of an object that was read on a /tenants/*/ path; KeyError for one that wasn't."""
    metadata = obj.metadata
    return Key(metadata.annotations[tenancy.TENANT_ANNOTATION], metadata.namespace or "", metadata.name)


def key_of_metadata(metadata: Mapping[str, Any], tenant: str) -> Key:
    """Of an object in JSON form; `tenant` is for those that don't say theirs."""
    stated = (metadata.get("annotations") or {}).get(tenancy.TENANT_ANNOTATION)
    return Key(stated or tenant, metadata.get("namespace") or "", metadata["name"])
