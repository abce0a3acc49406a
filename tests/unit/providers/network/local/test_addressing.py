from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.network.local.addressing import (
    UPLINK_COUNT,
    UPLINKS,
    Uplink,
    choose_segment,
    choose_uplink,
)

blocks = st.builds(
    lambda offset, length: IPv4Network((int(UPLINKS.network_address) + offset, length), strict=False),
    st.integers(0, UPLINKS.num_addresses - 1),
    st.integers(11, 32),
)


@given(st.integers(0, UPLINK_COUNT - 1))
def test_an_uplink_is_a_pair_of_its_own_inside_the_range(number: int) -> None:
    uplink = Uplink(number)
    assert uplink.host.network == uplink.router.network
    assert uplink.host.ip + 1 == uplink.router.ip
    assert uplink.host.network.subnet_of(UPLINKS)


@given(st.text(), st.lists(blocks, max_size=8))
def test_an_uplink_overlaps_nothing_that_is_taken(seed: str, taken: list[IPv4Network]) -> None:
    try:
        uplink = choose_uplink(seed, taken)
    except NetworkError:
        assert sum(block.num_addresses for block in taken) >= UPLINKS.num_addresses
    else:
        assert not any(block.overlaps(uplink.host.network) for block in taken)


@given(st.lists(st.uuids().map(str), unique=True, max_size=30))
def test_uplinks_of_many_routers_never_collide(routers: list[str]) -> None:
    taken: set[IPv4Network] = set()
    for router in routers:
        uplink = choose_uplink(router, taken)
        assert uplink.host.network not in taken
        taken.add(uplink.host.network)


def test_the_last_free_pair_is_found() -> None:
    free = Uplink(1234567).host.network
    taken = list(UPLINKS.address_exclude(free))
    assert choose_uplink("whatever", taken).host.network == free


def test_a_range_that_is_used_up_is_said_to_be() -> None:
    with pytest.raises(NetworkError) as refused:
        choose_uplink("whatever", [UPLINKS])
    assert refused.value.reason == "NoUplinkAddress"


def test_ranges_of_others_elsewhere_do_not_matter() -> None:
    assert choose_uplink("a", []) == choose_uplink("a", [IPv4Network("10.0.0.0/8"), IPv4Network("192.168.0.0/16")])


@given(st.uuids().map(str), st.sets(st.integers(1, 2**24 - 1), max_size=50))
def test_a_segment_is_free_and_the_same_again(uid: str, used: set[int]) -> None:
    segment = choose_segment(uid, used)
    assert segment not in used
    assert 0 < segment < 2**24
    assert choose_segment(uid, used) == segment
    assert choose_segment(uid, used | {segment}) != segment
