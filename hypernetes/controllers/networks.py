"""Networks: made and removed by their provider, numbered so that no two of any tenant share a segment.

One worker: numbers are given out one after another. A finalizer keeps a Network until no pod's port is left in it.
"""

from hypernetes.api import tenancy
from hypernetes.api.models.hypernetes_v1 import Network, NetworkStatus, Port, Tenant
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.providers.network.base import NetworkError, NetworkProvider, NetworkSpec, Subnet

FINALIZER = "hypernetes.io/network"
_LOOK_AGAIN = 5.0  # seconds
_RETRY_FAILED = 30.0  # seconds


def provider_spec(network: Network, tenant: str, tenant_object: Tenant) -> NetworkSpec:
    """What the provider is told. `tenant` is the tenant's name."""
    return NetworkSpec(
        tenant=tenant,
        tenant_uid=tenant_object.metadata.uid or "",
        name=network.metadata.name or "",
        uid=network.metadata.uid or "",
        subnets=tuple(
            Subnet(name, subnet.cidr, subnet.gateway or "") for name, subnet in sorted(network.spec.subnets.items())
        ),
        service_cidr=tenant_object.spec.service_cidr or tenancy.DEFAULT_SERVICE_CIDR,
        segment_id=network.status.segment_id or 0,
        provider_network_id=network.spec.provider_network_id,
    )


def with_status(network: Network, phase: str, message: str | None = None, segment: int | None = None) -> Network:
    """Itself if its status says so already. A segment, once given, stays."""
    status = NetworkStatus(phase=phase, message=message, segment_id=segment or network.status.segment_id)
    return network if status == network.status else network.model_copy(update={"status": status})


class Networks(Controller):
    name = "network"
    workers = 1

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, provider: NetworkProvider
    ) -> None:
        super().__init__(client, informers, recorder)
        self._provider = provider
        self._networks = informers.of(Network)
        self._tenants = informers.of(Tenant)
        self._ports = informers.of(Port)
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
            segment = await self._provider.ensure_network(
                provider_spec(network, key.tenant, tenant), self._used_segments(network)
            )
        except NetworkError as error:
            self.recorder.event(network, "Warning", error.reason, error.message, tenant=key.tenant)
            await self._tell(key, with_status(network, "Failed", f"{error.reason}: {error.message}"), network)
            return _RETRY_FAILED
        self._given[network.metadata.uid or ""] = segment
        await self._tell(key, with_status(network, "Active", None, segment), network)
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
