"""What each tenant has stored, counted as the mirror takes it in: constant work for each change (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass

from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.mirror import Entry, Event, Mirror


@dataclass(slots=True)
class Usage:
    """Of one tenant's stored API objects. What the server keeps beside them (claims, ledgers) isn't counted."""

    stored_bytes: int = 0  # keys and values
    objects: int = 0
    namespaces: int = 0
    pods: int = 0
    networks: int = 0


def size(entry: Entry) -> int:
    return len(entry.key) + entry.size


class TenantUsage:
    """Follows the mirror (follower.Observer)."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._usage: dict[str, Usage] = {}
        self.changed: set[str] = set()  # tenants, since whoever tells of it has emptied this

    def of(self, tenant: str) -> Usage:
        return self._usage.get(tenant) or Usage()

    def reset(self) -> None:
        self._usage.clear()
        for entry in self._mirror.range(self._mirror.keys.root):
            name = entry.name
            if name is not None:
                self._count(name, entry, 1)

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name.resource == "tenants":
                self.changed.add(event.name.name)  # what it may have may be another
            if event.previous is not None:
                self._count(event.name, event.previous, -1)
            if event.entry is not None:
                self._count(event.name, event.entry, 1)

    def _count(self, name: ObjectKey, entry: Entry, sign: int) -> None:
        if not entry.stored:
            return
        group, resource, tenant = name[:3]
        usage = self._usage.setdefault(tenant, Usage())
        usage.stored_bytes += sign * size(entry)
        usage.objects += sign
        if group == "core" and resource == "pods":
            usage.pods += sign
        elif group == "core" and resource == "namespaces":
            usage.namespaces += sign
        elif group == "hypernetes.io" and resource == "networks":
            usage.networks += sign
        if not usage.objects:
            del self._usage[tenant]
        self.changed.add(tenant)
