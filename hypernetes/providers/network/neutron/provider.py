"""The provider itself: Neutron's half blocks, so it runs in a few threads; the node's half is `plugging`'s."""

import asyncio
import collections
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hypernetes.providers import clouds, fencing
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
from hypernetes.providers.network.neutron import api, configuration, groups, networks, ports, tags
from hypernetes.providers.network.neutron.plugging import Plugging

Result = TypeVar("Result")

_THREADS = 8  # calls under way: Neutron answers most in 0.1 to 1 s


class NeutronNetworkProvider:
    """See hypernetes/providers/network/base.py, which has the promises."""

    binds_ports = True

    def __init__(
        self, cluster_id: str, node_name: str, state_dir: Path, node_address: str = "127.0.0.1",
        configuration: Path | None = None,
    ) -> None:  # fmt: skip
        """Raises ValueError for a configuration that can't be used."""
        self._cluster_id = cluster_id
        self._configuration = _read(configuration)
        self._plugging = Plugging(cluster_id, node_name, self._configuration.ovsdb)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="neutron")
        self._neutron: api.Neutron | None = None
        self._places: dict[str, networks.Place] = {}  # by the network's UID
        self._groups: dict[tuple[str, str], tuple[PolicyGroup, str]] = {}  # with their ids, by project and key
        self._suspects: frozenset[str] = frozenset()  # what the last sweep found without an owner
        # What is made once for a tenant is made by one at a time.
        self._turns: dict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)

    # -- of the cluster --

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        external = self._configuration.external_network
        self._places.pop(network.uid, None)
        async with self._turns[network.tenant_uid]:
            return await self._ask(lambda neutron: networks.ensure(neutron, self._cluster_id, network, external))

    async def delete_network(self, network: NetworkSpec) -> None:
        self._places.pop(network.uid, None)
        async with self._turns[network.tenant_uid]:
            await self._ask(lambda neutron: networks.delete(neutron, self._cluster_id, network))

    async def bind_port(self, port: PortSpec, node: str, group: PolicyGroup) -> Mapping[str, str]:
        host = self._configuration.hosts.get(node, node)
        place = await self._place(port.network)
        try:
            group_id = await self._group(port.network, group)
            return await self._ask(lambda neutron: ports.bind(neutron, self._cluster_id, port, place, host, group_id))
        except api.NeutronError as error:
            if error.kind in ("SecurityGroupNotFound", "NetworkNotFound", "SubnetNotFound") or error.status == 404:
                self._forget(port.network)  # it went behind our back; the next attempt makes or finds it again
            raise

    async def set_group(self, network: NetworkSpec, group: PolicyGroup) -> None:
        await self._group(network, group)

    async def release_port(self, port: PortSpec) -> None:
        await self._ask(lambda neutron: ports.release(neutron, self._cluster_id, port))

    def forget(self) -> None:
        self._places.clear()
        self._groups.clear()
        self._suspects = frozenset()

    async def sweep_ports(self, keep: Mapping[str, str]) -> frozenset[str]:
        """What has no owner goes when it was found so twice: a port in the making is not yet known to the caller."""
        former = self._suspects

        def swept(neutron: api.Neutron) -> tuple[frozenset[str], frozenset[str]]:
            there = ports.all_of(neutron, self._cluster_id)
            used = {group for each in there for group in each["security_groups"]}
            found = neutron.listed("security-groups", tags=tags.cluster(self._cluster_id))
            ours = [each["id"] for each in found if tags.OURS in each["tags"]]
            suspects = {each["id"] for each in there if each["device_id"] not in keep} | ({*ours} - used)
            for kind, ids in (("ports", [each["id"] for each in there]), ("security-groups", ours)):
                for id in suspects & former & {*ids}:
                    _remove(neutron, kind, id)
            there_ids = {each["id"] for each in there}
            return frozenset(suspects), frozenset(pod for pod, id in keep.items() if id and id not in there_ids)

        self._suspects, lost = await self._ask(swept)
        gone = self._suspects & former
        self._groups = {key: entry for key, entry in self._groups.items() if entry[1] not in gone}
        return lost

    # -- of the node --

    async def open(self) -> None:
        await self._plugging.open()

    async def plug(self, port: PortSpec) -> PluggedPort:
        return await self._plugging.plug(port)

    async def rebind(self, port: PortSpec) -> None:
        await self._plugging.rebind(port)

    async def set_policy(self, port: PortSpec, policy: PortPolicy) -> None:
        raise NetworkError("NotOfNodes", "policies of Neutron's ports are kept by hn-controllers")

    async def set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        """Nothing to do: Neutron knows where ports are."""

    async def unplug(self, port_id: str) -> None:
        await self._plugging.unplug(port_id)

    async def sweep(self, keep: frozenset[str]) -> None:
        await self._plugging.sweep(keep)

    async def close(self, *, remove: bool) -> None:
        if remove:
            await self._plugging.remove()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _place(self, network: NetworkSpec) -> networks.Place:
        if network.uid not in self._places:
            self._places[network.uid] = await self._ask(
                lambda neutron: networks.place(neutron, self._cluster_id, network)
            )
        return self._places[network.uid]

    async def _group(self, network: NetworkSpec, group: PolicyGroup) -> str:
        key = (network.project, group.key)
        async with self._turns[f"group {key}"]:
            known = self._groups.get(key)
            if known is None or known[0] != group:
                id = await self._ask(lambda neutron: groups.ensure(neutron, self._cluster_id, network, group))
                known = self._groups[key] = (group, id)
            return known[1]

    def _forget(self, network: NetworkSpec) -> None:
        self._places.pop(network.uid, None)
        self._groups = {key: entry for key, entry in self._groups.items() if key[0] != network.project}

    async def _ask(self, question: Callable[[api.Neutron], Result]) -> Result:
        """Raises NetworkError and Fenced."""

        def asked() -> Result:
            if self._neutron is None:
                try:
                    region = clouds.region(self._configuration.cloud, self._configuration.clouds)
                except clouds.UnknownCloud as error:
                    raise NetworkError("NoCloud", f"{error}; say which (--network-provider neutron=FILE)") from error
                self._neutron = api.connected(region)
            try:
                return question(self._neutron)
            except (LookupError, TypeError, AttributeError) as error:  # what an answer comes to that isn't one
                raise NetworkError("Unavailable", f"Neutron's answer can't be understood: {error!r}") from error

        return await fencing.in_thread(self._threads, asked)


def _read(file: Path | None) -> configuration.Configuration:
    return configuration.read(file)


def _remove(neutron: api.Neutron, kind: str, id: str) -> None:
    """What is in use by now is left."""
    try:
        neutron.delete(kind, id)
    except api.NeutronError as error:
        if error.status != 409:
            raise
