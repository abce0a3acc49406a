"""Claims that are missing, doubled or nobody's: what is found, from one look at a tenant."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import orjson
import pytest

from hypernetes.api import scheme, times
from hypernetes.apiserver import claimrepair, codec
from hypernetes.apiserver.contents import ADDRESSES, address_claim
from hypernetes.apiserver.handlers.claims import port_claim
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.serviceranges import Ranges
from hypernetes.apiserver.storage.base import Item, SideWrite

Object = dict[str, Any]

KEYS = Keys("c1")
SERVICES = scheme.by_name("v1", "services")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
RANGES = Ranges("10.96.0.0/16", (ip_network("10.96.0.0/16"),))


def service(name: str, *addresses: str, port: int = 0) -> Object:
    ports = [{"port": 80, **({"nodePort": port} if port else {})}]
    spec = {"type": "NodePort" if port else "ClusterIP", "clusterIPs": list(addresses), "ports": ports}
    metadata = {"name": name, "namespace": "web", "uid": f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def claims(obj: Object, made: datetime = NOW) -> list[SideWrite]:
    found = [address_claim(KEYS, "acme", address, obj, made) for address in obj["spec"]["clusterIPs"]]
    numbers = [port["nodePort"] for port in obj["spec"]["ports"] if "nodePort" in port]
    return found + [port_claim(KEYS, "acme", number, obj) for number in numbers]


def found(services: list[Object], present: list[SideWrite]) -> list[tuple[str, str, bool]]:
    """Of each finding what it is about, the reason, and whether it is put right."""
    mirror = Mirror(KEYS)
    items = [
        Item(KEYS.of(SERVICES, "acme", "web", each["metadata"]["name"]), codec.encode(each), 5) for each in services
    ]
    mirror.load([*items, *(Item(each.key, each.value or b"", 5) for each in present)], 5)
    seen = claimrepair.findings(mirror, RANGES, "acme", NOW)
    return [(each.about["metadata"]["name"], each.reason, each.repair is not None) for each in seen]


def test_what_is_in_order_is_left_alone() -> None:
    one, other = service("one", "10.96.1.1", port=30001), service("other", "10.96.1.2")
    headless = service("headless", "None")
    headless["spec"]["clusterIP"] = "None"
    assert found([one, other, headless], [*claims(one), *claims(other)]) == []


def test_missing_claims_are_made_again() -> None:
    one = service("one", "10.96.1.1", port=30001)
    assert found([one], []) == [("one", "ClusterIPNotAllocated", True), ("one", "PortNotAllocated", True)]
    again = address_claim(KEYS, "acme", "10.96.1.1", one, NOW)
    parent = orjson.loads(again.value or b"")["spec"]["parentRef"]
    assert parent == {"resource": "services", "namespace": "web", "name": "one"}


def test_an_address_that_two_services_have_is_told_of() -> None:
    one, other = service("one", "10.96.1.1", port=30001), service("other", "10.96.1.1", port=30001)
    assert found([one, other], claims(one)) == [
        ("other", "ClusterIPAlreadyAllocated", False), ("other", "PortAlreadyAllocated", False),
    ]  # fmt: skip


def test_what_is_out_of_all_ranges_is_told_of() -> None:
    far = service("far", "10.97.0.1", port=29_999)
    assert found([far], claims(far)) == [("far", "ClusterIPOutOfRange", False), ("far", "PortOutOfRange", False)]


@pytest.mark.parametrize(("age", "wanted"), [(30, []), (61, [("10.96.1.1", "IPAddressNotAllocated", True)])])
def test_an_address_without_a_service_goes_when_none_can_be_about_to_come(age: int, wanted: list[Any]) -> None:
    assert found([], claims(service("gone", "10.96.1.1"), NOW - timedelta(seconds=age))) == wanted


def test_a_port_without_a_service_goes() -> None:
    assert found([], claims(service("gone", port=30001))) == [("gone", "PortNotAllocated", True)]


def test_an_address_that_somebody_keeps_by_hand_is_theirs() -> None:
    kept = {
        "apiVersion": ADDRESSES.api_version, "kind": "IPAddress",
        "metadata": {"name": "10.96.1.1", "creationTimestamp": times.format_time(NOW - timedelta(days=1))},
        "spec": {"parentRef": {"group": "gateway.networking.k8s.io", "resource": "gateways", "name": "g"}},
    }  # fmt: skip
    write = SideWrite(KEYS.of(ADDRESSES, "acme", "", "10.96.1.1"), codec.encode(kept))
    assert found([], [write]) == []
    assert found([service("one", "10.96.1.1")], [write]) == [("one", "ClusterIPAlreadyAllocated", False)]
