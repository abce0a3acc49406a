"""Bridges: one per network in its tenant's router, with the gateways' addresses."""

from typing import Any

from hypernetes.providers.network.base import NetworkError, NetworkSpec
from hypernetes.providers.network.local import links, names
from hypernetes.providers.network.subnets import Gateway


def ensure(netlink: Any, network: NetworkSpec, gateways: tuple[Gateway, ...], mtu: int) -> int:
    """The index of the network's bridge, in the router that `netlink` talks to. Raises NetworkError."""
    name = names.bridge(network.uid)
    bridge = links.find(netlink, name)
    if bridge is None:
        netlink.link("add", ifname=name, kind="bridge", address=names.gateway_mac(network.uid), **_PROPERTIES)
        bridge = links.by_name(netlink)[name]
    _set_gateways(netlink, bridge.index, network, gateways)
    netlink.link("set", index=bridge.index, mtu=mtu, state="up", ifalias=network.name)
    return bridge.index


_PROPERTIES = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}  # a port forwards at once


def _set_gateways(netlink: Any, index: int, network: NetworkSpec, gateways: tuple[Gateway, ...]) -> None:
    own = set(links.addresses(netlink, index))
    others = [address for address in links.addresses(netlink) if address not in own]
    wanted = {gateway.interface for gateway in gateways}
    for gateway in sorted(wanted - own):
        if clash := next((other for other in others if other.network.overlaps(gateway.network)), None):
            message = f"network {network.name}: {gateway.network} overlaps {clash.network} of another of this tenant's"
            raise NetworkError("SubnetConflict", f"{message} networks on this node; give one of them another range")
        netlink.addr("add", index=index, address=str(gateway.ip), prefixlen=gateway.network.prefixlen)
    for address in sorted(own - wanted):
        netlink.addr("del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)


def remove_empty(netlink: Any) -> bool:
    """Removes the bridges that have no port, with their tunnels; whether any bridge is left."""
    found = links.by_name(netlink).values()
    bridges = [link for link in found if link.name.startswith(names.BRIDGE_PREFIX)]
    tunnels = [link for link in found if link.name.startswith(names.TUNNEL_PREFIX)]
    masters = {link.master for link in found if link not in tunnels}
    empty = {bridge.index for bridge in bridges} - masters
    for index in [*(tunnel.index for tunnel in tunnels if tunnel.master in empty), *empty]:
        netlink.link("del", index=index)
    return len(empty) < len(bridges)
