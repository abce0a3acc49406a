"""What is shown without being stored: the same on every server, whenever it started."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import scheme, times
from hypernetes.apiserver import contents
from hypernetes.apiserver.implied import ROOT, Implications
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Event, Mirror
from hypernetes.apiserver.objects import Place
from hypernetes.apiserver.storage.base import Change, Item
from hypernetes.apiserver.watchers import transition

KEYS = Keys("c")
IMPLIED = Implications(KEYS, "PEM", "PROXY")
SLICES = scheme.by_name("discovery.k8s.io/v1", "endpointslices")
ADDRESSES = scheme.by_name("networking.k8s.io/v1", "ipaddresses")
NAMESPACES, CONFIG_MAPS = scheme.by_name("v1", "namespaces"), scheme.by_name("v1", "configmaps")
WEB, MAP = KEYS.of(NAMESPACES, "acme", "", "web"), KEYS.of(CONFIG_MAPS, "acme", "web", ROOT)
UID = "8148ebed-30bb-46b9-beb9-e86f2ace65a0"


def namespace(name: str = "web", **metadata: object) -> bytes:
    obj = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "uid": UID, "creationTimestamp": "2026-01-01T00:00:00Z", **metadata},
    }  # fmt: skip
    return orjson.dumps(obj)


def loaded(*items: Item, revision: int = 9) -> Mirror:
    mirror = Mirror(KEYS, implied=IMPLIED)
    mirror.load(items, revision)
    return mirror


def told(events: list[Event]) -> list[tuple[str, str, int]]:
    """Of ConfigMaps, as a watch tells them."""
    found = []
    for event in events:
        shown = transition(event, None)
        if event.name.resource == "configmaps" and shown is not None:
            found.append((shown[0], orjson.loads(shown[1].data)["metadata"]["uid"], event.revision))
    return found


def test_a_namespace_has_it_at_its_own_revision_and_with_a_uid_of_its_own() -> None:
    entry = loaded(Item(WEB, namespace(), 5)).get(MAP)
    assert entry is not None
    obj: dict[str, Any] = orjson.loads(entry.data)
    assert (obj["kind"], obj["metadata"]["namespace"], obj["data"]) == ("ConfigMap", "web", {"ca.crt": "PEM"})
    assert obj["metadata"]["uid"] != UID
    assert (entry.revision, entry.stored) == (5, False)


def test_it_comes_changes_and_goes_with_its_namespace() -> None:
    mirror = loaded()
    uid = told(mirror.apply([Change(WEB, 10, namespace(), None)]))[0][1]
    assert told(mirror.apply([Change(WEB, 11, namespace(labels={"deletionTimestamp": "x"}), None)])) == [
        ("MODIFIED", uid, 11)
    ]
    ending = namespace(deletionTimestamp="2026-01-01T00:00:00Z")
    assert told(mirror.apply([Change(WEB, 12, ending, None)])) == [("DELETED", uid, 12)]
    assert told(mirror.apply([Change(WEB, 13, None, None)])) == []
    assert mirror.get(MAP) is None
    assert [entry.key for entry in mirror.page(KEYS.range(CONFIG_MAPS, "acme"), revision=11).entries] == [MAP]


def test_one_that_is_stored_hides_it() -> None:
    mirror = loaded()
    uid = told(mirror.apply([Change(WEB, 10, namespace(), None)]))[0][1]
    own = orjson.dumps({"metadata": {"uid": "own"}})
    assert told(mirror.apply([Change(MAP, 11, own, None)])) == [("MODIFIED", "own", 11)]
    assert told(mirror.apply([Change(WEB, 12, namespace(labels={"a": "b"}), None)])) == []
    assert told(mirror.apply([Change(MAP, 13, None, None)])) == [("MODIFIED", uid, 13)]
    assert told(mirror.apply([Change(WEB, 14, None, None)])) == [("DELETED", uid, 14)]


_STEPS = st.lists(
    st.sampled_from([(WEB, namespace()), (WEB, namespace(labels={"a": "b"})), (WEB, None), (MAP, b"{}"), (MAP, None),
                     (WEB, namespace(deletionTimestamp="2026-01-01T00:00:00Z"))]),
    max_size=12,
)  # fmt: skip


@given(_STEPS)
def test_a_server_that_follows_and_one_that_starts_later_have_the_same(steps: list[tuple[str, bytes | None]]) -> None:
    followed, stored = loaded(), {}
    for revision, (key, value) in enumerate(steps, 10):
        followed.apply([Change(key, revision, value, None)])
        stored[key] = None if value is None else Item(key, value, revision)
    started = loaded(*filter(None, stored.values()), revision=followed.revision)

    def seen(mirror: Mirror) -> list[tuple[str, int, bytes, bool]]:
        return [(each.key, each.revision, each.data, each.stored) for each in mirror.range(KEYS.root)]

    assert seen(followed) == seen(started)


@pytest.mark.parametrize(
    "key",
    [
        KEYS.of(CONFIG_MAPS, "acme", "web", "other"),
        KEYS.of(scheme.by_name("v1", "secrets"), "acme", "web", ROOT),
        KEYS.of(NAMESPACES, "acme", "", ROOT),
    ],
)
def test_nothing_else_is_implied(key: str) -> None:
    assert IMPLIED.source(key) is None


def test_its_content_stays_and_deleting_it_makes_another() -> None:
    place, other = Place(CONFIG_MAPS, "acme", "web", ROOT), Place(CONFIG_MAPS, "acme", "web", "other")
    new: dict[str, Any] = {"data": {"ca.crt": "forged"}, "binaryData": {"k": "eA=="}}
    IMPLIED.keep(place, new)
    assert new == {"data": {"ca.crt": "PEM"}}
    own: dict[str, Any] = {"data": {"k": "v"}}
    IMPLIED.keep(other, own)
    assert own == {"data": {"k": "v"}}
    mirror = loaded(Item(WEB, namespace(), 5))
    renewed, there = IMPLIED.renewed(mirror, place), mirror.get(MAP)
    assert renewed is not None
    assert there is not None
    assert renewed["metadata"]["uid"] != orjson.loads(there.data)["metadata"]["uid"]
    assert IMPLIED.renewed(mirror, other) is None
    ending = loaded(Item(WEB, namespace(deletionTimestamp="2026-01-01T00:00:00Z"), 5))
    assert IMPLIED.renewed(ending, place) is None


def service(address: str) -> bytes:
    obj = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "uid": UID,
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": address, "clusterIPs": [address]},
    }  # fmt: skip
    return orjson.dumps(obj)


def test_the_service_of_the_api_has_its_endpoints_and_its_address_as_the_server_would_have_completed_them() -> None:
    mirror = loaded()
    api = KEYS.of(scheme.by_name("v1", "services"), "acme", "default", "kubernetes")
    mirror.apply([Change(api, 10, service("10.254.0.1"), None)])
    for resource, namespace, name in ((SLICES, "default", "kubernetes"), (ADDRESSES, "", "10.254.0.1")):
        entry = mirror.object(resource, "acme", namespace, name)
        assert entry is not None
        obj = orjson.loads(entry.data)
        now = times.parse_time("2026-01-01T00:00:00Z")
        wanted = contents.completed(resource.api_version, resource, obj, now)
        wanted["metadata"]["uid"] = obj["metadata"]["uid"]
        assert obj == wanted
        assert entry.data.startswith(b'{"apiVersion":"%b","kind":' % resource.api_version.encode())
    mirror.apply([Change(api, 11, service("10.254.0.9"), None)])
    addresses = mirror.range(KEYS.range(ADDRESSES, "acme"))
    assert [(entry.key.rpartition("/")[2], entry.revision) for entry in addresses] == [("10.254.0.9", 11)]
    mirror.apply([Change(api, 12, service("None"), None)])
    assert [entry.key for entry in mirror.range(KEYS.root)] == [api]
