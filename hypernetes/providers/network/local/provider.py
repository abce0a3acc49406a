"""The provider itself: hands the work, which blocks, to one thread of its own."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from hypernetes.providers.network import nft
from hypernetes.providers.network.base import (
    EnsuredNetwork,
    NetworkError,
    NetworkSpec,
    Peer,
    PluggedPort,
    PortPolicy,
    PortSpec,
)
from hypernetes.providers.network.local import (
    addressing,
    configuring,
    filters,
    links,
    names,
    namespaces,
    routers,
    tunnels,
    uplinks,
)

Result = TypeVar("Result")


class LocalNetworkProvider:
    """Implements `NetworkProvider` on one machine (see the package's docstring).

    One thread does all of it, in order: the kernel's RTNL lock would let no two of these run side by side anyway, and
    a thread can be in one network namespace only. Each operation is bounded by `namespaces.LOCK_DEADLINE` and
    `nft.TIMEOUT`; one that is cancelled runs to its end, and what it made is found by the next.
    """

    binds_ports = False

    def __init__(
        self, cluster_id: str, node_name: str, state_dir: Path, node_address: str = "127.0.0.1",
        configuration: Path | None = None,
    ) -> None:  # fmt: skip
        """`state_dir` is part of every provider's signature; this one's state is the kernel's own. `node_address` is
        where other nodes reach this one; of a loopback address, all nodes are on this machine. Raises ValueError for
        a configuration that can't be used."""
        self._namespace = configuring.node_namespace(configuration) if configuration is not None else ""
        self._cluster_id = names.check_cluster_id(cluster_id)
        self._node_name, self._node_address = node_name, node_address
        self._routers: dict[str, str] = {}  # by tap
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        addressing.gateways(network)
        return EnsuredNetwork(network.segment_id or addressing.choose_segment(network.uid, used_segments))

    async def delete_network(self, network: NetworkSpec) -> None:
        """Nothing to do: a bridge goes with the last port on it, a segment with the Network that names it."""

    async def open(self) -> None:
        await self._run(self._open)

    def _open(self) -> None:
        nft.apply(filters.host(self._cluster_id))
        with links.connected() as host:
            uplinks.enable_forwarding(self._cluster_id, host)
        routers.restore(self._cluster_id)
        self._routers = routers.routers_by_tap(self._cluster_id)

    async def plug(self, port: PortSpec) -> PluggedPort:
        operation = self._submit(lambda: self._plug(port))
        try:
            return await asyncio.wrap_future(operation)
        except asyncio.CancelledError:
            operation.add_done_callback(_close_queue)
            raise

    def _plug(self, port: PortSpec) -> PluggedPort:
        router, mtu = self._router(port.network), tunnels.mtu_bytes(self._node_address)
        plugged = routers.plug(self._cluster_id, self._node_name, router, port, mtu)
        self._routers[plugged.tap_name] = router
        return plugged

    async def set_policy(self, port: PortSpec, policy: PortPolicy) -> None:
        await self._run(lambda: routers.set_policy(self._router(port.network), port, policy))

    async def rebind(self, port: PortSpec) -> None:
        """Nothing to do: ports are bound by plugging them."""

    async def set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        await self._run(lambda: self._set_peers(network, peers))

    def _set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        router = self._router(network)
        if namespaces.exists(router):
            wanted = tunnels.entries(peers, self._node_address)
            tunnels.set_entries(router, network, self._node_address, wanted)

    async def unplug(self, port_id: str) -> None:
        await self._run(lambda: self._unplug(port_id))

    def _unplug(self, port_id: str) -> None:
        tap = names.tap(port_id)
        if router := self._routers.get(tap):
            routers.unplug(router, tap)
            del self._routers[tap]

    async def sweep(self, keep: frozenset[str]) -> None:
        await self._run(lambda: self._sweep(keep))

    def _sweep(self, keep: frozenset[str]) -> None:
        routers.sweep(self._cluster_id, self._node_name, keep)
        self._routers = routers.routers_by_tap(self._cluster_id)

    async def close(self, *, remove: bool) -> None:
        if remove:
            await self._run(self._remove)
        self._thread.shutdown()

    def _remove(self) -> None:
        self._sweep(frozenset())
        if not routers.any_left(self._cluster_id):  # else another node on this machine needs the rest
            uplinks.close_host(self._cluster_id)

    def _router(self, network: NetworkSpec) -> str:
        return names.router(self._cluster_id, network.tenant_uid, self._namespace)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.wrap_future(self._submit(work))

    def _submit(self, work: Callable[[], Result]) -> Future[Result]:
        return self._thread.submit(_translated, work, self._namespace)


def _translated(work: Callable[[], Result], namespace: str) -> Result:
    """Does the work under the machine's lock, where the node's links are, with errors of the kernel as NetworkError."""
    try:
        namespaces.prepare()
        with namespaces.machine_lock(), namespaces.entered(namespace) if namespace else contextlib.nullcontext():
            return work()
    except (OSError, NetlinkError) as error:
        number = error.code if isinstance(error, NetlinkError) else error.errno
        if number in (errno.EPERM, errno.EACCES):
            message = f"{error}: wiring pods needs root's rights over the network; run hn-agent as root"
            raise NetworkError("PermissionDenied", message) from error
        raise NetworkError("WiringFailed", f"the kernel refused to wire a network: {error}") from error


def _close_queue(operation: Future[PluggedPort]) -> None:
    """Gives back the queue that nobody waits for any more."""
    if not operation.cancelled() and operation.exception() is None:
        os.close(operation.result().tap_fd)
