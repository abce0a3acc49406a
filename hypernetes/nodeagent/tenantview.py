"""The services and endpoints of each tenant, from the informers; and a way to wait until those of one tenant change."""

import asyncio
from collections import defaultdict

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.api.object import tenant_of
from hypernetes.client import Client, Informer, Key
from hypernetes.nodeagent import dns
from hypernetes.nodeagent.services import SERVICE_NAME_LABEL

_TENANT = "tenant"
_SERVICE = "service"


class TenantViews:
    """Runs two informers on the wildcard path; every question names the tenant it is about."""

    def __init__(self, client: Client) -> None:
        self._services: Informer[Service] = Informer(client, Service, indexes={_TENANT: lambda obj: [tenant_of(obj)]})
        self._slices: Informer[EndpointSlice] = Informer(
            client,
            EndpointSlice,
            indexes={_TENANT: lambda obj: [tenant_of(obj)], _SERVICE: lambda obj: [_service_index(obj)]},
        )
        self._generations: defaultdict[str, int] = defaultdict(int)
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._services.on_key(self._tell)
        self._slices.on_key(self._tell)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._services.run())
            tasks.create_task(self._slices.run())

    async def wait_synced(self) -> None:
        await self._services.wait_synced()
        await self._slices.wait_synced()

    def services(self, tenant: str) -> list[Service]:
        return self._services.by_index(_TENANT, tenant)

    def slices(self, tenant: str) -> list[EndpointSlice]:
        return self._slices.by_index(_TENANT, tenant)

    def dns_view(self, tenant: str, service_cidr: str) -> dns.View:
        return dns.View(
            service=lambda namespace, name: self._services.get(Key(tenant, namespace, name)),
            slices=lambda namespace, name: self._slices.by_index(_SERVICE, f"{tenant}/{namespace}/{name}"),
            all_services=lambda: self.services(tenant),
            service_cidr=service_cidr,
        )

    def generation(self, tenant: str) -> int:
        """Grows with every change of the tenant's services or endpoints."""
        return self._generations[tenant]

    async def changed(self, tenant: str, seen: int) -> int:
        """Waits until the generation isn't `seen`; gives it."""
        while self._generations[tenant] == seen:
            waiter = self._waiters.get(tenant)
            if waiter is None:
                waiter = self._waiters[tenant] = asyncio.get_running_loop().create_future()
            await asyncio.shield(waiter)
        return self._generations[tenant]

    def _tell(self, key: Key) -> None:
        self._generations[key.tenant] += 1
        waiter = self._waiters.pop(key.tenant, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _service_index(each: EndpointSlice) -> str:
    return f"{tenant_of(each)}/{each.metadata.namespace}/{each.metadata.labels.get(SERVICE_NAME_LABEL, '')}"
