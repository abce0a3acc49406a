"""What a tenant may store in all, whatever its namespaces allow: bytes and objects. (tenantledgers.py has the rest.)

The mirror says what there is, and it follows the store by moments; so what has been allowed counts from then until the
mirror has it. Each server knows its own writes only: with several, a tenant may go over by what the others write in
those moments.

Everything is mirrored in memory, so there is a bound on bytes for every tenant. Bounded is what its own people write,
and what anybody makes in it, but for ports. The provider's processes may always change what there is: the state of pods
must be known, and finalizers must go, in a full tenant too.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from hypernetes.api import quantity
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver.mirror import Entry, Mirror
from hypernetes.apiserver.objects import Place
from hypernetes.apiserver.registry import tenants
from hypernetes.apiserver.tenantusage import TenantUsage, size

Object = dict[str, Any]
_MOST_LIMITS = 10_000  # that are kept parsed, of tenants that are written to
Counts = dict[str, int]  # by the names of spec.quota


@dataclass(slots=True)
class _Allowed:
    """Writes of one tenant that the mirror may not have yet."""

    under_way: dict[int, Counts] = field(default_factory=dict)  # by request
    written: list[tuple[int, Counts]] = field(default_factory=list)  # with the revision at which the mirror has it


def limits(tenant: Entry) -> dict[str, str]:
    """What the tenant may have, as quantities."""
    return {**tenants.DEFAULT_QUOTA, **(orjson.loads(tenant.data)["spec"].get("quota") or {})}


def added(place: Place, new: Object, managed: bytes, key: str, former: Entry | None) -> Counts:
    """What a write adds to what is there."""
    grown = len(key) + len(codec.encode(new)) + len(managed) - (size(former) if former is not None else 0)
    if former is not None:
        return {tenants.STORED_BYTES: grown}
    return {tenants.STORED_BYTES: grown, tenants.OBJECTS: 1}


class TenantQuotas:
    """Allows writes, or refuses them. A request `charge`s what it is about to write, and `settle`s once it has."""

    def __init__(self, mirror: Mirror, usage: TenantUsage) -> None:
        self._mirror, self._usage = mirror, usage
        self._allowed: dict[str, _Allowed] = {}
        self._limits: dict[str, tuple[int, dict[str, str]]] = {}  # by tenant, with the revision of the Tenant

    def charge(
        self, request: int, user_tenant: str, tenant: Entry | None, place: Place, new: Object, managed: bytes
    ) -> None:
        """`request` is its number, the same until it is settled. Raises StatusError 403."""
        if tenant is None or place.tenant == SYSTEM_TENANT:
            return
        key = self._mirror.keys.of(place.resource, place.tenant, place.namespace, place.name)
        former = self._mirror.get(key)
        former = former if former is not None and former.stored else None
        if user_tenant == SYSTEM_TENANT and (former is not None or place.resource.stored.name == "ports"):
            return
        allowed = self._allowed.setdefault(place.tenant, _Allowed())
        allowed.under_way.pop(request, None)  # decided anew
        wanted = added(place, new, managed, key, former)
        used = self._used(place.tenant, allowed)
        for name, limit in self._limits_of(place.tenant, tenant).items():
            asked = wanted.get(name, 0)
            if asked > 0 and used[name] + asked > quantity.whole(limit):
                raise _exceeded(place, name, asked, used[name], limit)
        allowed.under_way[request] = wanted

    def settle(self, request: int, tenant: str, revision: int | None) -> None:
        """The request has written, and the mirror has it at `revision`; None: it hasn't."""
        allowed = self._allowed.get(tenant)
        if allowed is None:
            return
        counts = allowed.under_way.pop(request, None)
        if counts is not None and revision is not None and revision > self._mirror.revision:
            allowed.written.append((revision, counts))
        elif not allowed.under_way and not allowed.written:
            del self._allowed[tenant]

    def _used(self, tenant: str, allowed: _Allowed) -> Counts:
        there = self._usage.of(tenant)
        used = {tenants.STORED_BYTES: there.stored_bytes, tenants.OBJECTS: there.objects}
        allowed.written = [each for each in allowed.written if each[0] > self._mirror.revision]
        for counts in (*allowed.under_way.values(), *(counts for _, counts in allowed.written)):
            for name, number in counts.items():
                used[name] += max(0, number)
        return used

    def _limits_of(self, name: str, tenant: Entry) -> dict[str, str]:
        known = self._limits.get(name)
        if known is None or known[0] != tenant.revision:
            if len(self._limits) >= _MOST_LIMITS:
                self._limits.clear()
            known = self._limits[name] = (tenant.revision, limits(tenant))
        return known[1]


def _exceeded(place: Place, name: str, asked: int, used: int, limit: str) -> StatusError:
    resource = place.resource
    why = f"exceeded quota of the tenant, requested: {name}={asked}, used: {name}={used}, limited: {name}={limit}"
    details = {"name": place.name, "kind": resource.name, **({"group": resource.group} if resource.group else {})}
    message = f'{resource.group_resource} "{place.name}" is forbidden: {why}'
    return StatusError("Forbidden", message, details=details)
