"""The rules of policies, in a router's `inet router` table, as libnftables' JSON. Nothing here does I/O.

    forward ─► answers pass ─► from a port with a policy ─► its chain: allowed ones return, the rest is dropped
                           └─► to a port with a policy ───► likewise
                           └─► what the router's own rules let through

One hook sees what is routed and, with br_netfilter's setting on, what is only bridged, so that a connection is tracked
and its answers pass (conntrack of bridges by themselves is a module that many kernels lack). A port is known by its
bridge and address: its tap's chain in `bridge ports` has made sure of the address.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from hypernetes.providers.network.base import Allowance, PortPolicy, PortRange
from hypernetes.providers.network.local.addressing import Pin
from hypernetes.providers.network.local.tables import ACCEPT, DROP, RETURN, ROUTER_TABLE, Expression, Table, match, meta
from hypernetes.providers.network.nft import Command

BRIDGED_SET = "bridged"
SENDING_MAP, RECEIVING_MAP = "sending", "receiving"
_KEY = ["ifname", "ipv4_addr"]
_LAST_PORT = 65535


def declare(table: Table) -> None:
    """The maps and the set, with what they hold already."""
    table.collection("set", BRIDGED_SET, type=["ifname", "ifname"])
    for name in (SENDING_MAP, RECEIVING_MAP):
        table.collection("map", name, type=_KEY, map="verdict")


def rules() -> tuple[tuple[Expression, ...], ...]:
    """For the forward chain, after answers and before what the router lets through."""
    from_port = {"concat": [{"meta": {"key": "iifname"}}, _address("saddr")]}
    to_port = {"concat": [{"meta": {"key": "oifname"}}, _address("daddr")]}
    within = {"concat": [{"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}]}
    return (
        ({"vmap": {"key": from_port, "data": "@" + SENDING_MAP}},),
        ({"vmap": {"key": to_port, "data": "@" + RECEIVING_MAP}},),
        (match(within, "@" + BRIDGED_SET), ACCEPT),
    )


def with_bridge(bridge: str) -> list[Command]:
    """What goes from one port of a bridge to another passes, but for policies."""
    table = Table(*ROUTER_TABLE)
    table.element("add", BRIDGED_SET, {"concat": [bridge, bridge]})
    return table.commands


def with_policy(bridge: str, pin: Pin, policy: PortPolicy) -> list[Command]:
    """The port's policy instead of what it had."""
    table = Table(*ROUTER_TABLE)
    declare(table)
    for name, map_, address, allowances in (
        (sending(pin.tap), SENDING_MAP, "daddr", policy.egress),
        (receiving(pin.tap), RECEIVING_MAP, "saddr", policy.ingress),
    ):
        element = [{"concat": [bridge, pin.address]}, {"jump": {"target": name}}]
        if allowances is None:
            table.chain(name)
            table.element("add", map_, element)
            table.element("delete", map_, element)
            table.without_chain(name)
        else:
            table.chain(name, *_allowed(allowances, address), (DROP,))
            table.element("add", map_, element)
    return table.commands


def sending(tap: str) -> str:
    return f"{tap}-out"


def receiving(tap: str) -> str:
    return f"{tap}-in"


def without(maps: Mapping[str, Iterable[Any]], taps: Container[str]) -> list[Command]:
    """The taps' policies gone; `maps` is what the router's maps hold."""
    table = Table(*ROUTER_TABLE)
    for name in (SENDING_MAP, RECEIVING_MAP):
        for element in maps.get(name, ()):
            chain = element[1]["jump"]["target"]
            if chain.rpartition("-")[0] in taps:
                table.element("delete", name, element)
                table.without_chain(chain)
    return table.commands


def any_in(maps: Mapping[str, Iterable[Any]]) -> bool:
    return any(True for name in (SENDING_MAP, RECEIVING_MAP) for _ in maps.get(name, ()))


def _allowed(allowances: Iterable[Allowance], field: str) -> Iterable[tuple[Expression, ...]]:
    for allowance in allowances:
        peers: tuple[Expression, ...] = ()
        if allowance.peers is not None:
            peers = (match(_address(field), {"set": [_prefix(each) for each in allowance.peers]}),)
        if allowance.ports is None:
            yield (*peers, RETURN)
            continue
        for protocol in sorted({each.protocol for each in allowance.ports}):
            numbers = merged(each for each in allowance.ports if each.protocol == protocol)
            yield (*peers, _to_ports(protocol.lower(), numbers), RETURN)


def _to_ports(protocol: str, numbers: list[tuple[int, int]]) -> Expression:
    if numbers == [(0, _LAST_PORT)]:
        return meta("l4proto", protocol)
    wanted = {"set": [_range(first, last) for first, last in numbers]}
    return match({"payload": {"protocol": protocol, "field": "dport"}}, wanted)


def merged(ranges: Iterable[PortRange]) -> list[tuple[int, int]]:
    """The ranges as few as can be, sorted: a set takes none that overlap."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((each.first, each.last) for each in ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _range(first: int, last: int) -> Any:
    return first if first == last else {"range": [first, last]}


def _prefix(cidr: str) -> Any:
    address, _, length = cidr.partition("/")
    return address if length == "32" else {"prefix": {"addr": address, "len": int(length)}}


def _address(field: str) -> Expression:
    return {"payload": {"protocol": "ip", "field": field}}
