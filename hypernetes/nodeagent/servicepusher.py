"""Keeps one pod's service tables as its tenant's services are: computed after changes, pushed only when different."""

import asyncio

import structlog

from hypernetes.nodeagent import balancer, services
from hypernetes.nodeagent.changes import settled
from hypernetes.nodeagent.runtime.base import Machine, MachineError
from hypernetes.nodeagent.tenantview import TenantViews

log = structlog.get_logger()

# A roll-out changes endpoints many times a second: a push waits until nothing has changed for the one time, but never
# longer than the other.
QUIET_SECONDS = 0.05
MAX_DELAY_SECONDS = 0.3
RETRY_SECONDS = 5.0


class ServicePusher:
    def __init__(self, views: TenantViews, machine: Machine, *, tenant: str, pod_uid: str, service_cidr: str) -> None:
        self._views, self._machine = views, machine
        self._tenant, self._pod_uid, self._service_cidr = tenant, pod_uid, service_cidr
        self._pushed = services.IDLE if machine.services_idle else None

    async def push(self) -> None:
        """In force when it returns. Raises MachineError."""
        await self._views.wait_synced(self._tenant)  # else the tables would be empty for a moment
        wanted = services.config(
            self._views.services(self._tenant),
            self._views.slices(self._tenant),
            pod_uid=self._pod_uid,
            service_cidr=self._service_cidr,
            before=self._pushed or services.IDLE,
        )
        if wanted == self._pushed:
            return
        before, self._pushed = self._pushed, None  # until it is known what came of it
        table = {balancer.MAP_NAME: wanted.balancer.table()}
        await self._machine.set_services(
            wanted.balancer.configuration(),
            table,
            None if before is not None and before.nftables == wanted.nftables else wanted.nftables,
            None if before is None else wanted.balancer.commands_from(before.balancer),
        )
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
