"""The rules: what each nftables table holds, as libnftables' JSON. Nothing here does I/O.

Every function returns one transaction's commands, which may be applied again at any time: chains are filled anew,
sets and maps keep what they hold.

On the host (`inet hn_<cluster id>`): uplinks reach the outside and nothing of the machine.
In a router (`inet router`): pods reach the outside through the uplink; networks don't reach each other; policies.
In a router (`bridge ports`): a frame from a tap carries its port's MAC and address, or goes nowhere.
"""

from collections.abc import Iterable

from hypernetes.providers.network.local import names, policies
from hypernetes.providers.network.local.addressing import RESERVED, TUNNEL_PORT, Pin
from hypernetes.providers.network.local.tables import (
    ACCEPT,
    DROP,
    MASQUERADE,
    PORTS_TABLE,
    ROUTER_TABLE,
    Table,
    hook,
    match,
    meta,
    payload,
    state,
)
from hypernetes.providers.network.nft import Command

PORTS_MAP = "ports"
GATEWAYS_SET = "gateways"
FORWARDING_SET = "forwarding"
_DHCP_SERVER_PORT = 67


def host(cluster_id: str) -> list[Command]:
    """The cluster's table on the host.

    What pods may not reach is dropped before any destination NAT of the host's other tables could redirect it to
    something of the machine's. An accept here doesn't overrule another table's drop.
    """
    table = Table("inet", names.table(cluster_id))
    from_pods = meta("iifname", names.uplinks(cluster_id))
    to_pods = meta("oifname", names.uplinks(cluster_id))
    own = {"fib": {"result": "type", "flags": ["daddr"]}}
    reserved = [{"prefix": {"addr": str(net.network_address), "len": net.prefixlen}} for net in RESERVED]
    table.collection("set", FORWARDING_SET, type="ifname")
    table.chain(
        "prerouting",
        (from_pods, meta("nfproto", "ipv6"), DROP),
        (from_pods, match(own, {"set": ["local", "broadcast", "anycast", "multicast"]}), DROP),
        (from_pods, payload("ip", "daddr", {"set": reserved}), DROP),
        **hook("prerouting", -310),  # before connection tracking, and before iptables' raw table
    )
    table.chain("input", (from_pods, DROP), **hook("input", -10))
    table.chain(
        "forward",
        (to_pods, from_pods, DROP),
        (from_pods, payload("udp", "dport", TUNNEL_PORT), DROP),  # a node believes what comes in a tunnel
        (to_pods, state("established", "related"), ACCEPT),
        (to_pods, DROP),
        (from_pods, state("invalid"), DROP),
        **hook("forward", -10),
    )
    table.chain("postrouting", (from_pods, MASQUERADE), **hook("postrouting", 100, kind="nat"))
    return table.commands


def without_host(cluster_id: str) -> list[Command]:
    table = {"table": {"family": "inet", "name": names.table(cluster_id)}}
    return [{"add": table}, {"delete": table}]


def with_forwarding(cluster_id: str, device: str) -> list[Command]:
    """Notes that this cluster turned forwarding on for a device of the host (`uplinks.enable_forwarding`)."""
    table = Table("inet", names.table(cluster_id))
    table.collection("set", FORWARDING_SET, type="ifname")
    table.element("add", FORWARDING_SET, device)
    return table.commands


def router() -> list[Command]:
    """The static tables of a router namespace. No map is touched, so ports that are plugged stay so."""
    table = Table(*ROUTER_TABLE)
    bridges, uplink = names.BRIDGE_PREFIX + "*", names.UPLINK
    answers = (state("established", "related"), ACCEPT)
    table.chain(
        "input",
        answers,
        (meta("iifname", bridges), payload("icmp", "type", "echo-request"), ACCEPT),
        **hook("input", 0, policy="drop"),
    )
    policies.declare(table)
    table.chain(
        "forward",
        (state("invalid"), DROP),
        answers,
        *policies.rules(),
        (meta("iifname", bridges), meta("oifname", uplink), ACCEPT),
        **hook("forward", 0, policy="drop"),
    )
    table.chain("postrouting", (meta("oifname", uplink), MASQUERADE), **hook("postrouting", 100, kind="nat"))
    ports = Table(*PORTS_TABLE)
    ports.collection("map", PORTS_MAP, type="ifname", map="verdict")
    ports.collection("set", GATEWAYS_SET, type="ipv4_addr")
    to_tunnel = meta("oifname", names.TUNNEL_PREFIX + "*")
    of_gateway = [(payload("arp", field, "@" + GATEWAYS_SET), DROP) for field in ("saddr ip", "daddr ip")]
    for way in ("forward", "output"):  # each node has the gateways itself, and tells the others nothing of them
        ports.chain(way, *((to_tunnel, *rule) for rule in of_gateway), **hook(way, 0))
    ports.chain(
        "prerouting",
        *((meta("iifname", names.TUNNEL_PREFIX + "*"), *rule) for rule in of_gateway),
        ({"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@" + PORTS_MAP}},),
        (meta("iifname", names.TAP_PREFIX + "*"), DROP),
        **hook("prerouting", -250),
    )
    return table.commands + ports.commands


def with_gateways(addresses: Iterable[str]) -> list[Command]:
    """What the bridges of the router answer for."""
    ports = Table(*PORTS_TABLE)
    for address in addresses:
        ports.element("add", GATEWAYS_SET, address)
    return ports.commands


def with_port(pin: Pin) -> list[Command]:
    """A port's chain: its own MAC and address, ARP and IPv4 only. All else is dropped: IPv6 and with it router
    advertisements, VLAN tags, and answers of a DHCP server."""
    ports = Table(*PORTS_TABLE)
    own_mac = payload("ether", "saddr", pin.mac_address)
    ports.chain(
        pin.tap,
        (payload("ether", "saddr", pin.mac_address, "!="), DROP),
        (payload("ether", "type", {"set": ["8021q", "8021ad"]}), DROP),
        (own_mac, payload("arp", "saddr ether", pin.mac_address), payload("arp", "saddr ip", pin.address), ACCEPT),
        (payload("ip", "saddr", pin.address, "!="), DROP),
        (payload("udp", "sport", _DHCP_SERVER_PORT), DROP),
        (payload("ip", "saddr", pin.address), ACCEPT),
        (DROP,),
    )
    ports.element("add", PORTS_MAP, [pin.tap, {"goto": {"target": pin.tap}}])
    return ports.commands


def without_port(tap: str) -> list[Command]:
    """Takes a port's chain away; the tap's frames go nowhere after that."""
    ports = Table(*PORTS_TABLE)
    ports.collection("map", PORTS_MAP, type="ifname", map="verdict")
    ports.chain(tap)
    entry = [tap, {"goto": {"target": tap}}]
    ports.element("add", PORTS_MAP, entry)
    ports.element("delete", PORTS_MAP, entry)
    ports.without_chain(tap)
    return ports.commands
