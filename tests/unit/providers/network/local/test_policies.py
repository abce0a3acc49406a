"""Policies as rules; what they do to connections is tried in tests/integration/networks."""

from typing import Any

import pytest

from hypernetes.providers.network.base import OPEN, Allowance, PortPolicy, PortRange
from hypernetes.providers.network.local import policies
from tests.unit.providers.network.local.test_filters import PIN, rules

SENDING, RECEIVING = policies.sending(PIN.tap), policies.receiving(PIN.tap)


def made(policy: PortPolicy) -> list[dict[str, Any]]:
    return policies.with_policy("br0123456789ab", PIN, policy)


def elements(commands: list[dict[str, Any]], verb: str) -> list[str]:
    return [command[verb]["element"]["name"] for command in commands if "element" in command.get(verb, {})]


def test_the_last_word_of_a_direction_with_a_policy_is_drop() -> None:
    commands = made(PortPolicy(ingress=(Allowance(None, None),), egress=()))
    assert rules(commands, RECEIVING) == [[{"return": None}], [{"drop": None}]]
    assert rules(commands, SENDING) == [[{"drop": None}]]
    assert elements(commands, "add") == [policies.SENDING_MAP, policies.RECEIVING_MAP]


def test_an_open_direction_has_neither_chain_nor_element() -> None:
    commands = made(OPEN)
    assert elements(commands, "delete") == [policies.SENDING_MAP, policies.RECEIVING_MAP]
    deleted = [command["delete"]["chain"]["name"] for command in commands if "chain" in command.get("delete", {})]
    assert deleted == [SENDING, RECEIVING]


def test_peers_are_looked_for_at_the_other_end() -> None:
    commands = made(
        PortPolicy(ingress=(Allowance(("10.0.0.7/32",), None),), egress=(Allowance(("10.0.0.8/32",), None),))
    )
    for chain, field in ((RECEIVING, "saddr"), (SENDING, "daddr")):
        (match, _), _ = rules(commands, chain)
        assert match["match"]["left"]["payload"] == {"protocol": "ip", "field": field}


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(80, 80)], [(80, 80)]),
        ([(80, 90), (85, 95)], [(80, 95)]),
        ([(80, 90), (91, 95)], [(80, 95)]),
        ([(443, 443), (80, 80), (80, 80)], [(80, 80), (443, 443)]),
        ([(0, 65535), (80, 80)], [(0, 65535)]),
    ],
)
def test_ranges_of_ports_are_merged(ranges: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert policies.merged(PortRange("TCP", *each) for each in ranges) == expected


def test_only_the_named_taps_lose_their_policies() -> None:
    other = {"concat": ["br0", "10.0.0.9"]}
    maps = {
        policies.SENDING_MAP: [[{"concat": ["br0", "10.0.0.5"]}, {"jump": {"target": SENDING}}]],
        policies.RECEIVING_MAP: [[other, {"jump": {"target": "tapother-in"}}]],
    }
    assert elements(policies.without(maps, {PIN.tap}), "delete") == [policies.SENDING_MAP]
    assert policies.any_in(maps)
    assert not policies.any_in({policies.SENDING_MAP: [], "ports": [1]})
