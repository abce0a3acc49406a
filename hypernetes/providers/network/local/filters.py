"""The rules: what each nftables table holds, as libnftables' JSON. Nothing here does I/O.

Every function returns one transaction's commands, which may be applied again at any time: chains are filled anew,
sets and maps keep what they hold.

On the host (`inet hn_<cluster id>`): uplinks reach the outside and nothing of the machine.
In a router (`inet router`): pods reach the outside through the uplink; networks don't reach each other.
In a router (`bridge ports`): a frame from a tap carries its port's MAC and address, or goes nowhere.
"""

from collections.abc import Sequence
from typing import Any

from hypernetes.providers.network.local import names
from hypernetes.providers.network.local.addressing import RESERVED, Pin
from hypernetes.providers.network.local.nft import Command

ROUTER_TABLE = ("inet", "router")
PORTS_TABLE = ("bridge", "ports")
PORTS_MAP = "ports"
FORWARDING_SET = "forwarding"
_DHCP_SERVER_PORT = 67

Expression = dict[str, Any]
_DROP: Expression = {"drop": None}
_ACCEPT: Expression = {"accept": None}
_MASQUERADE: Expression = {"masquerade": None}


class _Table:
    """Commands for one table."""

    def __init__(self, family: str, name: str) -> None:
        self._where = {"family": family, "table": name}
        self.commands: list[Command] = [{"add": {"table": {"family": family, "name": name}}}]

    def collection(self, kind: str, name: str, **properties: Any) -> None:
        """A set or map, with what it holds already."""
        self.commands.append({"add": {kind: {**self._where, "name": name, **properties}}})

    def chain(self, name: str, *rules: Sequence[Expression], **properties: Any) -> None:
        """A chain with exactly these rules."""
        chain = {**self._where, "name": name, **properties}
        self.commands += [{"add": {"chain": chain}}, {"flush": {"chain": {**self._where, "name": name}}}]
        for rule in rules:
            self.commands.append({"add": {"rule": {**self._where, "chain": name, "expr": list(rule)}}})

    def element(self, verb: str, name: str, element: Any) -> None:
        self.commands.append({verb: {"element": {**self._where, "name": name, "elem": [element]}}})

    def without_chain(self, name: str) -> None:
        """The chain gone, whether it was there or not (adding what exists is no error, deleting what doesn't is)."""
        chain = {"chain": {**self._where, "name": name}}
        self.commands += [{"add": chain}, {"flush": chain}, {"delete": chain}]


def _hook(hook: str, priority: int, policy: str = "accept", kind: str = "filter") -> dict[str, Any]:
    return {"type": kind, "hook": hook, "prio": priority, "policy": policy}


def _match(left: Any, right: Any, op: str = "==") -> Expression:
    return {"match": {"op": op, "left": left, "right": right}}


def _meta(key: str, value: Any, op: str = "==") -> Expression:
    return _match({"meta": {"key": key}}, value, op)


def _payload(protocol: str, field: str, value: Any, op: str = "==") -> Expression:
    return _match({"payload": {"protocol": protocol, "field": field}}, value, op)


def _state(*states: str) -> Expression:
    return _match({"ct": {"key": "state"}}, list(states), "in")


def host(cluster_id: str) -> list[Command]:
    """The cluster's table on the host.

    What pods may not reach is dropped before any destination NAT of the host's other tables could redirect it to
    something of the machine's. An accept here doesn't overrule another table's drop.
    """
    table = _Table("inet", names.table(cluster_id))
    from_pods = _meta("iifname", names.uplinks(cluster_id))
    to_pods = _meta("oifname", names.uplinks(cluster_id))
    own = {"fib": {"result": "type", "flags": ["daddr"]}}
    reserved = [{"prefix": {"addr": str(net.network_address), "len": net.prefixlen}} for net in RESERVED]
    table.collection("set", FORWARDING_SET, type="ifname")
    table.chain(
        "prerouting",
        (from_pods, _meta("nfproto", "ipv6"), _DROP),
        (from_pods, _match(own, {"set": ["local", "broadcast", "anycast", "multicast"]}), _DROP),
        (from_pods, _payload("ip", "daddr", {"set": reserved}), _DROP),
        **_hook("prerouting", -310),  # before connection tracking, and before iptables' raw table
    )
    table.chain("input", (from_pods, _DROP), **_hook("input", -10))
    table.chain(
        "forward",
        (to_pods, from_pods, _DROP),
        (to_pods, _state("established", "related"), _ACCEPT),
        (to_pods, _DROP),
        (from_pods, _state("invalid"), _DROP),
        **_hook("forward", -10),
    )
    table.chain("postrouting", (from_pods, _MASQUERADE), **_hook("postrouting", 100, kind="nat"))
    return table.commands


def without_host(cluster_id: str) -> list[Command]:
    table = {"table": {"family": "inet", "name": names.table(cluster_id)}}
    return [{"add": table}, {"delete": table}]


def with_forwarding(cluster_id: str, device: str) -> list[Command]:
    """Notes that this cluster turned forwarding on for a device of the host (`uplinks.enable_forwarding`)."""
    table = _Table("inet", names.table(cluster_id))
    table.collection("set", FORWARDING_SET, type="ifname")
    table.element("add", FORWARDING_SET, device)
    return table.commands


def router() -> list[Command]:
    """The static tables of a router namespace. No map is touched, so ports that are plugged stay so."""
    table = _Table(*ROUTER_TABLE)
    bridges, uplink = names.BRIDGE_PREFIX + "*", names.UPLINK
    answers = (_state("established", "related"), _ACCEPT)
    table.chain(
        "input",
        answers,
        (_meta("iifname", bridges), _payload("icmp", "type", "echo-request"), _ACCEPT),
        **_hook("input", 0, policy="drop"),
    )
    table.chain(
        "forward",
        (_state("invalid"), _DROP),
        answers,
        (_meta("iifname", bridges), _meta("oifname", uplink), _ACCEPT),
        **_hook("forward", 0, policy="drop"),
    )
    table.chain("postrouting", (_meta("oifname", uplink), _MASQUERADE), **_hook("postrouting", 100, kind="nat"))
    ports = _Table(*PORTS_TABLE)
    ports.collection("map", PORTS_MAP, type="ifname", map="verdict")
    ports.chain(
        "prerouting",
        ({"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@" + PORTS_MAP}},),
        (_meta("iifname", names.TAP_PREFIX + "*"), _DROP),
        **_hook("prerouting", -250),
    )
    return table.commands + ports.commands


def with_port(pin: Pin) -> list[Command]:
    """A port's chain: its own MAC and address, ARP and IPv4 only. All else is dropped: IPv6 and with it router
    advertisements, VLAN tags, and answers of a DHCP server."""
    ports = _Table(*PORTS_TABLE)
    own_mac = _payload("ether", "saddr", pin.mac_address)
    ports.chain(
        pin.tap,
        (_payload("ether", "saddr", pin.mac_address, "!="), _DROP),
        (_payload("ether", "type", {"set": ["8021q", "8021ad"]}), _DROP),
        (own_mac, _payload("arp", "saddr ether", pin.mac_address), _payload("arp", "saddr ip", pin.address), _ACCEPT),
        (_payload("ip", "saddr", pin.address, "!="), _DROP),
        (_payload("udp", "sport", _DHCP_SERVER_PORT), _DROP),
        (_payload("ip", "saddr", pin.address), _ACCEPT),
        (_DROP,),
    )
    ports.element("add", PORTS_MAP, [pin.tap, {"goto": {"target": pin.tap}}])
    return ports.commands


def without_port(tap: str) -> list[Command]:
    """Takes a port's chain away; the tap's frames go nowhere after that."""
    ports = _Table(*PORTS_TABLE)
    ports.collection("map", PORTS_MAP, type="ifname", map="verdict")
    ports.chain(tap)
    entry = [tap, {"goto": {"target": tap}}]
    ports.element("add", PORTS_MAP, entry)
    ports.element("delete", PORTS_MAP, entry)
    ports.without_chain(tap)
    return ports.commands
