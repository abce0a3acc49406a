"""Tells in the status of tenants what they have. Counts are exact; bytes are written when they have changed by some."""

import asyncio
from typing import Any

import structlog

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Objects, Place, Put
from hypernetes.apiserver.tenantusage import TenantUsage, Usage

Object = dict[str, Any]

TELL_SECONDS = 2.0  # between two looks at which tenants have changed
_STEP_BYTES = 4096  # less than this, or than 1/32, isn't worth a write: status is for people, quotas count exactly
_STEP_SHARE = 32
_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")

log = structlog.get_logger()


def told(tenant: Object, usage: Usage) -> Object:
    """The tenant with its usage in its status; itself where that is told well enough."""
    status = tenant.get("status", {})
    said = status.get("storedBytes", 0)
    counts = {"namespaces": usage.namespaces, "pods": usage.pods}
    if counts.items() <= status.items() and abs(said - usage.stored_bytes) < max(_STEP_BYTES, said // _STEP_SHARE):
        return tenant
    return {**tenant, "status": {**status, **counts, "objects": usage.objects, "storedBytes": usage.stored_bytes}}


class TenantStatuses:
    """Run `run()` in a task."""

    def __init__(self, mirror: Mirror, objects: Objects, usage: TenantUsage) -> None:
        self._mirror, self._objects, self._usage = mirror, objects, usage

    async def run(self) -> None:
        while True:
            changed, self._usage.changed = self._usage.changed, set()
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
        if told(known, self._usage.of(tenant)) is known:
            return

        def decide(old: Object | None) -> Put:
            if old is None:
                raise StatusError("NotFound", f"tenant {tenant} is gone")
            return Put(told(old, self._usage.of(tenant)))

        try:
            await self._objects.change(Place(_TENANTS, SYSTEM_TENANT, "", tenant), decide)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
