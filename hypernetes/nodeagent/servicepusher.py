"""Keeps one pod's service tables as its tenant's services are: computed after changes, pushed only when different."""

import asyncio

import structlog

from hypernetes.nodeagent import services
from hypernetes.nodeagent.changes import settled
from hypernetes.nodeagent.runtime.base import Machine, MachineError
from hypernetes.nodeagent.tenantview import TenantViews

log = structlog.get_logger()

# A roll-out changes endpoints many times a second, and each push makes the pod's HAProxy start over: a push waits until
# nothing has changed for the one time, but never longer than the other.
QUIET_SECONDS = 0.5
MAX_DELAY_SECONDS = 2.0
RETRY_SECONDS = 5.0


class ServicePusher:
    def __init__(self, views: TenantViews, machine: Machine, *, tenant: str, pod_uid: str, service_cidr: str) -> None:
        self._views, self._machine = views, machine
        self._tenant, self._pod_uid, self._service_cidr = tenant, pod_uid, service_cidr
        self._pushed: services.ServiceConfig | None = None

    async def push(self) -> None:
        """In force when it returns. Raises MachineError."""
        await self._views.wait_synced(self._tenant)  # else the tables would be empty for a moment
        wanted = services.config(
            self._views.services(self._tenant),
            self._views.slices(self._tenant),
            pod_uid=self._pod_uid,
            service_cidr=self._service_cidr,
        )
        if wanted != self._pushed:
            await self._machine.set_services(wanted.haproxy, wanted.maps, wanted.nftables)
            self._pushed = wanted

    async def run(self) -> None:
        """Until cancelled."""
        seen = -1
        while True:
            seen = await settled(
                self._changed, await self._changed(seen), quiet=QUIET_SECONDS, longest=MAX_DELAY_SECONDS
            )
            try:
                await self.push()
            except MachineError as error:
                log.warning("services.push.failed", machine=self._machine.id, error=error.message)
                await asyncio.sleep(RETRY_SECONDS)
                seen = -1

    async def _changed(self, seen: int) -> int:
        return await self._views.changed(self._tenant, seen)
