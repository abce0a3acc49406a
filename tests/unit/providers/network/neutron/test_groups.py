"""Rules of security groups, made of policies and read back."""

from hypothesis import given
from hypothesis import strategies as st

from hypernetes.providers.network.base import OPEN, Allowance, PortPolicy, PortRange
from hypernetes.providers.network.neutron.groups import Rule, rule_of, rules

PEERS = st.none() | st.lists(st.sampled_from(["10.0.0.5/32", "0.0.0.0/0", "10.1.0.0/16"]), min_size=1).map(tuple)
PORTS = st.builds(
    lambda protocol, ends: PortRange(protocol, min(ends), max(ends)),
    st.sampled_from(["TCP", "UDP", "SCTP"]),
    st.tuples(st.integers(0, 65535), st.integers(1, 65535)),
)
ALLOWANCES = st.builds(Allowance, PEERS, st.none() | st.lists(PORTS, min_size=1, max_size=3).map(tuple))
DIRECTION = st.none() | st.lists(ALLOWANCES, max_size=3).map(tuple)


def described(rule: Rule) -> dict[str, object]:
    """As Neutron describes it."""
    return {
        "ethertype": "IPv4", "direction": rule.direction, "remote_group_id": None, "remote_ip_prefix": rule.peer,
        "protocol": rule.protocol, "port_range_min": rule.first, "port_range_max": rule.last,
    }  # fmt: skip


def test_an_open_port_has_one_rule_for_each_direction() -> None:
    assert rules(OPEN) == {Rule("ingress"), Rule("egress")}


def test_a_closed_direction_has_none() -> None:
    assert rules(PortPolicy(ingress=(), egress=())) == frozenset()


def test_a_rule_says_peer_protocol_and_ports() -> None:
    allowance = Allowance(("10.0.0.5/32",), (PortRange("TCP", 80, 81), PortRange("UDP")))
    found = rules(PortPolicy(ingress=(allowance,), egress=()))
    assert found == {Rule("ingress", "10.0.0.5/32", "tcp", 80, 81), Rule("ingress", "10.0.0.5/32", "udp")}


def test_what_is_allowed_twice_is_one_rule() -> None:
    allowance = Allowance(None, (PortRange("TCP", 80, 80),))
    assert len(rules(PortPolicy(ingress=(allowance, Allowance(("0.0.0.0/0",), allowance.ports)), egress=()))) == 1


def test_what_neutron_gives_a_new_group_is_no_rule_of_ours() -> None:
    assert rule_of({**described(Rule("egress")), "ethertype": "IPv6"}) is None
    assert rule_of({**described(Rule("ingress")), "remote_group_id": "a group"}) is None


@given(st.builds(PortPolicy, DIRECTION, DIRECTION))
def test_rules_are_read_back_as_they_were_made(policy: PortPolicy) -> None:
    made = rules(policy)
    assert {rule_of(described(rule)) for rule in made} == made


@given(st.builds(PortPolicy, DIRECTION, DIRECTION))
def test_ports_of_a_rule_are_what_neutron_accepts(policy: PortPolicy) -> None:
    for rule in rules(policy):
        assert (rule.first is None) == (rule.last is None)
        assert rule.first is None or (rule.protocol and rule.last and 1 <= rule.first <= rule.last <= 65535)
