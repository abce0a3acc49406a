"""What a tenant with a quota of pods, processors, storage and the like uses of it, in a ledger as ResourceQuotas have.

Every write that changes what is used rewrites the ledger in the same transaction, by compare-and-swap: so no number of
writers and servers passes the quota. A ledger is counted from the mirror when the quota begins to bound something, and
now and then again, in case something went uncounted (what the server itself removes as a tenant is suspended).
"""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from hypernetes.api import scheme
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import amounts, codec
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Entry, Event, Mirror
from hypernetes.apiserver.quota import Ledger, ledger_key, whole
from hypernetes.apiserver.registry import tenants
from hypernetes.apiserver.storage.base import KeyExists, RevisionMismatch, Store, Unavailable
from hypernetes.apiserver.tenantquota import limits

WHOLE = "*"  # stands where the ledgers of quotas have their namespace
LOOK_SECONDS = 2.0
RECOUNT_SECONDS = 300.0
_COUNTED_AT_ONCE = 200  # objects, between two looks at what else there is to do
_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")

log = structlog.get_logger()


def key_of(keys: Keys, tenant: str) -> str:
    return ledger_key(keys, tenant, WHOLE, "tenant")


def bounded(tenant: Entry) -> Amounts:
    """What is counted by a ledger of what the tenant's quota bounds."""
    if b'"quota"' not in tenant.data:
        return {}
    return {name: most for name, most in limits(tenant).items() if name not in tenants.NOT_IN_LEDGER}


def used(value: bytes | None, uid: str | None, hard: Mapping[str, str]) -> Amounts | None:
    """What a ledger says; None where it isn't of this tenant and its quota as they are."""
    if value is None:
        return None
    ledger = Ledger.decode(value)
    return ledger.used if ledger.uid == uid and ledger.used.keys() == hard.keys() else None


async def count(mirror: Mirror, tenant: str, hard: Mapping[str, str]) -> Amounts:
    """What the objects that there are use. It takes turns with others: the caller sees to it that nothing changes."""
    total: Amounts = dict.fromkeys(hard, amounts.ZERO)
    for resource in scheme.served():
        wanted = whole.names(resource, hard) if resource.stored is resource else []
        entries = [each for each in mirror.range(mirror.keys.range(resource, tenant)) if each.stored] if wanted else []
        for start in range(0, len(entries), _COUNTED_AT_ONCE):
            objects = (codec.decode(each.data, 0) for each in entries[start : start + _COUNTED_AT_ONCE])
            total = amounts.add(total, whole.counted(resource, wanted, objects))
            await asyncio.sleep(0)
    return total


class TenantLedgers:
    """Counts ledgers that are to be counted. Follows the mirror (follower.Observer); run `run()` in a task."""

    def __init__(self, store: Store, mirror: Mirror, lookups: Lookups) -> None:
        self._store, self._mirror, self._lookups = store, mirror, lookups
        self._due: dict[str, float] = {}  # tenants with such a quota; when, by the loop's clock
        self.counted: set[str] = set()  # whose ledger was written here, until somebody has told of it

    def reset(self) -> None:
        self._due.clear()
        for entry in self._mirror.range(self._mirror.keys.range(_TENANTS, SYSTEM_TENANT)):
            self._look(entry)

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name.resource == _TENANTS.name and event.entry is not None:
                self._look(event.entry)

    def _look(self, tenant: Entry) -> None:
        assert tenant.name is not None
        if bounded(tenant):
            hard, name = bounded(tenant), tenant.name.name
            if name not in self._due or self._known(name, hard) is None:
                self._due[name] = 0.0
        else:
            self._due.pop(tenant.name.name, None)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for tenant in [name for name, due in self._due.items() if due <= loop.time()]:
                try:
                    if await self._recount(tenant):
                        self._due[tenant] = loop.time() + RECOUNT_SECONDS
                except Unavailable as error:
                    log.warning("a tenant's quota has to wait", tenant=tenant, error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    def used(self, tenant: str) -> Amounts | None:
        """What is used of the tenant's quota, as far as it is known."""
        found = self._lookups.tenant(tenant)
        return None if found is None else self._known(tenant, bounded(found))

    def _known(self, tenant: str, hard: Mapping[str, str]) -> Amounts | None:
        entry = self._mirror.get(key_of(self._mirror.keys, tenant))
        return used(None if entry is None else entry.data, self._lookups.tenant_uid(tenant), hard)

    async def _recount(self, tenant: str) -> bool:
        """Whether the ledger is right; False where it changed meanwhile."""
        found, uid = self._lookups.tenant(tenant), self._lookups.tenant_uid(tenant)
        hard = {} if found is None else bounded(found)
        if not hard or uid is None:
            self._due.pop(tenant, None)
            return False
        key = key_of(self._mirror.keys, tenant)
        entry, known = self._mirror.get(key), self._known(tenant, hard)
        total = await count(self._mirror, tenant, hard)
        if total == known:
            return True
        data = Ledger(uid, total).encode()
        try:
            if entry is None:
                await self._store.create(key, data)
            else:
                await self._store.update(key, data, entry.revision)
        except (KeyExists, RevisionMismatch):
            return False
        self.counted.add(tenant)
        return True
