"""Lists by label: the index finds what looking at every object finds, now and at any revision."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api.selectors import Requirement, parse_labels
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Entry, Mirror
from hypernetes.apiserver.storage.base import Change, Item

KEYS = Keys("c")
COLLECTION = "/hypernetes/c/core/configmaps/acme/"
RANGES = (f"{COLLECTION}web/", COLLECTION, "/hypernetes/c/core/configmaps/")

names = st.sampled_from([f"{tenant}/{space}/{name}" for tenant in ("acme", "other") for space in ("web", "db")
                         for name in ("a", "b", "c")])  # fmt: skip
labels = st.dictionaries(st.sampled_from(["app", "slot"]), st.sampled_from(["1", "2", "3"]))
writes = st.lists(st.tuples(names, st.none() | labels), max_size=30)


def data(found: dict[str, str]) -> bytes:
    return orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": found}})


def change(name: str, revision: int, found: dict[str, str] | None) -> Change:
    return Change(f"{RANGES[2]}{name}", revision, None if found is None else data(found), None)


def selected(mirror: Mirror, prefix: str, requirement: Requirement, *, index: bool, revision: int | None = None,
             limit: int = 0) -> list[Entry]:  # fmt: skip
    def match(entry: Entry) -> bool:
        return requirement(entry.labels)

    having = requirement if index else None
    return mirror.page(prefix, match=match, having=having, revision=revision, limit=limit).entries


@given(writes, st.sampled_from(["app=1", "app in (1,2)", "slot=3", "slot=9"]), st.integers(0, 29))
def test_the_index_finds_what_a_look_at_everything_finds(
    done: list[tuple[str, dict[str, str] | None]], selector: str, indexed_after: int
) -> None:
    (requirement,) = parse_labels(selector)
    mirror = Mirror(KEYS)
    mirror.load([Item(f"{RANGES[0]}a", data({"app": "1"}), 1)], 1)
    for number, (name, found) in enumerate(done):
        if number == indexed_after:
            selected(mirror, COLLECTION, requirement, index=True)
        mirror.apply([change(name, number + 2, found)])
    for prefix in RANGES:
        for limit in (0, 1):
            for revision in (None, 1 + len(done) // 2):
                wanted = selected(mirror, prefix, requirement, index=False, revision=revision, limit=limit)
                assert selected(mirror, prefix, requirement, index=True, revision=revision, limit=limit) == wanted


def test_a_mirror_loaded_anew_forgets_its_index() -> None:
    (requirement,) = parse_labels("app=1")
    mirror = Mirror(KEYS)
    mirror.load([Item(f"{COLLECTION}web/a", data({"app": "1"}), 1)], 1)
    assert len(selected(mirror, COLLECTION, requirement, index=True)) == 1
    mirror.load([Item(f"{COLLECTION}web/b", data({"app": "1"}), 2)], 2)
    assert [entry.key for entry in selected(mirror, COLLECTION, requirement, index=True)] == [f"{COLLECTION}web/b"]


def test_a_collection_is_of_one_resource_in_one_tenant() -> None:
    assert KEYS.collection(f"{COLLECTION}web/a") == COLLECTION
    assert KEYS.collection(COLLECTION) == COLLECTION
    assert KEYS.collection("/hypernetes/c/core/configmaps/") == ""
