"""Tenants' routers: a network namespace each, with the tenant's bridges, gateways and way out.

Every function finds what is there and makes or removes the rest, so that it may be repeated after a crash at any line.
All of them run under `namespaces.machine_lock`.
"""

from collections.abc import Container
from typing import Any

from hypernetes.providers.network import nft
from hypernetes.providers.network.base import OPEN, NetworkError, NetworkSpec, PluggedPort, PortPolicy, PortSpec
from hypernetes.providers.network.local import bridges, filters, links, names, namespaces, policies, ports, uplinks
from hypernetes.providers.network.local.addressing import gateways, pin
from hypernetes.providers.network.local.tables import ROUTER_TABLE

_SETTINGS = (
    ("ip_forward", "1"),  # first: it resets others
    ("conf/all/arp_ignore", "1"),  # a bridge answers for its own gateways only
    ("conf/all/arp_announce", "2"),
    ("conf/all/rp_filter", "1"),
    ("conf/all/accept_redirects", "0"),
    ("conf/all/send_redirects", "0"),
    ("conf/all/accept_source_route", "0"),
)


def plug(cluster_id: str, node_name: str, router: str, port: PortSpec, mtu: int) -> PluggedPort:
    """Wires a port into its tenant's `router`; makes that and the network's bridge first. Raises NetworkError."""
    addresses = gateways(port.network)
    source = pin(port, names.tap(port.id))
    made = namespaces.ensure(router)
    with namespaces.entered(router):
        if made:
            _track_bridged(False)
        bridge_name = names.bridge(port.network.uid)
        own = filters.with_gateways(str(gateway.interface.ip) for gateway in addresses)
        _set_up([*filters.with_port(source), *policies.with_bridge(bridge_name), *own])
    uplinks.ensure(cluster_id, router)
    with namespaces.entered(router), links.connected() as netlink:
        _refuse_services(netlink, port.network)
        bridge = bridges.ensure(netlink, port.network, addresses, mtu)
        return ports.plug(netlink, bridge, source, names.owner(node_name, port.id), mtu)


def _set_up(more: list[nft.Command]) -> None:
    """Settings and filters of the router that the thread is in; before it has a link that could carry anything."""
    for family in ("all", "default"):
        links.set_if_present(f"ipv6/conf/{family}/disable_ipv6", "1")
    for setting, value in _SETTINGS:
        links.setting(f"ipv4/{setting}").write_text(value)
    links.set_if_present("bridge/bridge-nf-call-arptables", "0")
    nft.apply([*filters.router(), *more])


def set_policy(router: str, port: PortSpec, policy: PortPolicy) -> None:
    """Puts a policy on a port that is plugged. Raises NetworkError."""
    source = pin(port, names.tap(port.id))
    if not namespaces.exists(router):
        raise NetworkError("NotPlugged", f"port {port.id} is not plugged on this node")
    with namespaces.entered(router):
        if policy != OPEN and not _track_bridged(True):
            message = "this kernel lets no filter see what is bridged; load it with `modprobe br_netfilter`"
            raise NetworkError("PolicyUnsupported", message)
        nft.apply(policies.with_policy(names.bridge(port.network.uid), source, policy))
        if policy == OPEN:
            _untrack_unless_needed()


def _track_bridged(on: bool) -> bool:
    """Whether frames between ports of one bridge pass the forward chain; False where this kernel can't.

    They cost more then, and are no router's business as long as no port has a policy.
    """
    return links.set_if_present("bridge/bridge-nf-call-iptables", "1" if on else "0")


def _untrack_unless_needed() -> None:
    if not policies.any_in(nft.elements("map", *ROUTER_TABLE)):
        _track_bridged(False)


def _refuse_services(netlink: Any, network: NetworkSpec) -> None:
    """Services are served inside each pod; what asks for one here comes from a pod that hasn't its tables yet."""
    netlink.route("replace", dst=network.service_cidr, type="unreachable")


def restore(cluster_id: str) -> None:
    """Puts the filters and settings of all routers in force again, as this version has them."""
    for router in _routers(cluster_id):
        with namespaces.entered(router):
            _set_up([])


def _routers(cluster_id: str) -> list[str]:
    return [name for name in namespaces.names(names.router_prefix(cluster_id)) if namespaces.exists(name)]


def routers_by_tap(cluster_id: str) -> dict[str, str]:
    """Which router holds which port, also of ports whose tap went with its machine."""
    found: dict[str, str] = {}
    for router in _routers(cluster_id):
        with namespaces.entered(router):
            found.update(dict.fromkeys(ports.chains(), router))
    return found


def unplug(router: str, tap: str) -> None:
    """Removes a port, then its bridge and router if it was the last."""
    if namespaces.exists(router):
        with namespaces.entered(router), links.connected() as netlink:
            ports.remove(netlink, tap)
            _untrack_unless_needed()
    _remove_if_empty(router)


def sweep(cluster_id: str, node_name: str, keep: Container[str]) -> None:
    """Removes this node's ports that are not kept, and whatever holds no port, of whichever node."""
    for router in namespaces.names(names.router_prefix(cluster_id)):
        if namespaces.exists(router):
            with namespaces.entered(router), links.connected() as netlink:
                for port_id, tap in ports.owned(netlink, node_name).items():
                    if port_id not in keep:
                        ports.remove(netlink, tap)
                ports.remove_stale_chains(netlink)
                _untrack_unless_needed()
        _remove_if_empty(router)


def _remove_if_empty(router: str) -> None:
    if namespaces.exists(router):
        with namespaces.entered(router), links.connected() as netlink:
            if bridges.remove_empty(netlink):
                return
            # A QEMU that still ends may hold the namespace open: its uplink must go now, by itself.
            if uplink := links.find(netlink, names.UPLINK):
                netlink.link("del", index=uplink.index)
    namespaces.remove(router)


def any_left(cluster_id: str) -> bool:
    return bool(namespaces.names(names.router_prefix(cluster_id)))
