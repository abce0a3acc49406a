"""What one tenant's networks are made of: all its pods' ports, and its NetworkPolicies with what they refer to.

Namespaces are followed once there has been a policy: most tenants have none.
"""

import asyncio
from collections.abc import Callable

from hypernetes.api.models.core_v1 import Namespace
from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.api.models.networking_v1 import NetworkPolicy
from hypernetes.client import Client, Informer, Key
from hypernetes.providers.network.base import OPEN, Peer, PortPolicy
from hypernetes.providers.network.networkpolicies import Place, Surroundings, port_policy, selecting

_POD = "pod"


class NetworkView:
    """`tell` is called at each change that may matter."""

    def __init__(self, client: Client, tenant: str, tell: Callable[[Key], None]) -> None:
        self._policies: Informer[NetworkPolicy] = Informer(client, NetworkPolicy, tenant=tenant)
        self._namespaces: Informer[Namespace] = Informer(client, Namespace, tenant=tenant)
        self._ports: Informer[Port] = Informer(
            client, Port, tenant=tenant, indexes={_POD: lambda port: [port.spec.pod_ref.uid or ""]}
        )
        self._any_policy = asyncio.Event()
        for informer in (self._policies, self._namespaces, self._ports):
            informer.on_key(tell)
        self._policies.on_key(lambda key: self._any_policy.set())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._policies.run())
            tasks.create_task(self._ports.run())
            await self._any_policy.wait()
            tasks.create_task(self._namespaces.run())

    async def policy(self, own: Place) -> PortPolicy:
        """Of a pod of the tenant, once all that decides it is known."""
        await self._policies.wait_synced()
        policies = selecting((policy for _, policy in self._policies.items()), own)
        if not policies:
            return OPEN
        await self._namespaces.wait_synced()
        await self._ports.wait_synced()
        namespaces = {key.name: namespace.metadata.labels for key, namespace in self._namespaces.items()}
        places = [Place.of(port) for _, port in self._ports.items()]
        return port_policy(policies, own, Surroundings(namespaces, places))

    async def port_of(self, pod_uid: str) -> Port | None:
        """The pod's Port, where it had one when this process began; its own claims since then may be missing."""
        await self._ports.wait_synced()
        ports = self._ports.by_index(_POD, pod_uid)
        return next((port for port in ports if port.metadata.deletion_timestamp is None), None)

    async def port_named(self, key: Key) -> Port | None:
        """As it is known now; one that was just made may be missing."""
        await self._ports.wait_synced()
        return self._ports.get(key)

    async def peers(self, network: str, node: str) -> frozenset[Peer]:
        """The network's ports on all nodes but this one."""
        await self._ports.wait_synced()
        specs = (port.spec for _, port in self._ports.items())
        return frozenset(
            Peer(spec.mac_address, spec.address, spec.node_address)
            for spec in specs
            if spec.network == network and spec.node_name != node and spec.node_address
        )
