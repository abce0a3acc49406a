"""Networks: made and removed by their provider, numbered so that no two of any tenant share a segment.

Numbers are given out one after another. A provider that has segments of its own may take long over one tenant's network
meanwhile, so others' are worked on beside it. A finalizer keeps a Network until no pod's port is left in it.
"""

import asyncio
import contextlib

from hypernetes.api import tenancy
from hypernetes.api.models import hypernetes_v1
from hypernetes.api.models.hypernetes_v1 import Network, NetworkStatus, Port, Tenant
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.providers.network import subnets
from hypernetes.providers.network.base import EnsuredNetwork, NetworkError, NetworkProvider, NetworkSpec

FINALIZER = "hypernetes.io/network"
_LOOK_AGAIN = 5.0  # seconds
_RETRY_FAILED = 30.0  # seconds


def provider_spec(network: Network, tenant: str, tenant_object: Tenant) -> NetworkSpec:
    """What the provider is told. `tenant` is the tenant's name."""
    identity = tenant_object.spec.identity
    return NetworkSpec(
        tenant=tenant,
        tenant_uid=tenant_object.metadata.uid or "",
        name=network.metadata.name or "",
        uid=network.metadata.uid or "",
        subnets=subnets.of(network) if network.spec.subnets else (),
        service_cidr=tenant_object.spec.service_cidr or tenancy.DEFAULT_SERVICE_CIDR,
        segment_id=network.status.segment_id or 0,
        provider_network_id=network.spec.provider_network_id,
        project=(identity.keystone.project_id or "") if identity and identity.keystone else "",
    )


def with_status(
    network: Network, phase: str, message: str | None = None, ensured: EnsuredNetwork | None = None
) -> Network:
    """Itself if its status says so already. What a provider once said, stays."""
    former = network.status
    ensured = ensured or EnsuredNetwork()
    found = {
        each.name: hypernetes_v1.Subnet(
            cidr=each.cidr, gateway=each.gateway, allocation_ranges=[f"{first}-{last}" for first, last in each.ranges]
        )
        for each in ensured.subnets
    }
    status = NetworkStatus(
        phase=phase, message=message, segment_id=ensured.segment_id or former.segment_id,
        subnets=found or former.subnets,
        provider_network_id=ensured.provider_network_id or former.provider_network_id,
    )  # fmt: skip
    return network if status == former else network.model_copy(update={"status": status})


class Networks(Controller):
    name = "network"

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, provider: NetworkProvider
    ) -> None:
        super().__init__(client, informers, recorder)
        self._provider = provider
        self._networks = informers.of(Network)
        self._tenants = informers.of(Tenant)
        self._ports = informers.of(Port)
        self._numbering = contextlib.nullcontext() if provider.binds_ports else asyncio.Lock()
        self._given: dict[str, int] = {}  # segments by Network UID that the cache may not show yet
        self._networks.on_key(self.queue.add)
        self._ports.on_change(self._port_changed)
        self._tenants.on_change(self._tenant_changed)

    def _port_changed(self, key: Key, old: Port | None, new: Port | None) -> None:
        if new is None and old is not None:
            self.queue.add(Key(key.tenant, "", old.spec.network))

    def _tenant_changed(self, key: Key, old: Tenant | None, new: Tenant | None) -> None:
        if old is None:
            for network in self._networks.keys():  # noqa: SIM118  an informer is no mapping
                if network.tenant == key.name:
                    self.queue.add(network)

    async def reconcile(self, key: Key) -> float | None:
        network = self._networks.get(key)
        if network is None:
            return None
        tenant = self._tenants.get(Key(SYSTEM_TENANT, "", key.tenant))
        if network.metadata.deletion_timestamp is not None:
            return await self._remove(key, network, tenant)
        if tenant is None:
            # Its event will come; a network of no tenant has no place to be in.
            return None
        if FINALIZER not in network.metadata.finalizers:
            metadata = network.metadata.model_copy(update={"finalizers": [*network.metadata.finalizers, FINALIZER]})
            network = await self.client.update(network.model_copy(update={"metadata": metadata}), tenant=key.tenant)
        if network.status.phase in (None, "", "Pending"):
            network = await self._tell(key, with_status(network, "Initializing"), network)
        try:
            async with self._numbering:
                ensured = await self._provider.ensure_network(
                    provider_spec(network, key.tenant, tenant), self._used_segments(network)
                )
                self._given[network.metadata.uid or ""] = ensured.segment_id
        except NetworkError as error:
            self.recorder.event(network, "Warning", error.reason, error.message, tenant=key.tenant)
            await self._tell(key, with_status(network, "Failed", f"{error.reason}: {error.message}"), network)
            return _RETRY_FAILED
        await self._tell(key, with_status(network, "Active", None, ensured), network)
        return None

    async def _tell(self, key: Key, told: Network, former: Network) -> Network:
        return former if told is former else await self.client.update_status(told, tenant=key.tenant)

    def _used_segments(self, network: Network) -> frozenset[int]:
        """Of all other networks of all tenants."""
        known = {entry.metadata.uid or "": entry.status.segment_id or 0 for _, entry in self._networks.items()}
        self._given = {uid: segment for uid, segment in self._given.items() if uid in known}
        used = {**{uid: segment for uid, segment in known.items() if segment}, **self._given}
        used.pop(network.metadata.uid or "", None)
        return frozenset(used.values())

    async def _remove(self, key: Key, network: Network, tenant: Tenant | None) -> float | None:
        if FINALIZER not in network.metadata.finalizers:
            return None
        ports = self._ports.index_keys("network", f"{key.tenant}/{key.name}")
        if ports:
            message = f"{len(ports)} ports are in use, such as {ports[0].name}"
            await self._tell(key, with_status(network, "Terminating", message), network)
            return _LOOK_AGAIN
        if tenant is not None:
            try:
                await self._provider.delete_network(provider_spec(network, key.tenant, tenant))
            except NetworkError as error:
                message = f"{error.reason}: {error.message}"
                await self._tell(key, with_status(network, "Terminating", message), network)
                return _RETRY_FAILED
        finalizers = [entry for entry in network.metadata.finalizers if entry != FINALIZER]
        metadata = network.metadata.model_copy(update={"finalizers": finalizers})
        await self.client.update(network.model_copy(update={"metadata": metadata}), tenant=key.tenant)
        return None
