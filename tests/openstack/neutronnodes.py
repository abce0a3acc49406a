"""The provider `neutron` as hn-controllers and hn-agent have it, and pods without machines on the nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from hypernetes.providers.network.base import PluggedPort, PortSpec
from hypernetes.providers.network.neutron import NeutronNetworkProvider
from tests.openstack.bindersuite import Site
from tests.openstack.neutrons import Neutron


class NeutronSite(Site):
    def __init__(self, neutron: Neutron, directory: Path, cluster_id: str) -> None:
        super().__init__(neutron.ovn)
        self.neutron, self._directory, self._cluster_id = neutron, directory, cluster_id
        said = {"cloud": "neutron", "clouds": str(neutron.clouds_file), "externalNetwork": neutron.outside()}
        self.control = self.provider("control", "", **said)
        self.nodes = {
            switch.name: (switch, self.provider(switch.name, switch.name, ovsdb=switch.ovsdb))
            for switch in neutron.ovn.nodes
        }

    def provider(self, file: str, node: str, **said: object) -> NeutronNetworkProvider:
        path = self._directory / f"{file}.yaml"
        path.write_text(yaml.safe_dump(said))
        return NeutronNetworkProvider(self._cluster_id, node, self._directory, configuration=path)

    async def on_node(self, node: str, port: PortSpec) -> PluggedPort:
        switch, agent = self.nodes[node]
        return switch.namespace.run(lambda: asyncio.run(agent.plug(port)))

    def project(self, name: str) -> str:
        return self.neutron.keystone.project(name)

    def port_ids(self) -> set[str]:
        return {each["id"] for each in self.neutron.rest.get("/ports").json()["ports"]}

    def remove_port(self, id: str) -> None:
        self.neutron.rest.delete(f"/ports/{id}")

    async def close(self) -> None:
        self.pods.close()
        for switch, agent in self.nodes.values():
            switch.namespace.run(lambda agent=agent: asyncio.run(agent.close(remove=True)))  # type: ignore[misc]
        await self.control.close(remove=False)


@asynccontextmanager
async def site(neutron: Neutron, directory: Path, cluster_id: str) -> AsyncIterator[NeutronSite]:
    made = NeutronSite(neutron, directory, cluster_id)
    try:
        yield made
    finally:
        await made.close()
