"""Taps of pods on the node's integration bridge."""

import asyncio
import fcntl
import os
import struct
import subprocess

from hypernetes.providers.network.base import NetworkError, PluggedPort, PortSpec
from hypernetes_ovn import names
from hypernetes_ovn.database import Database, mapping
from hypernetes_ovn.networks import MTU

_TUNSETIFF, _TUNSETQUEUE = 0x400454CA, 0x400454D9  # linux/if_tun.h
_TAP, _MULTI_QUEUE, _DETACH_QUEUE, _NO_PI = 0x0002, 0x0100, 0x0400, 0x1000
_REQUEST = struct.Struct("16sH22x")


class Node:
    def __init__(self, cluster: str, name: str, database: Database) -> None:
        self._cluster, self._name, self._database = cluster, name, database

    async def open(self) -> None:
        await self._database.transact(["br-exists", "br-int"])

    async def plug(self, port: PortSpec) -> PluggedPort:
        tap = names.tap(self._cluster, port.id)
        kind = await self._database.transact(["get", "Bridge", "br-int", "datapath_type"])
        queue = await asyncio.to_thread(_made, tap, in_user_space="netdev" in kind)
        ids = {
            "iface-id": dict(port.binding)["portID"], "attached-mac": port.mac_address, "hypernetes-pod": port.id,
            "hypernetes-cluster": self._cluster, "hypernetes-node": self._name,
        }  # fmt: skip
        try:
            await self._database.transact(
                ["--may-exist", "add-port", "br-int", tap],
                ["set", "Interface", tap, f"mtu_request={MTU}", *(f'external_ids:{k}="{v}"' for k, v in ids.items())],
            )
            await self._database.transact(["wait-until", "Interface", tap, "external_ids:ovn-installed=true"])
        except BaseException:
            os.close(queue)
            raise
        return PluggedPort(queue, tap, MTU)

    async def rebind(self, port: PortSpec) -> None:
        tap = names.tap(self._cluster, port.id)
        if tap not in {name for name, _ in await self._own()}:
            raise NetworkError("NotPlugged", f"the port of the pod {port.id} is not plugged on this node")
        identity = f'external_ids:iface-id="{dict(port.binding)["portID"]}"'
        await self._database.transact(["set", "Interface", tap, identity])

    async def unplug(self, port_id: str) -> None:
        await self._remove(names.tap(self._cluster, port_id))

    async def sweep(self, keep: frozenset[str]) -> None:
        for tap, pod in await self._own():
            if pod not in keep:
                await self._remove(tap)

    async def _own(self) -> list[tuple[str, str]]:
        rows = await self._database.find(
            "Interface", "name,external_ids", hypernetes_cluster=self._cluster, hypernetes_node=self._name
        )
        return [(str(name), mapping(ids)["hypernetes-pod"]) for name, ids in rows]

    async def _remove(self, tap: str) -> None:
        await self._database.transact(["--if-exists", "del-port", tap])
        await asyncio.to_thread(_unmade, tap)


def _made(tap: str, *, in_user_space: bool) -> int:
    """A queue of the tap. Raises NetworkError."""
    fresh = not os.path.exists(f"/sys/class/net/{tap}") and not _there(tap)
    try:
        queue = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(queue, _TUNSETIFF, _REQUEST.pack(tap.encode(), _TAP | _NO_PI | _MULTI_QUEUE))
            if not fresh:
                fcntl.ioctl(queue, _TUNSETQUEUE, _REQUEST.pack(b"", _DETACH_QUEUE))
            if in_user_space:
                _shut(tap)
            _run(["ip", "link", "set", tap, "mtu", str(MTU), "up"])
        except BaseException:
            os.close(queue)
            raise
    except OSError as error:
        raise NetworkError("WiringFailed", f"the kernel refused to make a tap: {error}") from error
    return queue


def _unmade(tap: str) -> None:
    if _there(tap):
        _run(["ip", "link", "del", tap])
    _run(["nft", f"add table netdev {tap}; delete table netdev {tap}"])


def _shut(tap: str) -> None:
    """Open vSwitch reads from a packet socket; the kernel must not hear the pod as well."""
    chain = f"add chain netdev {tap} shut {{ type filter hook ingress device {tap} priority 0; policy drop; }}"
    _run(["nft", f"add table netdev {tap}; delete table netdev {tap}; add table netdev {tap}; {chain}"])


def _there(tap: str) -> bool:
    return subprocess.run(["ip", "link", "show", tap], capture_output=True, timeout=10).returncode == 0


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise NetworkError("WiringFailed", f"{' '.join(argv)}: {done.stderr.strip()}")
