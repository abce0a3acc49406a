"""Where in the store an object lies: `<root><group or core>/<resource>/<tenant>/<namespace or ->/<name>`.

The order makes every list one range: of a resource in all tenants, in one tenant, in one namespace. Internal keys
(address claims, signing keys) begin with `~`, so that no object's range ever meets them.
"""

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from hypernetes.api.scheme import Resource

_ROOT = "hypernetes"
_PARTS = 8  # of an object's key between slashes: nothing, the root, the cluster, and those of ObjectKey
_COLLECTION_PARTS = 3  # group, resource and tenant


class ObjectKey(NamedTuple):
    """A store key, taken apart. `namespace` is "" for what is cluster-scoped."""

    group: str  # "core" for the core group
    resource: str
    tenant: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Keys:
    """Makes and reads the keys of one cluster."""

    cluster_id: str

    @cached_property
    def root(self) -> str:
        return f"/{_ROOT}/{self.cluster_id}/"

    def of(self, resource: Resource, tenant: str, namespace: str, name: str) -> str:
        stored = resource.stored
        return f"{self.root}{stored.group or 'core'}/{stored.name}/{tenant}/{namespace or '-'}/{name}"

    def range(self, resource: Resource, tenant: str | None = None, namespace: str | None = None) -> str:
        """The prefix of all objects of a resource, of one tenant, of one namespace; it ends with a slash."""
        stored = resource.stored
        everywhere = f"{self.root}{stored.group or 'core'}/{stored.name}/"
        if tenant is None:
            return everywhere
        return f"{everywhere}{tenant}/{namespace}/" if namespace else f"{everywhere}{tenant}/"

    def collection(self, key: str) -> str:
        """Of an object's key or a range of such: the range of its resource in its tenant; "" where it spans several."""
        end = len(self.root)
        for _ in range(_COLLECTION_PARTS):
            end = key.find("/", end) + 1
            if not end:
                return ""
        return key[:end]

    def internal(self, kind: str, *parts: str) -> str:
        return f"{self.root}~{'/'.join((kind, *parts))}"


def parse(key: str) -> ObjectKey | None:
    """The parts of an object's key; None for an internal key or one that isn't ours."""
    parts = key.split("/")
    if len(parts) != _PARTS or parts[1] != _ROOT or parts[3].startswith("~"):
        return None
    # of those that are kept there are many, and few different parts: each once in memory
    group, resource, tenant, namespace = map(sys.intern, parts[3:7])
    return ObjectKey(group, resource, tenant, "" if namespace == "-" else namespace, parts[7])


def range_end(prefix: str) -> str:
    """The first key after all that begin with `prefix`, which ends with a slash."""
    return f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}"
