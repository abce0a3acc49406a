"""Objects of `system` that every tenant sees beside its own: default roles and bindings, classes of storage.

They are stored once. In a tenant they are found by name, stand in lists in their place, and their changes are told to
watches there, each at the revision at which it happened. A tenant's own object of the same name hides the shared one.
"""

from collections.abc import Iterator

from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import sharednames
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.mirror import Entry, Event, Match, Mirror, Page


def concerns(resource: Resource, tenant: str | None) -> bool:
    """Whether a tenant is shown more of this kind than it has."""
    return tenant not in (None, SYSTEM_TENANT) and sharednames.has_shared(resource.group, resource.name)


def is_shared(key: ObjectKey) -> bool:
    return key.tenant == SYSTEM_TENANT and sharednames.is_shared(key.group, key.resource, key.name)


def find(mirror: Mirror, resource: Resource, tenant: str, name: str) -> Entry | None:
    """The shared object of this name, as a tenant sees it."""
    if not concerns(resource, tenant) or not sharednames.is_shared(resource.group, resource.name, name):
        return None
    return mirror.object(resource, SYSTEM_TENANT, "", name)


def is_providers(mirror: Mirror, resource: Resource, tenant: str, name: str) -> bool:
    """Whether the object that a tenant finds by this name is the shared one."""
    return mirror.object(resource, tenant, "", name) is None and find(mirror, resource.stored, tenant, name) is not None


def check_own(mirror: Mirror, resource: Resource, tenant: str, name: str) -> None:
    """That a tenant doesn't change what is the provider's. Raises StatusError (Forbidden)."""
    if concerns(resource.stored, tenant) and is_providers(mirror, resource, tenant, name):
        why = f'{resource.group_resource} "{name}" is forbidden: it is the provider\'s, and shared by all tenants'
        raise StatusError("Forbidden", why, details={"name": name, "group": resource.group, "kind": resource.name})


class Overlay:
    """What the events of a tenant's objects, and of the shared ones, are to a watch in that tenant."""

    def __init__(self, mirror: Mirror, resource: Resource, tenant: str) -> None:
        self._mirror, self._resource, self._tenant = mirror, resource, tenant

    def seen(self, event: Event) -> Event | None:
        """A tenant's own object hides the shared one of its name, which therefore shows when that one goes."""
        name = event.name
        if name.tenant == SYSTEM_TENANT:
            return event if self._mirror.object(self._resource, self._tenant, "", name.name) is None else None
        shared = find(self._mirror, self._resource, self._tenant, name.name) if event.entry is None else None
        return event if shared is None else Event(event.revision, shared, event.previous)


def present(mirror: Mirror, resource: Resource, tenant: str) -> Iterator[Entry]:
    """The shared objects that a tenant sees now."""
    for entry in mirror.range(mirror.keys.range(resource, SYSTEM_TENANT)):
        assert entry.name is not None
        if is_shared(entry.name) and mirror.object(resource, tenant, "", entry.name.name) is None:
            yield entry


def page(
    mirror: Mirror, resource: Resource, tenant: str, *, limit: int, start: str | None, revision: int | None,
    match: Match | None,
) -> Page:  # fmt: skip
    """A page of a tenant's own objects and the shared ones, by name. Raises HistoryGone."""
    prefix = mirror.keys.range(resource, tenant)
    own = mirror.page(prefix, revision=revision)
    names = {_name(entry) for entry in own.entries}
    shared = mirror.page(mirror.keys.range(resource, SYSTEM_TENANT), revision=revision).entries
    seen = own.entries + [each for each in shared if each.name and is_shared(each.name) and _name(each) not in names]
    first = "" if start is None else start.rpartition("/")[2]
    rest = [entry for entry in sorted(seen, key=_name) if _name(entry) >= first and (match is None or match(entry))]
    if not limit or len(rest) <= limit:
        return Page(rest, own.revision, None, None)
    following = mirror.keys.of(resource, tenant, "", _name(rest[limit]))
    return Page(rest[:limit], own.revision, following, None if match else len(rest) - limit)


def _name(entry: Entry) -> str:
    return entry.name.name if entry.name is not None else ""
