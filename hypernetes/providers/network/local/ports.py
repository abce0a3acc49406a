"""Ports: a tap on its network's bridge, and its chain."""

import os
from typing import Any

from hypernetes.providers.network import nft, taps
from hypernetes.providers.network.base import PluggedPort
from hypernetes.providers.network.local import filters, links, names, policies
from hypernetes.providers.network.local.addressing import Pin
from hypernetes.providers.network.local.tables import PORTS_TABLE, ROUTER_TABLE

_FDB_OF_BRIDGE = 0x04  # NTF_MASTER: the entry is the bridge's, not the device's
_FDB_STATIC = 0x40  # NUD_NOARP


def plug(netlink: Any, bridge: int, pin: Pin, owner: str, mtu: int) -> PluggedPort:
    """Opens a queue of the port's tap and joins it to the bridge. The chain must be there before.

    Where the tap has a queue already (QEMU's, from before the agent's restart), the new one is idle.
    """
    queue = taps.open_queue(pin.tap)
    try:
        tap = links.by_name(netlink)[pin.tap]
        if tap.queues > 1:
            taps.set_idle(queue)
        netlink.link("set", index=tap.index, mtu=mtu, ifalias=owner, master=bridge)
        # Frames to 01:80:c2:00:00:0x (LLDP, pause, …) would teach the bridge past all filters: it learns from no pod.
        netlink.brport("set", index=tap.index, learning=0, unicast_flood=0)
        entry = {"ifindex": tap.index, "lladdr": pin.mac_address, "state": _FDB_STATIC, "flags": _FDB_OF_BRIDGE}
        netlink.fdb("replace", **entry)
        netlink.link("set", index=tap.index, state="up")
    except BaseException:
        os.close(queue)
        raise
    return PluggedPort(tap_fd=queue, tap_name=pin.tap, mtu=mtu)


def remove(netlink: Any, tap: str) -> None:
    """Takes the tap away, even from under a QEMU that has it open, and its chain."""
    if link := links.find(netlink, tap):
        netlink.link("del", index=link.index)
    nft.apply([*filters.without_port(tap), *policies.without(nft.elements("map", *ROUTER_TABLE), {tap})])


def owned(netlink: Any, node_name: str) -> dict[str, str]:
    """Tap by port id, of the ports that this node made."""
    found = {}
    for link in links.by_name(netlink).values():
        if link.name.startswith(names.TAP_PREFIX) and (port_id := names.owned_port(node_name, link.alias)):
            found[port_id] = link.name
    return found


def chains() -> frozenset[str]:
    """The taps that have a chain in the router that the thread is in."""
    return frozenset(tap for tap, _ in nft.elements("map", *PORTS_TABLE).get(filters.PORTS_MAP, ()))


def remove_stale_chains(netlink: Any) -> None:
    """Removes chains whose tap is gone: a tap goes with its QEMU, the chain stays."""
    stale = chains() - links.by_name(netlink).keys()
    if stale:
        commands = [command for tap in sorted(stale) for command in filters.without_port(tap)]
        nft.apply([*commands, *policies.without(nft.elements("map", *ROUTER_TABLE), stale)])
