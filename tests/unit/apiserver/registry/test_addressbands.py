"""The parts of ranges that are for those who ask, and that the server chooses from."""

import ipaddress
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.registry import addressbands


@pytest.mark.parametrize(("prefix", "wanted"), [(28, 0), (27, 16), (24, 16), (22, 64), (20, 256), (16, 256), (12, 256)])
def test_the_static_part_of_address_ranges_is_upstreams(prefix: int, wanted: int) -> None:
    assert addressbands.static_part(2 ** (32 - prefix)) == wanted


def test_ports_are_chosen_above_those_that_are_asked_for() -> None:
    chosen = list(addressbands.ports())
    assert min(chosen[:32]) >= 30_086  # 2,768 ports: one in 32
    assert set(chosen) == set(range(30_000, 32_768))
    assert set(chosen[-86:]) == set(range(30_000, 30_086))  # at the very end


@given(st.integers(20, 30))
def test_every_address_of_a_range_is_tried_those_for_asking_last(prefix: int) -> None:
    network = ipaddress.ip_network(f"10.96.0.0/{prefix}")
    tried = [ipaddress.ip_address(address) for address in addressbands.addresses(network)]
    assert set(tried) == set(network.hosts())
    static = addressbands.static_part(network.num_addresses)
    assert set(tried[len(tried) - static :]) == set(islice(network.hosts(), static))


def test_a_range_of_ipv6_is_never_looked_at_as_a_whole() -> None:
    network = ipaddress.ip_network("fd00:1::/64")
    tried = list(islice(addressbands.addresses(network), 40))
    assert len(tried) == 40
    assert all(ipaddress.ip_address(address) in network for address in tried)
