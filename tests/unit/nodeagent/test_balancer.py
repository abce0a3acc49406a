"""The balancer's slots: who keeps which, and what HAProxy is told."""

from hypothesis import given
from hypothesis import strategies as st

from hypernetes.nodeagent import balancer
from hypernetes.nodeagent.balancer import IDLE, SLOTS_MIN, Balancer

keys = st.integers(1, 60).map(lambda number: f"10.254.0.{number}:80")
servers = st.lists(st.integers(1, 9).map(lambda number: f"10.0.0.{number}:8080"), min_size=1, max_size=5, unique=True)
wanted = st.dictionaries(keys, servers.map(tuple), max_size=40)


def served(of: Balancer) -> dict[str, tuple[str, ...]]:
    return {slot.key: slot.servers for slot in of.slots if slot is not None}


@given(st.lists(wanted, min_size=1, max_size=6))
def test_every_service_has_one_slot_and_keeps_it(history: list[dict[str, tuple[str, ...]]]) -> None:
    before = IDLE
    for services in history:
        after = before.with_services(services)
        assert served(after) == services
        places = {slot.key: number for number, slot in enumerate(after.slots) if slot is not None}
        for number, slot in enumerate(before.slots):
            if slot is not None and slot.key in places:
                assert places[slot.key] == number
        before = after


def test_more_services_than_slots_need_a_configuration_with_twice_as_many() -> None:
    many = {f"10.254.1.{number}:80": ("10.0.0.5:80",) for number in range(SLOTS_MIN + 1)}
    grown = IDLE.with_services(many)
    assert len(grown.slots) == 2 * SLOTS_MIN
    assert grown.commands_from(IDLE) is None
    assert grown.with_services({}).commands_from(grown) is not None, "it doesn't shrink"


def test_what_does_not_change_is_not_told() -> None:
    made = IDLE.with_services({"10.254.0.10:80": ("10.0.0.5:80",), "10.254.0.11:80": ("10.0.0.6:80",)})
    assert made.commands_from(made) == []
    moved = made.with_services({"10.254.0.10:80": ("10.0.0.5:80",), "10.254.0.11:80": ("10.0.0.7:80",)})
    assert moved.commands_from(made) == [
        "add server slot1/10.0.0.7_80 10.0.0.7:80;enable server slot1/10.0.0.7_80;"
        "disable server slot1/10.0.0.6_80;del server slot1/10.0.0.6_80"
    ]


def test_long_changes_are_several_lines() -> None:
    many = {f"10.254.0.{number}:80": tuple(f"10.0.{number}.{each}:80" for each in range(20)) for number in range(30)}
    lines = IDLE.with_services(many).commands_from(IDLE)
    assert lines is not None
    assert len(lines) > 3
    assert all(len(line) <= balancer.COMMAND_LINE_BYTES for line in lines)


def test_the_practice_of_a_template_leaves_nothing() -> None:
    text = ";".join(balancer.PRACTICE)
    assert text.count("add server") == text.count("del server") == 1
    assert text.count("add map") == text.count("del map") == 1
