"""Services of type LoadBalancer: each has one at the provider, with the pods that are ready behind it.

A finalizer keeps a Service until its provider has removed what was made for it. A provider that says `Pending` is asked
again soon, and ever more seldom; after a while people are told.
"""

import asyncio
from collections.abc import Iterable

import structlog

from hypernetes.api import tenancy
from hypernetes.api.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, Namespace, Service, ServiceStatus
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.api.models.hypernetes_v1 import Network, Tenant
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.addresses import SERVICE_NAME_LABEL
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.providers.loadbalancer.base import (
    Listener,
    LoadBalancerError,
    LoadBalancerProvider,
    LoadBalancerSpec,
    Member,
    Pending,
)

NETWORK_PROVIDER = "NetworkProvider"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
_RETRY_SECONDS = (2.0, 5.0, 15.0, 60.0)  # by failures in a row
_PENDING_SECONDS = (0.25, 10.0)  # until the provider is asked again; grows by a tenth of what has passed
_LONG_SECONDS = 120.0  # after which a pending load balancer is a failure: an amphora is a machine that boots
_log = structlog.get_logger(__name__)


def is_wanted(service: Service, provider: str) -> bool:
    """Whether a Service is to have one, and of this provider: a class of its own says so, and none means any. The
    original's type NetworkProvider has one for its external address."""
    spec = service.spec
    balanced = spec.type == "LoadBalancer" or (spec.type == NETWORK_PROVIDER and bool(spec.external_ips))
    return balanced and spec.load_balancer_class in (None, f"hypernetes.io/{provider}")


def listeners(service: Service, slices: Iterable[EndpointSlice]) -> tuple[Listener, ...]:
    """Each port of the Service, with what is ready behind it. A pod that ends is served while nothing else is."""
    found = [each for each in slices if each.address_type == "IPv4"]
    made = []
    for port in service.spec.ports:
        ready, ending = set(), set()
        for each in found:
            behind = [entry.port for entry in each.ports if (entry.name or "") == (port.name or "") and entry.port]
            for endpoint in each.endpoints:
                conditions = endpoint.conditions
                members = {Member(address, number) for address in endpoint.addresses for number in behind}
                if conditions is None or conditions.ready is None or conditions.ready:
                    ready |= members
                elif conditions.serving and conditions.terminating:
                    ending |= members
        made.append(Listener(port.protocol or "TCP", port.port, frozenset(ready or ending)))
    return tuple(made)


class LoadBalancers(Controller):
    name = "loadbalancer"

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, provider: LoadBalancerProvider
    ) -> None:
        super().__init__(client, informers, recorder)
        self._provider = provider
        self._services = informers.of(Service)
        self._slices = informers.of(EndpointSlice)
        self._namespaces = informers.of(Namespace)
        self._networks = informers.of(Network)
        self._tenants = informers.of(Tenant)
        self._done: dict[Key, LoadBalancerSpec] = {}  # what this process last made
        self._failures: dict[Key, int] = {}
        self._pending: dict[Key, float] = {}  # since when (monotonic)
        self._services.on_key(self.queue.add)
        self._slices.on_change(self._slice_changed)

    def resharded(self) -> None:
        """Another process may have had these tenants meanwhile."""
        self._done.clear()
        super().resharded()

    def _slice_changed(self, key: Key, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for each in (old, new):
            if each is not None and (name := each.metadata.labels.get(SERVICE_NAME_LABEL)):
                self.queue.add(Key(key.tenant, key.namespace, name))

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(key)
        if service is None:
            self._forget(key)
            return None
        wanted = service.metadata.deletion_timestamp is None and is_wanted(service, self._provider.name)
        if not wanted and FINALIZER not in service.metadata.finalizers:
            return None
        tenant = self._tenants.get(Key(SYSTEM_TENANT, "", key.tenant))
        try:
            if wanted:
                await self._ensure(key, service, tenant)
            else:
                await self._remove(key, service, tenant)
        except Pending as waiting:
            return self._waits(key, service, waiting)
        except LoadBalancerError as error:
            self._pending.pop(key, None)
            return self._failed(key, service, error)
        self._failures.pop(key, None)
        self._pending.pop(key, None)
        return None

    def _waits(self, key: Key, service: Service, waiting: Pending) -> float:
        now = asyncio.get_running_loop().time()
        since = now - self._pending.setdefault(key, now)
        if since > _LONG_SECONDS:
            return self._failed(key, service, LoadBalancerError("Pending", f"{waiting}, for over {since:.0f} s"))
        shortest, longest = _PENDING_SECONDS
        return min(shortest + since / 10, longest)

    def _failed(self, key: Key, service: Service, error: LoadBalancerError) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = _RETRY_SECONDS[min(count, len(_RETRY_SECONDS)) - 1]
        _log.warning("loadbalancer.failed", service=str(key), reason=error.reason, error=error.message, retry_in=delay)
        message = f"{error.reason}: {error.message}"
        self.recorder.event(service, "Warning", "SyncLoadBalancerFailed", message, tenant=key.tenant)
        return delay

    async def _ensure(self, key: Key, service: Service, tenant: Tenant | None) -> None:
        """Raises LoadBalancerError and Pending."""
        spec = self._spec(key, service, tenant)
        if self._done.get(key) == spec and _addresses(service):
            return
        if FINALIZER not in service.metadata.finalizers:
            service = await self._with_finalizers(key, service, [*service.metadata.finalizers, FINALIZER])
            self.recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer", tenant=key.tenant)
        address = await self._provider.ensure(spec)
        if _addresses(service) != [address]:
            await self._tell(key, service, LoadBalancerStatus(ingress=[LoadBalancerIngress(ip=address)]))
            self.recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer", tenant=key.tenant)
        self._done[key] = spec

    async def _remove(self, key: Key, service: Service, tenant: Tenant | None) -> None:
        """Raises LoadBalancerError and Pending."""
        self._done.pop(key, None)
        project = _project(tenant)
        if project:
            await self._provider.delete(project, service.metadata.uid or "")
        if _addresses(service):
            service = await self._tell(key, service, LoadBalancerStatus())
        self.recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer", tenant=key.tenant)
        await self._with_finalizers(key, service, [each for each in service.metadata.finalizers if each != FINALIZER])
        self._forget(key)

    def _spec(self, key: Key, service: Service, tenant: Tenant | None) -> LoadBalancerSpec:
        """Raises LoadBalancerError while it can't be told."""
        project = _project(tenant)
        if not project:
            why = f"the tenant {key.tenant} is no project of Keystone's; set its spec.identity.keystone.projectID"
            raise LoadBalancerError("NoProject", why)
        namespace = self._namespaces.get(Key(key.tenant, "", key.namespace))
        name = (namespace.spec.network if namespace is not None else None) or tenancy.DEFAULT_NETWORK
        network = self._networks.get(Key(key.tenant, "", name))
        if network is None or not network.status.provider_network_id:
            raise LoadBalancerError("NoNetwork", f"the network {name} isn't there yet")
        slices = self._slices.by_index("service", f"{key.tenant}/{key.namespace}/{key.name}")
        return LoadBalancerSpec(
            tenant=key.tenant, project=project, uid=service.metadata.uid or "", name=f"{key.namespace}/{key.name}",
            network_id=network.status.provider_network_id, listeners=listeners(service, slices),
            source_ranges=tuple(service.spec.load_balancer_source_ranges),
            address=_address_of(service), inside=service.spec.type == NETWORK_PROVIDER,
            annotations=dict(service.metadata.annotations),
            published=next(iter(_addresses(service)), ""),
        )  # fmt: skip

    async def _tell(self, key: Key, service: Service, said: LoadBalancerStatus) -> Service:
        status = (service.status or ServiceStatus()).model_copy(update={"load_balancer": said})
        return await self.client.update_status(service.model_copy(update={"status": status}), tenant=key.tenant)

    async def _with_finalizers(self, key: Key, service: Service, finalizers: list[str]) -> Service:
        metadata = service.metadata.model_copy(update={"finalizers": finalizers})
        return await self.client.update(service.model_copy(update={"metadata": metadata}), tenant=key.tenant)

    def _forget(self, key: Key) -> None:
        self._done.pop(key, None)
        self._failures.pop(key, None)
        self._pending.pop(key, None)


def _project(tenant: Tenant | None) -> str:
    identity = tenant.spec.identity if tenant is not None else None
    return (identity.keystone.project_id or "") if identity is not None and identity.keystone is not None else ""


def _address_of(service: Service) -> str:
    """That is asked for. Raises LoadBalancerError."""
    if service.spec.type != NETWORK_PROVIDER:
        return service.spec.load_balancer_ip or ""
    address, *more = service.spec.external_ips
    if more:
        raise LoadBalancerError("SeveralAddresses", "a load balancer has one address outside; give one in externalIPs")
    return address


def _addresses(service: Service) -> list[str]:
    balancer = service.status.load_balancer if service.status is not None else None
    return [each.ip or "" for each in balancer.ingress] if balancer is not None else []
