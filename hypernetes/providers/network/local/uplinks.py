"""Uplinks: the pair of links between the host and a router, and the host's share in forwarding.

The host has an address on its end of each, out of a range that no tenant's network may use, and none in any tenant's
network.
"""

from typing import Any

from hypernetes.providers.network import nft
from hypernetes.providers.network.local import filters, links, names, namespaces
from hypernetes.providers.network.local.addressing import Uplink, choose_uplink

_DEFAULT = 0  # the length of the default route's prefix


def ensure(cluster_id: str, router: str) -> None:
    """Wires the router to the host. The router's default route is made last: with it, everything is there."""
    with namespaces.entered(router), links.connected() as inside:
        if any(route.destination.prefixlen == _DEFAULT for route in links.routes(inside)):
            return
        if half_made := links.find(inside, names.UPLINK):
            inside.link("del", index=half_made.index)
    uplink = _make(cluster_id, router)
    with namespaces.entered(router), links.connected() as inside:
        end = links.by_name(inside)[names.UPLINK].index
        inside.addr("add", index=end, address=str(uplink.router.ip), prefixlen=uplink.router.network.prefixlen)
        inside.link("set", index=end, mtu=links.MTU_BYTES, state="up")
        inside.route("add", dst="default", gateway=str(uplink.host.ip), oif=end)


def _make(cluster_id: str, router: str) -> Uplink:
    """Makes the pair and the host's end of it."""
    with links.connected() as host:
        taken = {address.network for address in links.addresses(host)}
        taken |= {route.destination for route in links.routes(host) if route.destination.prefixlen != _DEFAULT}
        uplink = choose_uplink(router, taken)
        name = names.uplink(cluster_id, uplink.number)
        if left_over := links.find(host, name):  # of a router whose namespace lives on without its name
            host.link("del", index=left_over.index)
        with namespaces.opened(router) as inside:
            host.link("add", ifname=name, kind="veth", peer={"ifname": names.UPLINK, "net_ns_fd": inside})
        links.set_if_present(f"ipv6/conf/{name}/disable_ipv6", "1")
        for setting, value in _HOST_END:
            links.setting(f"ipv4/conf/{name}/{setting}").write_text(value)
        index = links.by_name(host)[name].index
        host.addr("add", index=index, address=str(uplink.host.ip), prefixlen=uplink.host.network.prefixlen)
        host.link("set", index=index, mtu=links.MTU_BYTES, state="up", ifalias=f"hypernetes {router}")
        enable_forwarding(cluster_id, host)
    return uplink


_HOST_END = (
    ("forwarding", "1"),
    ("rp_filter", "1"),  # only the router's own address may be a source here
    ("arp_ignore", "1"),  # and only the host's end is answered for
    ("accept_redirects", "0"),
    ("send_redirects", "0"),
)


def enable_forwarding(cluster_id: str, host: Any) -> None:
    """Lets answers in: forwarding for the devices of the host's default routes.

    A device that didn't forward before is noted in the cluster's table, which goes when the kernel goes, as the
    setting itself does.
    """
    outward = {route.device for route in links.routes(host) if route.destination.prefixlen == _DEFAULT}
    for link in links.by_name(host).values():
        if link.index not in outward:
            continue
        setting = links.setting(f"ipv4/conf/{link.name}/forwarding")
        if setting.read_text().strip() == "0":
            nft.apply(filters.with_forwarding(cluster_id, link.name))
            setting.write_text("1")


def close_host(cluster_id: str) -> None:
    """Takes away the cluster's table and, where no other cluster of this machine is left, the forwarding it enabled.

    Another cluster inherits the note of what was enabled, and so the duty to undo it.
    """
    tables = nft.tables()
    own = ("inet", names.table(cluster_id))
    if own not in tables:
        return
    devices = nft.elements("set", *own).get(filters.FORWARDING_SET, [])
    heirs = sorted(name for family, name in tables if family == "inet" and name.startswith(names.TABLE_PREFIX))
    heirs.remove(own[1])
    for device in devices:
        if heirs:
            nft.apply(filters.with_forwarding(heirs[0].removeprefix(names.TABLE_PREFIX), device))
        else:
            links.set_if_present(f"ipv4/conf/{device}/forwarding", "0")
    nft.apply(filters.without_host(cluster_id))
