"""No name and no document that somebody else wrote leads to the machine itself."""

import ipaddress

import pytest
from yarl import URL

from hypernetes import dialing

OWN = dialing.own_addresses(["192.0.2.7", "2001:db8::7"])


@pytest.mark.parametrize(
    "address",
    ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7", "127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "0.0.0.0",
     "::", "fe80::1", "224.0.0.1"],
)  # fmt: skip
def test_an_address_of_the_machine_is_refused(address: str) -> None:
    policy = dialing.Policy(refused=OWN)
    assert not policy.allows(ipaddress.ip_address(address))
    assert not policy.allows_url(URL.build(scheme="https", host=address))


def test_a_neighbour_of_the_machine_is_reached() -> None:
    assert dialing.Policy(refused=OWN).allows_url(URL("https://192.0.2.8/v2/"))


def test_a_host_that_the_operator_named_may_be_on_the_machine() -> None:
    policy = dialing.Policy(frozenset({"192.0.2.7:5000"}), OWN)
    assert policy.allows_url(URL("http://192.0.2.7:5000/v2/"))
    assert not policy.allows_url(URL("http://192.0.2.7:5001/v2/"))


async def test_a_name_that_leads_to_the_machine_is_refused_unless_it_was_named() -> None:
    resolver = dialing.GuardedResolver(dialing.Policy(frozenset({"localhost:1"})), "tests may use")
    assert (await resolver.resolve("localhost", 1))[0]["host"] == "127.0.0.1"
    with pytest.raises(OSError, match="localhost leads to no address that tests may use"):
        await resolver.resolve("localhost", 2)
    await resolver.close()


def test_every_interface_of_the_machine_counts() -> None:
    found = dialing.machine_addresses()
    assert "127.0.0.1" in found
    assert len(dialing.own_addresses(found)) == len(found)
