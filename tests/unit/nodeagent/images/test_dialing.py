"""No image's name leads to the node itself."""

import pytest
from yarl import URL

from hypernetes.dialing import own_addresses
from hypernetes.nodeagent.images.dialing import DialPolicy
from hypernetes.nodeagent.images.manifests import ImageError

OWN = own_addresses(["192.0.2.7", "2001:db8::7"])


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "127.0.0.1", "169.254.169.254"])
def test_an_address_of_the_node_is_refused(address: str) -> None:
    with pytest.raises(ImageError, match="refused to connect"):
        DialPolicy(refused=OWN).check(URL.build(scheme="https", host=address))


def test_other_registries_are_spoken_to_in_https_only() -> None:
    DialPolicy(refused=OWN).check(URL("https://192.0.2.8/v2/"))
    with pytest.raises(ImageError, match="only https"):
        DialPolicy(refused=OWN).check(URL("http://192.0.2.8/v2/"))


def test_a_registry_that_the_operator_named_may_be_on_the_node() -> None:
    DialPolicy(frozenset({"192.0.2.7:5000"}), OWN).check(URL("http://192.0.2.7:5000/v2/"))
