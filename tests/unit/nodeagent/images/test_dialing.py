"""No image's name leads to the node itself."""

import ipaddress

import pytest
from yarl import URL

from hypernetes.nodeagent.images import dialing
from hypernetes.nodeagent.images.manifests import ImageError

OWN = dialing.own_addresses(["192.0.2.7", "2001:db8::7"])


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7", "127.0.0.1", "169.254.169.254"])
def test_an_address_of_the_node_is_refused(address: str) -> None:
    policy = dialing.DialPolicy(refused=OWN)
    assert not policy.allows(ipaddress.ip_address(address))
    with pytest.raises(ImageError, match="refused to connect"):
        policy.check(URL.build(scheme="https", host=address))


def test_a_neighbour_of_the_node_is_reached() -> None:
    dialing.DialPolicy(refused=OWN).check(URL("https://192.0.2.8/v2/"))


def test_a_registry_that_the_operator_named_may_be_on_the_node() -> None:
    dialing.DialPolicy(frozenset({"192.0.2.7:5000"}), OWN).check(URL("http://192.0.2.7:5000/v2/"))


def test_every_interface_of_the_machine_counts() -> None:
    found = dialing.machine_addresses()
    assert "127.0.0.1" in found
    assert len(dialing.own_addresses(found)) == len(found)
