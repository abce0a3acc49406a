"""Taps of pods on the node's integration bridge.

A tap lives as long as QEMU holds it (`taps`); its port on the bridge stays until it is unplugged, and works again when
a tap of that name comes back.

Where Open vSwitch forwards in user space, it takes its copy of each frame from a packet socket and the kernel goes on
with its own: a pod could talk to the host. So what comes from such a tap is dropped at its ingress, which is after
that copy.
"""

import asyncio
import hashlib
import os
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from hypernetes.providers.network import nft, taps
from hypernetes.providers.network.base import NetworkError, PluggedPort, PortSpec
from hypernetes.providers.network.neutron.ports import OVS
from hypernetes.providers.network.neutron.switch import Switch, quoted

_CLUSTER, _NODE, _POD = "hypernetes-cluster", "hypernetes-node", "hypernetes-pod"
_USER_SPACE = "netdev"
# When a mechanism has wired an interface, by what it says of it in the switch's database.
_WIRED = {"ovn": ("Interface", "external_ids:ovn-installed=true"), "openvswitch": ("Port", "tag>0")}


def tap_name(port_id: str) -> str:
    return f"hnt{hashlib.sha256(port_id.encode()).hexdigest()[:12]}"


class Plugging:
    """Of one node of one cluster; several may share a switch."""

    def __init__(self, cluster_id: str, node_name: str, ovsdb: str) -> None:
        self._cluster_id, self._node_name = cluster_id, node_name
        self._switch = Switch(ovsdb)

    async def open(self) -> None:
        """Raises NetworkError where there is no switch."""
        await self._own()

    async def plug(self, port: PortSpec) -> PluggedPort:
        binding = dict(port.binding)
        kind = binding.get("vifType")
        if kind != OVS:
            message = f"the port of the pod is bound as {kind!r}, and this node plugs {OVS!r} only"
            raise NetworkError("UnknownVIFType", message)
        tap, mtu = tap_name(port.id), int(binding["mtu"])
        queue = await asyncio.to_thread(self._make, tap, mtu, shut=binding["datapath"] == _USER_SPACE)
        try:
            await self._switch.transact(
                "--may-exist", "add-port", binding["bridge"], tap, "--", "set", "Interface", tap,
                f"mtu_request={mtu}", *quoted(self._ids(port)),
            )  # fmt: skip
            await self._wait_wired(tap, binding)
        except BaseException:
            os.close(queue)
            raise
        return PluggedPort(queue, tap, mtu)

    async def rebind(self, port: PortSpec) -> None:
        tap = tap_name(port.id)
        ids = (await self._own()).get(tap)
        if ids is None:
            raise NetworkError("NotPlugged", f"the port of the pod {port.id} is not plugged on this node")
        if ids.get("iface-id") == dict(port.binding)["portID"]:
            return
        await self._switch.transact(
            "remove", "Interface", tap, "external_ids", "ovn-installed", "--", "set", "Interface", tap,
            *quoted(self._ids(port)),
        )  # fmt: skip
        await self._wait_wired(tap, dict(port.binding))

    async def unplug(self, port_id: str) -> None:
        await self._remove(tap_name(port_id))

    async def sweep(self, keep: frozenset[str]) -> None:
        for tap, ids in (await self._own()).items():
            if ids[_POD] not in keep:
                await self._remove(tap)

    async def remove(self) -> None:
        await self.sweep(frozenset())

    async def _own(self) -> dict[str, dict[str, str]]:
        return await self._switch.interfaces(**{_CLUSTER: self._cluster_id, _NODE: self._node_name})

    def _ids(self, port: PortSpec) -> dict[str, str]:
        return {
            "iface-id": dict(port.binding)["portID"], "attached-mac": port.mac_address, "iface-status": "active",
            "vm-id": port.id, _CLUSTER: self._cluster_id, _NODE: self._node_name, _POD: port.id,
        }  # fmt: skip

    async def _wait_wired(self, tap: str, binding: dict[str, str]) -> None:
        """Until the mechanism has put the interface's flows in place. Raises NetworkError."""
        condition = _WIRED.get(binding["mechanism"])
        if condition is None:
            return
        table, told = condition
        try:
            await self._switch.transact("wait-until", table, tap, told)
        except NetworkError as error:
            message = f"{binding['mechanism']} on this node has not wired the port {binding['portID']}: {error.message}"
            raise NetworkError("PortNotWired", message) from error

    async def _remove(self, tap: str) -> None:
        await self._switch.transact("--if-exists", "del-port", tap)
        await asyncio.to_thread(self._unmake, tap)

    def _make(self, tap: str, mtu: int, *, shut: bool) -> int:
        """Raises NetworkError."""
        try:
            fresh = not _link(tap)
            queue = taps.open_queue(tap, offloads=False)
            try:
                if not fresh:
                    taps.set_idle(queue)
                if shut:
                    nft.apply(_shut(self._table(tap), tap))
                with IPRoute() as netlink:
                    netlink.link("set", index=_link(tap)[0], mtu=mtu, state="up")
            except BaseException:
                os.close(queue)
                raise
        except (OSError, NetlinkError) as error:
            raise NetworkError("WiringFailed", f"the kernel refused to make a tap: {error}") from error
        return queue

    def _unmake(self, tap: str) -> None:
        try:
            with IPRoute() as netlink:
                for index in _link(tap):  # whoever holds it
                    netlink.link("del", index=index)
            nft.apply([{"add": _table(self._table(tap))}, {"delete": _table(self._table(tap))}])
        except (OSError, NetlinkError) as error:
            raise NetworkError("WiringFailed", f"the kernel refused to remove a tap: {error}") from error

    def _table(self, tap: str) -> str:
        return f"hn_{self._cluster_id}_{tap}"


def _link(name: str) -> list[int]:
    """The index of a link, where there is one."""
    with IPRoute() as netlink:
        return list(netlink.link_lookup(ifname=name))


def _table(name: str) -> dict[str, Any]:
    return {"table": {"family": "netdev", "name": name}}


def _shut(table: str, tap: str) -> list[nft.Command]:
    """Nothing that comes from the tap gets further than Open vSwitch."""
    chain = {"family": "netdev", "table": table, "name": "shut", "type": "filter", "hook": "ingress", "dev": tap,
             "prio": 0, "policy": "drop"}  # fmt: skip
    return [{"add": _table(table)}, {"delete": _table(table)}, {"add": _table(table)}, {"add": {"chain": chain}}]
