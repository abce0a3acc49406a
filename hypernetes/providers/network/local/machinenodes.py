"""Several nodes on one machine: a network namespace each, joined by a bridge in another one.

    host │ hnlan-<cluster>                │ hnnode-<cluster>-<node>
         │                                │
    hn…u… ═══ uplink ◄─masquerade─ lan0 ── eth0 198.18.0.2 ── that node's routers, tunnels from 198.18.0.2
         │            198.18.0.1/24     └─ eth0 198.18.0.3 …  (another node)

What pods send between nodes so takes the way that it takes between machines. To the machine, the bridge's namespace is
like a tenant's router: it leads outside, and reaches nothing of the machine's own. Agents run where they are started.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from hypernetes.providers.network import nft
from hypernetes.providers.network.local import filters, links, names, namespaces, uplinks
from hypernetes.providers.network.local.tables import ACCEPT, MASQUERADE, Table, hook, meta, state
from hypernetes.providers.network.nft import Command

LAN = IPv4Network("198.18.0.0/24")  # RFC 2544: for tests between machines, routed nowhere
_BRIDGE, _NODE_LINK, _END = "lan0", "eth0", "node"


def namespace(cluster_id: str, node: str) -> str:
    return f"{_nodes(cluster_id)}{node}"


def address(number: int) -> str:
    """Where the other nodes reach node `number`, counted from 0."""
    return str(LAN[number + 2])


def _nodes(cluster_id: str) -> str:
    return f"hnnode-{cluster_id}-"


def _lan(cluster_id: str) -> str:
    return f"hnlan-{cluster_id}"


def ensure(cluster_id: str, nodes: Sequence[str]) -> None:
    """Makes what isn't there of the nodes' namespaces and links. Raises NetworkError, OSError, NetlinkError."""
    namespaces.prepare()
    with namespaces.machine_lock():
        nft.apply(filters.host(cluster_id))
        lan = _lan(cluster_id)
        namespaces.ensure(lan)
        with namespaces.entered(lan), links.connected() as inside:
            links.set_if_present("ipv6/conf/all/disable_ipv6", "1")
            links.setting("ipv4/ip_forward").write_text("1")
            links.set_if_present("bridge/bridge-nf-call-iptables", "0")  # what goes from node to node isn't routed
            nft.apply(_leading_outside())
            if links.find(inside, _BRIDGE) is None:
                inside.link("add", ifname=_BRIDGE, kind="bridge", br_stp_state=0, br_forward_delay=0)
            bridge = links.by_name(inside)[_BRIDGE].index
            _set_address(inside, bridge, str(LAN[1]))
            inside.link("set", index=bridge, state="up")
        uplinks.ensure(cluster_id, lan)
        for number, node in enumerate(nodes):
            _join(lan, namespace(cluster_id, node), number)


def _leading_outside() -> list[Command]:
    table = Table("inet", "lan")
    answers = (state("established", "related"), ACCEPT)
    outward = (meta("iifname", _BRIDGE), meta("oifname", names.UPLINK), ACCEPT)
    table.chain("input", answers, **hook("input", 0, policy="drop"))
    table.chain("forward", answers, outward, **hook("forward", 0, policy="drop"))
    table.chain("postrouting", (meta("oifname", names.UPLINK), MASQUERADE), **hook("postrouting", 100, kind="nat"))
    return table.commands


def _join(lan: str, node: str, number: int) -> None:
    namespaces.ensure(node)
    with namespaces.entered(lan), links.connected() as inside, namespaces.opened(node) as descriptor:
        end = f"{_END}{number}"
        if links.find(inside, end) is None:
            inside.link("add", ifname=end, kind="veth", peer={"ifname": _NODE_LINK, "net_ns_fd": descriptor})
        bridge = links.by_name(inside)[_BRIDGE].index
        inside.link("set", index=links.by_name(inside)[end].index, master=bridge, state="up")
    with namespaces.entered(node), links.connected() as inside:
        found = links.by_name(inside)
        inside.link("set", index=found["lo"].index, state="up")
        _set_address(inside, found[_NODE_LINK].index, address(number))
        inside.link("set", index=found[_NODE_LINK].index, state="up")
        inside.route("replace", dst="default", gateway=str(LAN[1]))


def _set_address(netlink: Any, index: int, wanted: str) -> None:
    if wanted not in {str(each.ip) for each in links.addresses(netlink, index)}:
        netlink.addr("add", index=index, address=wanted, prefixlen=LAN.prefixlen)


def remove(cluster_id: str) -> None:
    """Takes away all that `ensure` made for any nodes, but for the host's rules. Idempotent."""
    lan = _lan(cluster_id)
    with namespaces.machine_lock():
        for name in namespaces.names(lan):
            if namespaces.exists(name):
                with namespaces.entered(name), links.connected() as inside:
                    for link in links.by_name(inside).values():
                        if link.name in (names.UPLINK, _BRIDGE) or link.name.startswith(_END):
                            inside.link("del", index=link.index)
            namespaces.remove(name)
        for name in namespaces.names(_nodes(cluster_id)):
            namespaces.remove(name)
