"""What a plugin is given: a write that is about to happen, and what else there is in the tenant.

Plugins are plain functions. They read the mirror, which may be a moment behind; a refusal therefore counts only once it
has been repeated on a mirror that is known to be up to date (`admission.admit`). So what a plugin changes, it must be
able to change twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.api.selectors import Labels
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authz import Attributes, Authorizer
from hypernetes.apiserver.mirror import Entry, Mirror

Object = dict[str, Any]

_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")

CREATE, UPDATE, DELETE = "CREATE", "UPDATE", "DELETE"


class Seen:
    """The objects of one tenant, as the mirror has them."""

    def __init__(self, mirror: Mirror, tenant: str) -> None:
        self._mirror, self.tenant = mirror, tenant

    @property
    def provider(self) -> "Seen":
        """The objects of the provider's own tenant."""
        return Seen(self._mirror, SYSTEM_TENANT)

    def tenant_entry(self) -> Entry | None:
        """The tenant itself."""
        return self._mirror.object(_TENANTS, SYSTEM_TENANT, "", self.tenant)

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry | None:
        return self._mirror.object(resource, self.tenant, namespace, name)

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        entry = self.entry(resource, namespace, name)
        return None if entry is None else orjson.loads(entry.data)

    def entries(self, resource: Resource, namespace: str | None = None) -> list[Entry]:
        """Those of one namespace, or all of the tenant."""
        return list(self._mirror.range(self._mirror.keys.range(resource, self.tenant, namespace)))

    def all(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        return [orjson.loads(entry.data) for entry in self.entries(resource, namespace)]

    def labels(self, resource: Resource, namespace: str, name: str) -> Labels:
        """Those of one object; none where it isn't there."""
        entry = self.entry(resource, namespace, name)
        return {} if entry is None else entry.labels


@dataclass(slots=True)
class Request:
    """One write. `obj` is {} for a DELETE, `old` is {} for a CREATE; both are in the form they are stored in."""

    operation: str
    resource: Resource  # as stored: events and scales of every version are one resource
    subresource: str
    namespace: str
    name: str
    user: User
    seen: Seen
    obj: Object
    old: Object
    warnings: list[str] = field(default_factory=list)  # what the client is told beside the answer
    authorizer: Authorizer | None = None  # for plugins that ask what else the user may

    def forbidden(self, why: str) -> StatusError:
        """The refusal in upstream's form."""
        resource = self.resource
        metadata = self.obj.get("metadata", {})
        name = self.name or metadata.get("name") or metadata.get("generateName") or "Unknown"
        group = {"group": resource.group} if resource.group else {}
        return StatusError(
            "Forbidden", f'{resource.group_resource} "{name}" is forbidden: {why}',
            details={"name": name, "kind": resource.name, **group},
        )  # fmt: skip

    def may(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether the user may do something else, too."""
        if self.authorizer is None:
            return False
        asked = Attributes(self.seen.tenant, verb, group=group, resource=resource, name=name)
        return self.authorizer.authorize(self.user, asked).allowed

    def warn(self, text: str) -> None:
        """Once, however often the request is looked at."""
        if text not in self.warnings:
            self.warnings.append(text)


Hook = Callable[[Request], None]


@dataclass(frozen=True)
class Plugin:
    """One rule of admission: `mutate` completes the object before it is validated, `validate` may refuse it after.

    Both raise StatusError. Where `resources` is None, all are meant.
    """

    name: str
    resources: tuple[tuple[str, str], ...] | None  # (group, plural)
    operations: tuple[str, ...] = (CREATE,)
    subresources: tuple[str, ...] = ("",)
    mutate: Hook | None = None
    validate: Hook | None = None

    @cached_property
    def _resources(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.resources or ())

    def concerns(self, resource: Resource, subresource: str, operation: str) -> bool:
        if operation not in self.operations or subresource not in self.subresources:
            return False
        return self.resources is None or (resource.group, resource.name) in self._resources
