"""The provider itself."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from hypernetes.providers.network.base import (
    EnsuredNetwork,
    NetworkError,
    NetworkSpec,
    Peer,
    PluggedPort,
    PolicyGroup,
    PortPolicy,
    PortSpec,
)
from hypernetes_ovn import names
from hypernetes_ovn.database import Database, mapping, several
from hypernetes_ovn.groups import Groups
from hypernetes_ovn.networks import Networks, Outside
from hypernetes_ovn.node import Node

_NORTHBOUND, _OVSDB = "unix:/var/run/ovn/ovnnb_db.sock", "unix:/var/run/openvswitch/db.sock"


class OVNNetworkProvider:
    """See hypernetes.providers.network.base, which has the promises."""

    binds_ports = True

    def __init__(
        self, cluster_id: str, node_name: str, state_dir: Path, node_address: str = "",
        configuration: Path | None = None,
    ) -> None:  # fmt: skip
        """Raises ValueError for a configuration that can't be used."""
        said = {} if configuration is None else yaml.safe_load(configuration.read_text()) or {}
        if unknown := said.keys() - {"northbound", "ovsdb", "outside"}:
            raise ValueError(f"{configuration}: {sorted(unknown)[0]} is not known here")
        try:
            outside = Outside(**said["outside"]) if "outside" in said else None
        except TypeError as error:
            raise ValueError(f"{configuration}: outside: {error}") from error
        self._cluster = cluster_id
        self._database = Database("ovn-nbctl", said.get("northbound", _NORTHBOUND))
        self._networks = Networks(cluster_id, self._database, outside)
        self._groups = Groups(cluster_id, self._database)
        self._node = Node(cluster_id, node_name, Database("ovs-vsctl", said.get("ovsdb", _OVSDB)))
        self._known: dict[str, PolicyGroup] = {}  # by the group's name, as it was made last
        self._suspects: frozenset[str] = frozenset()  # what the last sweep found without an owner

    # -- of the cluster --

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        return EnsuredNetwork(provider_network_id=await self._networks.ensure(network))

    async def delete_network(self, network: NetworkSpec) -> None:
        await self._networks.delete(network)

    async def bind_port(self, port: PortSpec, node: str, group: PolicyGroup) -> Mapping[str, str]:
        name, place = names.port(self._cluster, port.id), f"{port.mac_address} {port.address}"
        await self._database.transact(
            ["--may-exist", "lsp-add", names.switch(self._cluster, port.network), name],
            ["lsp-set-addresses", name, place], ["lsp-set-port-security", name, place],
            ["set", "Logical_Switch_Port", name, f"external_ids:hypernetes-cluster={self._cluster}",
             f"external_ids:hypernetes-pod={port.id}", f"options:requested-chassis={node}"],
        )  # fmt: skip
        wanted = await self._group(port.network, group)
        [row] = await self._database.find("Logical_Switch_Port", "_uuid", hypernetes_pod=port.id)
        [uuid] = several(row[0])
        changes = []
        for other, ports in await self._database.find("Port_Group", "name,ports", hypernetes_cluster=self._cluster):
            if other == wanted and uuid not in several(ports):
                changes.append(["add", "Port_Group", str(other), "ports", uuid])
            elif other != wanted and uuid in several(ports):
                changes.append(["remove", "Port_Group", str(other), "ports", uuid])
        if changes:
            await self._database.transact(*changes)
        return {"portID": name}

    async def set_group(self, network: NetworkSpec, group: PolicyGroup) -> None:
        await self._group(network, group)

    async def release_port(self, port: PortSpec) -> None:
        await self._database.transact(["--if-exists", "lsp-del", names.port(self._cluster, port.id)])

    def forget(self) -> None:
        self._known.clear()
        self._suspects = frozenset()

    async def sweep_ports(self, keep: Mapping[str, str]) -> frozenset[str]:
        """What has no owner goes when it was found so twice: a port in the making is not yet known to the caller."""
        former = self._suspects
        ports = {
            str(name): mapping(ids).get("hypernetes-pod")
            for name, ids in await self._database.find(
                "Logical_Switch_Port", "name,external_ids", hypernetes_cluster=self._cluster
            )
        }
        groups = await self._database.find("Port_Group", "name,ports", hypernetes_cluster=self._cluster)
        lonely = {name for name, pod in ports.items() if pod is not None and pod not in keep}
        empty = {str(name) for name, members in groups if not several(members)}
        gone = [["--if-exists", "lsp-del", name] for name in lonely & former]
        gone += [["--if-exists", "destroy", "Port_Group", name] for name in empty & former]
        if gone:
            await self._database.transact(*gone)
            self._known = {name: group for name, group in self._known.items() if name not in empty & former}
        self._suspects = frozenset(lonely | empty)
        return frozenset(pod for pod, id in keep.items() if id and id not in ports)

    # -- of the node --

    async def open(self) -> None:
        await self._node.open()

    async def plug(self, port: PortSpec) -> PluggedPort:
        return await self._node.plug(port)

    async def rebind(self, port: PortSpec) -> None:
        await self._node.rebind(port)

    async def set_policy(self, port: PortSpec, policy: PortPolicy) -> None:
        raise NetworkError("NotOfNodes", "policies of OVN's ports are kept by hn-controllers")

    async def set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        """Nothing to do: OVN knows where ports are."""

    async def unplug(self, port_id: str) -> None:
        await self._node.unplug(port_id)

    async def sweep(self, keep: frozenset[str]) -> None:
        await self._node.sweep(keep)

    async def close(self, *, remove: bool) -> None:
        if remove:
            await self._node.sweep(frozenset())

    async def _group(self, network: NetworkSpec, group: PolicyGroup) -> str:
        name = names.group(self._cluster, network, group.key)
        if self._known.get(name) != group:
            await self._groups.ensure(network, group)
            self._known[name] = group
        return "" if group.policy == PortPolicy() else name
