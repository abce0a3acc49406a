"""What strangers' servers say of their resources, and what is believed of it."""

import orjson
import pytest

from hypernetes.apiserver import discovery
from hypernetes.apiserver.aggregation import offers
from hypernetes.apiserver.aggregation.documents import Extended, aggregated_rows, merged
from hypernetes.apiserver.aggregation.offers import PASSED, Offer, Unreadable, Verdict
from hypernetes.apiserver.aggregation.registered import Registered, read

CARS = {"name": "cars", "singularName": "car", "namespaced": True, "kind": "Car", "verbs": ["get", "list"]}
DOORS = {
    "name": "cars/doors",
    "singularName": "",
    "namespaced": True,
    "kind": "Door",
    "verbs": ["get"],
    "group": "x.io",
}


def listed(*rows: object) -> bytes:
    return orjson.dumps({"kind": "APIResourceList", "resources": rows})


def of(group: str, version: str, group_priority: int = 10, version_priority: int = 10) -> Registered:
    name = f"{version}.{group}"
    return Registered(
        "acme", name, group, version, "default", "s", 443,
        group_priority=group_priority, version_priority=version_priority,
    )  # fmt: skip


def test_rows_are_read_and_ordered() -> None:
    surplus = {**CARS, "shortNames": ["c"], "verbs": ["get", "list", "fly"], "nonsense": {"a": 1}}
    assert offers.rows(listed(DOORS, surplus)) == ({**CARS, "shortNames": ["c"]}, DOORS)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x00", b"[]", b'{"kind":"Pod"}', listed("cars"), listed({**CARS, "name": ""}),
        listed({**CARS, "kind": ["Car"]}), listed({**CARS, "verbs": "all"}), listed({**CARS, "verbs": [1]}),
        listed({**CARS, "name": "x" * 1000}), listed(*({**CARS, "name": f"c{n}"} for n in range(3000))),
        b'{"kind":"APIResourceList","resources":{"a":1}}',
    ],
)  # fmt: skip
def test_anything_else_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        offers.rows(body)


def test_an_openapi_document_must_be_one() -> None:
    good = b'{"openapi":"3.0.0","paths":{}}'
    document = offers.openapi_v3(good)
    assert document is not None
    assert document.body == good
    for bad in (b"", b"[]", b'{"openapi":3,"paths":{}}', b'{"openapi":"3.0.0","paths":[]}'):
        assert offers.openapi_v3(bad) is None


@pytest.mark.parametrize(
    "spec",
    [
        {"swagger": "2.0", "paths": {"/apis/x.io/v1/cars": {"get": 1}}, "definitions": {}},
        {"swagger": "2.0", "paths": {"/apis/x.io/v1/cars": {}}, "definitions": {"Car": "no schema"}},
        {"swagger": "2.0", "paths": {"/api/v1/pods": {}}, "definitions": {}},
        {"swagger": "2.0", "paths": [], "definitions": {}},
        {"swagger": "3.0"},
    ],
)
def test_of_a_v2_document_nothing_is_taken_that_clients_couldnt_read(spec: dict[str, object]) -> None:
    assert offers.openapi_v2(orjson.dumps(spec), of("x.io", "v1")) == {}


def test_nothing_nested_without_end_is_taken() -> None:
    deep = '{"properties":{"a":' * 500 + "{}" + "}}" * 500
    body = f'{{"swagger":"2.0","paths":{{"/apis/x.io/v1/cars":{{}}}},"definitions":{{"Car":{deep}}}}}'
    assert offers.openapi_v2(body.encode(), of("x.io", "v1")) == {}


def test_of_two_of_one_name_the_built_in_one_stays() -> None:
    spec = {"paths": {"/a": 1}, "definitions": {"A": 1}}
    more = [{"paths": {"/a": 2, "/b": 2}, "definitions": {"A": 2, "B": 2}}, {"paths": {"/b": 3}, "definitions": {}}]
    assert merged(spec, more) == {"paths": {"/a": 1, "/b": 2}, "definitions": {"A": 1, "B": 2}}


def test_groups_come_after_ours_by_their_priorities() -> None:
    found = Extended(
        discovery.of_tenants(),
        [
            Offer(of("low.io", "v1", 1), PASSED),
            Offer(of("high.io", "v1", 100, 1), PASSED),
            Offer(of("high.io", "v2", 100, 9), Verdict(False, "x", "y")),
        ],
    )
    groups = found.group_list()["groups"]
    assert [group["name"] for group in groups[-2:]] == ["high.io", "low.io"]
    assert groups[-2]["preferredVersion"]["version"] == "v2"
    assert len(groups) == len(discovery.of_tenants().group_list()["groups"]) + 2
    assert found.group("apps") == discovery.of_tenants().group("apps")


def test_a_subresource_without_a_resource_gets_one() -> None:
    (row,) = aggregated_rows((DOORS,))
    assert (row["resource"], row["verbs"], row["subresources"][0]["subresource"]) == ("cars", [], "doors")
    assert row["subresources"][0]["responseKind"]["group"] == "x.io"


@pytest.mark.parametrize("group", ["", "apps", "metrics.k8s.io", "apiextensions.k8s.io", "hypernetes.io"])
def test_a_group_of_ours_is_served_by_nobody_else_however_it_came_to_be_registered(group: str) -> None:
    spec = {"group": group, "version": "v1", "service": {"namespace": "a", "name": "b"}}
    assert read("acme", {"metadata": {"name": "x"}, "spec": spec}) is None
