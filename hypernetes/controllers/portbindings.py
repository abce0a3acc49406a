"""Binds pods' ports to their nodes, and keeps their policies, for a network provider whose ports are its own objects.

hn-agent claims an address by making a Port; what its provider makes of it is in the Port's status, which the agent
waits for. A finalizer keeps the Port, and so its address, until the provider has let go of it. NetworkPolicies become
groups of ports: the ports of one network that the same policies select are one. The leading process does this for all
tenants, as what is left over at the provider can only be told by who knows all Ports.

    Port ──► bind_port ──► status {Ready, binding} ──► hn-agent plugs
    Port, NetworkPolicy, Namespace changed ──► set_group, or another group
    every minute ──► sweep_ports: leftovers go, what was lost is bound anew
"""

import asyncio
import hashlib
from collections.abc import Iterable
from functools import partial

import structlog

from hypernetes.api.models.core_v1 import Namespace
from hypernetes.api.models.hypernetes_v1 import Network, Port, PortStatus, Tenant
from hypernetes.api.models.networking_v1 import NetworkPolicy
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index
from hypernetes.controllers.networks import provider_spec
from hypernetes.providers import fencing
from hypernetes.providers.network import subnets
from hypernetes.providers.network.base import OPEN, NetworkError, NetworkSpec, PolicyGroup, PortBinder, PortSpec
from hypernetes.providers.network.networkpolicies import Place, Surroundings, port_policy, selecting

FINALIZER = "hypernetes.io/port-binding"
OPEN_KEY = "open"  # of the group of ports without a policy
READY, FAILED = "Ready", "Failed"
_SWEEP_SECONDS = 60.0
_RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0)  # by failures in a row
_log = structlog.get_logger(__name__)


def group_key(policies: Iterable[NetworkPolicy], own: Place, network_uid: str) -> str:
    """Equal for ports that have equal policies whatever else changes: the same ones select them, and they call their
    ports the same."""
    names = sorted(policy.metadata.uid or "" for policy in policies)
    if not names:
        return OPEN_KEY
    ports = sorted(f"{port.name}:{port.protocol or 'TCP'}:{port.container_port}" for port in own.ports)
    text = "/".join((network_uid, *names, *ports))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def port_spec(port: Port, network: NetworkSpec, network_object: Network) -> PortSpec:
    """What the provider is told of a claim. Raises NetworkError for a claim in no subnet of its network."""
    spec = port.spec
    subnet = next((each for each in subnets.of(network_object) if each.name == spec.subnet), None)
    if subnet is None:
        raise NetworkError("NoSuchSubnet", f"the network {network.name} has no subnet {spec.subnet}")
    return PortSpec(spec.pod_ref.uid or "", network, subnet, spec.address, spec.mac_address)


class PortBindings(Controller):
    name = "portbinding"
    workers = 8

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, provider: PortBinder,
        sweep_seconds: float = _SWEEP_SECONDS,
    ) -> None:  # fmt: skip
        super().__init__(client, informers, recorder)
        self._provider, self._sweep_seconds = provider, sweep_seconds
        self._ports = informers.of(Port)
        self._networks = informers.of(Network)
        self._tenants = informers.of(Tenant)
        self._policies = informers.of(NetworkPolicy)
        self._namespaces = informers.of(Namespace)
        self._lost: set[Key] = set()  # whose port at the provider is gone
        self._bound: dict[Key, str] = {}  # group keys of the ports that this process has bound
        self._failures: dict[Key, int] = {}
        self._ports.on_change(self._port_changed)
        self._policies.on_key(lambda key: self._queue_tenant(key.tenant))
        self._namespaces.on_change(self._namespace_changed)
        self._networks.on_key(self._queue_network)
        self._tenants.on_key(lambda key: self._queue_tenant(key.name))

    def _port_changed(self, key: Key, old: Port | None, new: Port | None) -> None:
        self.queue.add(key)
        comes_or_goes = old is None or new is None or old.metadata.labels != new.metadata.labels
        if comes_or_goes and self._policies.index_size("tenant", key.tenant):
            self._queue_tenant(key.tenant)

    def _namespace_changed(self, key: Key, old: Namespace | None, new: Namespace | None) -> None:
        before, after = (each.metadata.labels if each else None for each in (old, new))
        if before != after and self._policies.index_size("tenant", key.tenant):
            self._queue_tenant(key.tenant)

    def _queue_network(self, key: Key) -> None:
        for port in self._ports.index_keys("network", f"{key.tenant}/{key.name}"):
            self.queue.add(port)

    def _queue_tenant(self, tenant: str) -> None:
        for port in self._ports.index_keys("namespace", namespace_index(tenant, None)):
            self.queue.add(port)

    def resharded(self) -> None:
        """Another process may have led meanwhile."""
        self._bound.clear()
        self._provider.forget()
        super().resharded()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            tasks.create_task(super().run())

    async def reconcile(self, key: Key) -> float | None:
        port = self._ports.get(key)
        if port is None:
            self._forget(key)
            return None
        tenant = self._tenants.get(Key(SYSTEM_TENANT, "", key.tenant))
        network = self._networks.get(Key(key.tenant, "", port.spec.network))
        if port.metadata.deletion_timestamp is not None:
            return await self._release(key, port, network, tenant)
        if tenant is None or network is None or network.status.phase != "Active":
            return None  # their events will come
        if FINALIZER not in port.metadata.finalizers:
            port = await self._with_finalizers(key, port, [*port.metadata.finalizers, FINALIZER])
        try:
            await self._bind(key, port, network, tenant)
        except NetworkError as error:
            return await self._failed(key, port, error)
        self._failures.pop(key, None)
        return None

    async def _bind(self, key: Key, port: Port, network: Network, tenant: Tenant) -> None:
        """Raises NetworkError."""
        spec = provider_spec(network, key.tenant, tenant)
        group = self._group(key.tenant, port, network)
        if port.status.phase == READY and self._bound.get(key) == group.key and key not in self._lost:
            await self._provider.set_group(spec, group)
            return
        binding = await self._provider.bind_port(port_spec(port, spec, network), port.spec.node_name or "", group)
        self._lost.discard(key)
        self._bound[key] = group.key
        await self._tell(key, port, PortStatus(phase=READY, binding=dict(binding)))

    async def _failed(self, key: Key, port: Port, error: NetworkError) -> float:
        """The pod's agent tells the pod's owner. What the port was bound as, stays said."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = _RETRY_SECONDS[min(count, len(_RETRY_SECONDS)) - 1]
        _log.warning("port.bind.failed", port=str(key), reason=error.reason, error=error.message, retry_in=delay)
        status = PortStatus(phase=FAILED, reason=error.reason, message=error.message, binding=port.status.binding)
        await self._tell(key, port, status)
        return delay

    async def _tell(self, key: Key, port: Port, status: PortStatus) -> None:
        if status != port.status:
            await self.client.update_status(port.model_copy(update={"status": status}), tenant=key.tenant)

    async def _release(self, key: Key, port: Port, network: Network | None, tenant: Tenant | None) -> float | None:
        if FINALIZER not in port.metadata.finalizers:
            return None
        if tenant is not None and network is not None:  # else the sweep finds what is left
            try:
                spec = provider_spec(network, key.tenant, tenant)
                await self._provider.release_port(port_spec(port, spec, network))
            except NetworkError as error:
                return await self._failed(key, port, error)
        await self._with_finalizers(key, port, [each for each in port.metadata.finalizers if each != FINALIZER])
        self._forget(key)
        return None

    async def _with_finalizers(self, key: Key, port: Port, finalizers: list[str]) -> Port:
        metadata = port.metadata.model_copy(update={"finalizers": finalizers})
        return await self.client.update(port.model_copy(update={"metadata": metadata}), tenant=key.tenant)

    def _forget(self, key: Key) -> None:
        self._lost.discard(key)
        self._bound.pop(key, None)
        self._failures.pop(key, None)

    def _group(self, tenant: str, port: Port, network: Network) -> PolicyGroup:
        own = Place.of(port)
        policies = selecting(self._policies.by_index("namespace", namespace_index(tenant, own.namespace)), own)
        key = group_key(policies, own, network.metadata.uid or "")
        if not policies:
            return PolicyGroup(key, OPEN)
        everywhere = namespace_index(tenant, None)
        namespaces = {
            each.metadata.name or "": each.metadata.labels
            for each in self._namespaces.by_index("namespace", everywhere)
        }
        places = [
            Place.of(each)
            for each in self._ports.by_index("namespace", everywhere)
            if each.metadata.deletion_timestamp is None
        ]
        return PolicyGroup(key, port_policy(policies, own, Surroundings(namespaces, places)))

    async def _sweep(self) -> None:
        for informer in self.needs():
            await informer.wait_synced()
        while True:
            await asyncio.sleep(self._sweep_seconds)
            if not self.informers.acts_on(SYSTEM_TENANT):
                continue  # another process leads, and has all Ports
            known = [port for _, port in self._ports.items()]
            keep = {port.spec.pod_ref.uid or "": port.status.binding.get("portID", "") for port in known}
            try:
                with fencing.guarded(partial(self.informers.may_act, SYSTEM_TENANT)):
                    lost = await self._provider.sweep_ports(keep)
            except fencing.Fenced:
                continue
            except NetworkError as error:
                _log.warning("port.sweep.failed", reason=error.reason, error=error.message)
                continue
            for key, port in self._ports.items():
                uid = port.spec.pod_ref.uid or ""
                if uid in lost and port.status.binding.get("portID") == keep[uid]:  # it wasn't bound anew meanwhile
                    _log.warning("port.lost", port=str(key))
                    self._lost.add(key)
                    self.queue.add(key)
