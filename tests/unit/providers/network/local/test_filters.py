"""The rules as data; what they do to frames is tried in tests/integration/networks."""

from typing import Any

from hypernetes.providers.network.local import filters
from hypernetes.providers.network.local.addressing import Pin

PIN = Pin("tap0123456789ab", "02:00:00:00:00:05", "10.0.0.5")


def rules(commands: list[dict[str, Any]], chain: str) -> list[list[dict[str, Any]]]:
    added = [command["add"]["rule"] for command in commands if "rule" in command.get("add", {})]
    return [rule["expr"] for rule in added if rule["chain"] == chain]


def test_every_chain_is_emptied_before_it_is_filled_so_that_transactions_repeat() -> None:
    for commands in (filters.host("abcdef"), filters.router(), filters.with_port(PIN)):
        emptied: set[tuple[str, str]] = set()
        for command in commands:
            if "flush" in command:
                emptied.add((command["flush"]["chain"]["table"], command["flush"]["chain"]["name"]))
            elif "rule" in command.get("add", {}):
                rule = command["add"]["rule"]
                assert (rule["table"], rule["chain"]) in emptied


def test_everything_on_the_host_is_in_the_clusters_own_table() -> None:
    everything = filters.host("abcdef") + filters.with_forwarding("abcdef", "eth0") + filters.without_host("abcdef")
    for command in everything:
        (thing,) = command.values()
        (properties,) = thing.values()
        assert properties.get("table", properties.get("name")) == "hn_abcdef"


def test_every_rule_on_the_host_is_about_the_clusters_uplinks() -> None:
    for chain in ("prerouting", "input", "forward", "postrouting"):
        for rule in rules(filters.host("abcdef"), chain):
            assert rule[0]["match"]["left"]["meta"]["key"] in ("iifname", "oifname")
            assert rule[0]["match"]["right"] == "hnabcdefu*"


def test_the_last_word_of_a_ports_chain_is_drop() -> None:
    assert rules(filters.with_port(PIN), PIN.tap)[-1] == [{"drop": None}]


def test_what_a_port_may_send_carries_its_address() -> None:
    for rule in rules(filters.with_port(PIN), PIN.tap):
        if {"accept": None} in rule:
            assert any(part.get("match", {}).get("right") == PIN.address for part in rule)


def test_loading_a_routers_tables_touches_no_port() -> None:
    assert not any("element" in thing for command in filters.router() for thing in command.values())


def test_policies_come_after_answers_and_before_what_the_router_lets_through() -> None:
    forward = rules(filters.router(), "forward")
    maps = [index for index, rule in enumerate(forward) if "vmap" in rule[0]]
    accepted = [index for index, rule in enumerate(forward) if {"accept": None} in rule]
    assert accepted[0] < min(maps) <= max(maps) < accepted[1]
