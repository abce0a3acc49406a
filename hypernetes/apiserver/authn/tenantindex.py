"""Which Tenant an identity source means: by name, or by the id that its `spec.identity` holds. From the mirror.

`spec.identity` has a field for each provider that brings tenants, with that provider's id of the tenant in it.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from hypernetes.api import scheme, times
from hypernetes.api.tenancy import SYSTEM_TENANT, is_dns_label
from hypernetes.apiserver.authn.sources import LivingTenant
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Entry, Event, Mirror
from hypernetes.providers.identity.base import TenantReference

_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # of the tenant `system`
_ID_FIELDS = {"keystone": "projectID"}  # provider -> the field of spec.identity.<provider> with the id


class TenantIndex:
    """Tell it every event of the mirror, and when the mirror has been loaded anew."""

    def __init__(self, mirror: Mirror, lookups: Lookups) -> None:
        self._mirror, self._lookups = mirror, lookups
        self._by_id: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # (provider, id) -> names

    def reset(self) -> None:
        self._by_id.clear()
        for entry in self._mirror.range(self._mirror.keys.range(_TENANTS, SYSTEM_TENANT)):
            self._put(entry)

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.name
            if key.resource != _TENANTS.name or key.group != _TENANTS.group or key.tenant != SYSTEM_TENANT:
                continue
            if event.previous is not None:
                for each in _ids(event.previous):
                    self._by_id[each].discard(key.name)
                    if not self._by_id[each]:
                        del self._by_id[each]
            if event.entry is not None:
                self._put(event.entry)

    def living(self, source: str, tenant: TenantReference) -> LivingTenant | None:
        """The tenant that a source refers to; None where there is none, or two have the id."""
        name = tenant.name
        if not name:
            names = self._by_id.get((source, tenant.id), ())
            if len(names) != 1:
                return None
            name = next(iter(names))
        uid = self._lookups.tenant_uid(name) if is_dns_label(name) else None
        return None if uid is None else LivingTenant(name, uid, self._since(name))

    def _since(self, name: str) -> datetime:
        entry = self._lookups.tenant(name)
        if entry is None:
            return _BEGINNING
        if "since" not in entry.views:
            entry.views["since"] = orjson.loads(entry.data)["metadata"]["creationTimestamp"].encode()
        return times.parse_time(entry.views["since"].decode())

    def _put(self, entry: Entry) -> None:
        assert entry.name is not None
        for each in _ids(entry):
            self._by_id[each].add(entry.name.name)


def _ids(entry: Entry) -> list[tuple[str, str]]:
    if b'"identity"' not in entry.data:
        return []
    found: dict[str, Any] = (orjson.loads(entry.data).get("spec") or {}).get("identity") or {}
    return [
        (provider, id) for provider, field in _ID_FIELDS.items() if (id := (found.get(provider) or {}).get(field) or "")
    ]
