"""The services and endpoints of the tenants that have pods here, from informers; and a way to wait until they change.

A node reads a tenant's services while it runs one of its pods, and no longer: whoever takes a node over learns what
its pods could have told, and the API refuses it the rest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.client import Client, Informer, Key
from hypernetes.nodeagent import dns
from hypernetes.nodeagent.services import SERVICE_NAME_LABEL

_SERVICE = "service"


class _TenantInformers:
    """Follows one tenant, for as many pods as there are."""

    def __init__(self, client: Client, tenant: str, tell: Callable[[Key], None]) -> None:
        self.pods = 0
        self.services: Informer[Service] = Informer(client, Service, tenant=tenant)
        self.slices: Informer[EndpointSlice] = Informer(
            client, EndpointSlice, tenant=tenant, indexes={_SERVICE: lambda obj: [_service_index(obj)]}
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.services.on_key(tell)
        self.slices.on_key(tell)

    def start(self, group: asyncio.TaskGroup) -> None:
        self._tasks = [group.create_task(informer.run()) for informer in (self.services, self.slices)]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def wait_synced(self) -> None:
        await self.services.wait_synced()
        await self.slices.wait_synced()


class TenantViews:
    """Every question names the tenant it is about; of a tenant that isn't followed, nothing is known."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tenants: dict[str, _TenantInformers] = {}
        self._group: asyncio.TaskGroup | None = None
        self._generations: defaultdict[str, int] = defaultdict(int)
        self._waiters: dict[str, asyncio.Future[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for informers in self._tenants.values():
                informers.start(self._group)
            await asyncio.Event().wait()

    def follow(self, tenant: str) -> None:
        """A pod of the tenant is here; `leave` takes that back."""
        informers = self._tenants.get(tenant)
        if informers is None:
            informers = self._tenants[tenant] = _TenantInformers(self._client, tenant, self._tell)
            if self._group is not None:
                informers.start(self._group)
        informers.pods += 1

    def leave(self, tenant: str) -> None:
        informers = self._tenants[tenant]
        informers.pods -= 1
        if not informers.pods:
            informers.stop()
            del self._tenants[tenant]

    async def wait_synced(self, tenant: str) -> None:
        """Until what the tenant has is known. KeyError for one that isn't followed."""
        await self._tenants[tenant].wait_synced()

    def services(self, tenant: str) -> list[Service]:
        informers = self._tenants.get(tenant)
        return [service for _, service in informers.services.items()] if informers else []

    def slices(self, tenant: str) -> list[EndpointSlice]:
        informers = self._tenants.get(tenant)
        return [each for _, each in informers.slices.items()] if informers else []

    def dns_view(self, tenant: str, service_cidr: str) -> dns.View:
        return dns.View(
            service=lambda namespace, name: self._service(tenant, namespace, name),
            slices=lambda namespace, name: self._slices_of(tenant, namespace, name),
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

    def _service(self, tenant: str, namespace: str, name: str) -> Service | None:
        informers = self._tenants.get(tenant)
        return informers.services.get(Key(tenant, namespace, name)) if informers else None

    def _slices_of(self, tenant: str, namespace: str, name: str) -> list[EndpointSlice]:
        informers = self._tenants.get(tenant)
        return informers.slices.by_index(_SERVICE, f"{namespace}/{name}") if informers else []

    def _tell(self, key: Key) -> None:
        self._generations[key.tenant] += 1
        waiter = self._waiters.pop(key.tenant, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _service_index(each: EndpointSlice) -> str:
    return f"{each.metadata.namespace}/{each.metadata.labels.get(SERVICE_NAME_LABEL, '')}"
