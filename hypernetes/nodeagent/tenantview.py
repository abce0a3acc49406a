"""The services, endpoints, ports and policies of the tenants that have pods here; and a way to wait until they change.

A node reads a tenant's services while it runs one of its pods, and no longer: whoever takes a node over learns what
its pods could have told, and the API refuses it the rest.
"""

import asyncio
from collections.abc import Callable

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.client import Client, Informer, Key
from hypernetes.nodeagent import dns
from hypernetes.nodeagent.changes import Changes
from hypernetes.nodeagent.networkview import NetworkView
from hypernetes.nodeagent.services import SERVICE_NAME_LABEL
from hypernetes.providers.network.base import Peer, PortPolicy
from hypernetes.providers.network.networkpolicies import Place

_SERVICE = "service"


class _TenantInformers:
    """Follows one tenant, for as many pods as there are."""

    def __init__(
        self, client: Client, tenant: str, tell: Callable[[Key], None], tell_network: Callable[[Key], None]
    ) -> None:
        self.pods = 0
        self.services: Informer[Service] = Informer(client, Service, tenant=tenant)
        self.slices: Informer[EndpointSlice] = Informer(
            client, EndpointSlice, tenant=tenant, indexes={_SERVICE: lambda obj: [_service_index(obj)]}
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.services.on_key(tell)
        self.slices.on_key(tell)
        self.network = NetworkView(client, tenant, tell_network)

    def start(self, group: asyncio.TaskGroup) -> None:
        self._tasks = [group.create_task(each.run()) for each in (self.services, self.slices, self.network)]

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
        self._changes, self._network_changes = Changes(), Changes()

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
            informers = self._tenants[tenant] = _TenantInformers(
                self._client, tenant, self._tell, lambda key: self.network_changed(key.tenant)
            )
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
        return self._changes.generation(tenant)

    async def changed(self, tenant: str, seen: int) -> int:
        """Waits until the generation isn't `seen`; gives it."""
        return await self._changes.after(tenant, seen)

    async def policy(self, tenant: str, own: Place) -> PortPolicy:
        """What the policies of the tenant make of one of its pods, once they are known."""
        return await self._tenants[tenant].network.policy(own)

    async def port_of(self, tenant: str, pod_uid: str) -> Port | None:
        """A pod's Port from before this process began (`networkview.NetworkView.port_of`)."""
        return await self._tenants[tenant].network.port_of(pod_uid)

    async def port_named(self, tenant: str, name: str) -> Port | None:
        """A Port of the tenant's, as it is known now."""
        return await self._tenants[tenant].network.port_named(Key(tenant, "", name))

    async def peers(self, tenant: str, network: str, node: str) -> frozenset[Peer]:
        """The ports of one of the tenant's networks on all nodes but this one, once they are known."""
        return await self._tenants[tenant].network.peers(network, node)

    def network_changed(self, tenant: str) -> None:
        """Something has changed that the tenant's networks or policies depend on."""
        self._network_changes.tell(tenant)

    async def network_change(self, tenant: str, seen: int) -> int:
        """As `changed`, of what networks and policies depend on."""
        return await self._network_changes.after(tenant, seen)

    def _service(self, tenant: str, namespace: str, name: str) -> Service | None:
        informers = self._tenants.get(tenant)
        return informers.services.get(Key(tenant, namespace, name)) if informers else None

    def _slices_of(self, tenant: str, namespace: str, name: str) -> list[EndpointSlice]:
        informers = self._tenants.get(tenant)
        return informers.slices.by_index(_SERVICE, f"{namespace}/{name}") if informers else []

    def _tell(self, key: Key) -> None:
        self._changes.tell(key.tenant)


def _service_index(each: EndpointSlice) -> str:
    return f"{each.metadata.namespace}/{each.metadata.labels.get(SERVICE_NAME_LABEL, '')}"
