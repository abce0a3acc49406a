"""Tunnels: a network's ports on other nodes, reached by VXLAN (RFC 7348) between the nodes' own addresses.

    tap ── brX ── vxX ══ UDP 4789 from this node's address ══► the node of each MAC

A network's tunnel is a link of its bridge, made in the host's namespace and moved into the router, so that its packets
leave by the node's own routes and no tenant sees them. Nothing is learned: which MAC is where is told (`set_peers`),
and what is for everybody goes to each node that has a port of the network. Gateways are on every node, with one address
and MAC; no node hears of another's.
"""

import errno
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from hypernetes.providers.network.base import NetworkError, NetworkSpec, Peer
from hypernetes.providers.network.local import links, names, namespaces
from hypernetes.providers.network.local.addressing import TUNNEL_PORT

OVERHEAD_BYTES = 50  # outer Ethernet, IPv4, UDP and VXLAN headers
_AF_BRIDGE = 7
_OWN = 0x02  # NTF_SELF: the entry is the tunnel's
_OF_BRIDGE = 0x04  # NTF_MASTER: the entry is the bridge's
_PERMANENT = 0x80  # NUD_PERMANENT
_STATIC = 0x40  # NUD_NOARP
_EVERYBODY = "00:00:00:00:00:00"


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """Frames to `mac_address` go to the node; those to everybody, to every node that has such an entry."""

    mac_address: str
    node: str


def mtu_bytes(node: str) -> int:
    """Of a network whose packets may travel from this address."""
    if IPv4Address(node).is_loopback:
        return links.MTU_BYTES
    with links.connected() as host:
        index = next((index for index, address in links.all_addresses(host) if str(address.ip) == node), None)
        device = next((link for link in links.by_name(host).values() if link.index == index), None)
    return min(links.MTU_BYTES, (device.mtu if device else links.MTU_BYTES) - OVERHEAD_BYTES)


def entries(peers: Iterable[Peer], own_node: str) -> frozenset[Entry]:
    """What a tunnel is to know; ports on this very machine need none. Raises NetworkError(InvalidPeer)."""
    found: set[Entry] = set()
    for peer in peers:
        try:
            node = IPv4Address(peer.node_address)
        except ValueError as error:
            raise NetworkError("InvalidPeer", f"the node of {peer.mac_address}: {error}") from error
        if str(node) != own_node and not node.is_loopback:
            found |= {Entry(peer.mac_address.lower(), str(node)), Entry(_EVERYBODY, str(node))}
    return frozenset(found)


def set_entries(router: str, network: NetworkSpec, node: str, wanted: frozenset[Entry]) -> None:
    """Makes, changes or removes the network's tunnel. Nothing to do where the network has no bridge here."""
    with namespaces.entered(router), links.connected() as inside:
        bridge = links.find(inside, names.bridge(network.uid))
        tunnel = links.find(inside, names.tunnel(network.uid))
    if bridge is None:
        return
    if not wanted:
        if tunnel is not None:
            with namespaces.entered(router), links.connected() as inside:
                inside.link("del", index=tunnel.index)
        return
    if IPv4Address(node).is_loopback:
        message = f"this node's address is {node}, which other nodes can't reach; start hn-agent with --node-ip"
        raise NetworkError("NoNodeAddress", message)
    if tunnel is None:
        _make(router, network, node)
    with namespaces.entered(router), links.connected() as inside:
        index = links.by_name(inside)[names.tunnel(network.uid)].index
        _join(inside, index, bridge.index, bridge.mtu)
        _tell(inside, index, wanted)


def _make(router: str, network: NetworkSpec, node: str) -> None:
    """In the namespace that its packets leave from, and at once in the router."""
    with links.connected() as host, namespaces.opened(router) as inside:
        try:
            host.link(
                "add", ifname=names.tunnel(network.uid), kind="vxlan", net_ns_fd=inside, vxlan_id=network.segment_id,
                vxlan_local=node, vxlan_port=TUNNEL_PORT, vxlan_learning=0,
            )  # fmt: skip
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            message = f"network {network.name}: another cluster on this machine uses segment {network.segment_id}"
            raise NetworkError("SegmentTaken", message) from error


def _join(inside: Any, index: int, bridge: int, mtu: int) -> None:
    inside.link("set", index=index, mtu=mtu, master=bridge)
    inside.brport("set", index=index, learning=0, unicast_flood=0)
    inside.link("set", index=index, state="up")


def _tell(inside: Any, index: int, wanted: frozenset[Entry]) -> None:
    """The bridge learns which MACs are behind the tunnel, the tunnel behind which node."""
    known, behind = _known(inside, index), _behind(inside, index)
    macs = {entry.mac_address for entry in wanted} - {_EVERYBODY}
    for mac in sorted(behind - macs):
        inside.fdb("del", ifindex=index, lladdr=mac, flags=_OF_BRIDGE)
    for entry in sorted(known - wanted):
        inside.fdb("del", ifindex=index, lladdr=entry.mac_address, dst=entry.node, flags=_OWN)
    for entry in sorted(wanted - known):
        inside.fdb("append", ifindex=index, lladdr=entry.mac_address, dst=entry.node, flags=_OWN, state=_PERMANENT)
    for mac in sorted(macs - behind):
        inside.fdb("replace", ifindex=index, lladdr=mac, flags=_OF_BRIDGE, state=_STATIC)


def _known(inside: Any, index: int) -> frozenset[Entry]:
    return frozenset(
        Entry(message.get_attr("NDA_LLADDR"), message.get_attr("NDA_DST"))
        for message in _dump(inside, index)
        if message.get_attr("NDA_DST") is not None
    )


def _behind(inside: Any, index: int) -> frozenset[str]:
    """MACs that the bridge sends into the tunnel; not the tunnel's own."""
    return frozenset(
        message.get_attr("NDA_LLADDR")
        for message in _dump(inside, index)
        if message.get_attr("NDA_DST") is None and message["state"] & _STATIC and message.get_attr("NDA_MASTER")
    )


def _dump(inside: Any, index: int) -> Collection[Any]:
    return [message for message in inside.fdb("dump") if message["ifindex"] == index]
