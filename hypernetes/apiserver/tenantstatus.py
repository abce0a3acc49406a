"""Tells in the status of tenants what they have. Counts are exact; bytes are written when they have changed by some."""

import asyncio
from typing import Any

import structlog

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Objects, Place, Put
from hypernetes.apiserver.registry import tenants
from hypernetes.apiserver.tenantledgers import TenantLedgers
from hypernetes.apiserver.tenantusage import TenantUsage, Usage

Object = dict[str, Any]

TELL_SECONDS = 2.0  # between two looks at which tenants have changed
_STEP_BYTES = 4096  # less than this, or than 1/32, isn't worth a write: status is for people, quotas count exactly
_STEP_SHARE = 32
_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")

log = structlog.get_logger()


def told(tenant: Object, usage: Usage, ledger: Amounts | None = None) -> Object:
    """The tenant with its usage in its status; itself where that is told well enough. `ledger`: what it uses else."""
    status, quota = tenant.get("status", {}), tenant.get("spec", {}).get("quota") or {}
    said = status.get("storedBytes", 0)
    counts = {"namespaces": usage.namespaces, "pods": usage.pods, "networks": usage.networks}
    former = status.get("quota") or {}
    counted = {name: (former.get("used") or {}).get(name) for name in ledger or {}} == (ledger or {})
    if (
        counts.items() <= status.items()
        and abs(said - usage.stored_bytes) < max(_STEP_BYTES, said // _STEP_SHARE)
        and (former.get("hard") or {}) == quota
        and counted
    ):
        return tenant
    new = {**status, **counts, "objects": usage.objects, "storedBytes": usage.stored_bytes}
    new.pop("quota", None)
    if quota:
        own = {tenants.STORED_BYTES: str(usage.stored_bytes), tenants.OBJECTS: str(usage.objects), **(ledger or {})}
        new["quota"] = {"hard": quota, "used": {name: own[name] for name in quota if name in own}}
    return {**tenant, "status": new}


class TenantStatuses:
    """Run `run()` in a task."""

    def __init__(self, mirror: Mirror, objects: Objects, usage: TenantUsage, ledgers: TenantLedgers) -> None:
        self._mirror, self._objects, self._usage, self._ledgers = mirror, objects, usage, ledgers

    async def run(self) -> None:
        while True:
            changed, self._usage.changed = self._usage.changed | self._ledgers.counted, set()
            self._ledgers.counted = set()
            for tenant in changed:
                try:
                    await self._tell(tenant)
                except StatusError as error:
                    self._usage.changed.add(tenant)
                    log.info("a tenant's usage was not written", tenant=tenant, error=error.message)
            await asyncio.sleep(TELL_SECONDS)

    async def _tell(self, tenant: str) -> None:
        entry = self._mirror.object(_TENANTS, SYSTEM_TENANT, "", tenant)
        if entry is None:
            return
        known = codec.decode(entry.data, entry.revision)
        if self._told(known) is known:
            return

        def decide(old: Object | None) -> Put:
            if old is None:
                raise StatusError("NotFound", f"tenant {tenant} is gone")
            return Put(self._told(old))

        try:
            await self._objects.change(Place(_TENANTS, SYSTEM_TENANT, "", tenant), decide)
        except StatusError as error:
            if error.reason != "NotFound":
                raise

    def _told(self, tenant: Object) -> Object:
        name = tenant["metadata"]["name"]
        return told(tenant, self._usage.of(name), self._ledgers.used(name))
