"""The provider `neutron` as hn-controllers and hn-agent have it, and pods without machines on the nodes."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import yaml

from hypernetes.providers.network.base import OPEN, NetworkSpec, PolicyGroup, PortSpec, Subnet
from hypernetes.providers.network.neutron import NeutronNetworkProvider
from tests.integration.networks.pods import Pod
from tests.openstack.neutrons import Neutron

OPEN_GROUP = PolicyGroup("open", OPEN)
CIDR = "10.0.0.0/24"


def network_of(tenant: str, project: str, name: str = "default", *subnets: Subnet, adopts: str = "") -> NetworkSpec:
    def uid(*parts: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))

    return NetworkSpec(
        tenant=tenant, tenant_uid=uid(tenant), name=name, uid=uid(tenant, name),
        subnets=() if adopts else subnets or (Subnet("a", CIDR, "10.0.0.1"),), service_cidr="10.254.0.0/16",
        provider_network_id=adopts or None, project=project,
    )  # fmt: skip


def port_of(network: NetworkSpec, address: str) -> PortSpec:
    id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{network.uid}/{address}"))
    octets = hashlib.sha256(id.encode()).digest()[:5]
    mac = ":".join(["02", *(f"{octet:02x}" for octet in octets)])
    return PortSpec(id, network, network.subnets[0], address, mac)


class Site:
    """A cluster's control side, and its agents on Neutron's hosts."""

    def __init__(self, neutron: Neutron, directory: Path, cluster_id: str) -> None:
        self.neutron, self._directory, self._cluster_id = neutron, directory, cluster_id
        said = {"cloud": "neutron", "clouds": str(neutron.clouds_file), "externalNetwork": neutron.outside()}
        self.control = self.provider("control", "", **said)
        self.nodes = {
            switch.name: (switch, self.provider(switch.name, switch.name, ovsdb=switch.ovsdb))
            for switch in neutron.ovn.nodes
        }
        self._pods = ExitStack()

    def provider(self, file: str, node: str, **said: object) -> NeutronNetworkProvider:
        path = self._directory / f"{file}.yaml"
        path.write_text(yaml.safe_dump(said))
        return NeutronNetworkProvider(self._cluster_id, node, self._directory, configuration=path)

    async def pod(self, port: PortSpec, node: str, group: PolicyGroup = OPEN_GROUP) -> Pod:
        binding = await self.control.bind_port(port, node, group)
        return await self.plug(port, node, binding)

    async def plug(self, port: PortSpec, node: str, binding: Mapping[str, str]) -> Pod:
        switch, agent = self.nodes[node]
        spec = replace(port, binding=tuple(binding.items()))
        made = switch.namespace.run(lambda: asyncio.run(agent.plug(spec)))
        return self._pods.enter_context(closing(Pod(spec, made)))

    async def close(self) -> None:
        self._pods.close()
        for switch, agent in self.nodes.values():
            switch.namespace.run(lambda agent=agent: asyncio.run(agent.close(remove=True)))  # type: ignore[misc]
        await self.control.close(remove=False)


@asynccontextmanager
async def site(neutron: Neutron, directory: Path, cluster_id: str) -> AsyncIterator[Site]:
    made = Site(neutron, directory, cluster_id)
    try:
        yield made
    finally:
        await made.close()
