"""What the server makes of an object's metadata when it is written again."""

import copy

import pytest

from hypernetes.apiserver.registry import Strategy, metadata

STORED = {
    "name": "a", "namespace": "n", "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3,
    "generateName": "a-",
}  # fmt: skip
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u9"}


def updated(**changes):
    """The metadata after an update that sent `changes`, and (field, count) of what is wrong with it."""
    new = {"name": "a", **changes}
    metadata.carry_over(new, STORED)
    causes = metadata.validate_update(new, STORED, Strategy(), namespaced=True)
    fields = [cause["field"] for cause in causes]
    return new, {field: fields.count(field) for field in fields}


def test_what_the_server_gave_stays_whatever_an_update_sends():
    new, wrong = updated(creationTimestamp="2001-01-01T00:00:00Z", generation=44, selfLink="/x", managedFields=[{}])
    assert wrong == {}
    assert new == {key: value for key, value in STORED.items() if key != "generateName"}


def test_a_generated_name_is_forgotten_by_an_update_that_does_not_repeat_it():
    assert "generateName" not in updated()[0]
    assert updated(generateName="b-")[0]["generateName"] == "b-"


@pytest.mark.parametrize(
    ("change", "field", "count"),
    [
        ({"uid": "u2"}, "metadata.uid", 2),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, "metadata.deletionTimestamp", 2),
        ({"deletionGracePeriodSeconds": 5}, "metadata.deletionGracePeriodSeconds", 2),
        ({"finalizers": ["bad"]}, "metadata.finalizers[0]", 2),
        ({"finalizers": ["a/b", "c d/e"]}, "metadata.finalizers", 2),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, "metadata.finalizers", 2),
        ({"labels": {"a b": "c"}}, "metadata.labels", 4),
        ({"annotations": {"A/B/c": "x"}}, "metadata.annotations", 4),
        ({"ownerReferences": [{**OWNER, "name": ""}]}, "metadata.ownerReferences.name", 4),
    ],
)
def test_a_cause_is_told_as_often_as_upstream_finds_it(change, field, count):
    assert updated(**change)[1] == {field: count}


def test_finalizers_may_repeat_and_none_is_added_to_what_is_being_deleted():
    assert updated(finalizers=["a/b", "a/b"])[1] == {}
    ending = {**STORED, "deletionTimestamp": "2026-01-02T00:00:00Z", "finalizers": ["a/b"]}
    for finalizers, wrong in ((["a/b"], 0), ([], 0), (["a/b", "a/c"], 2)):
        new = {"finalizers": finalizers}
        metadata.carry_over(new, ending)
        assert new["deletionTimestamp"] == ending["deletionTimestamp"]
        assert len(metadata.validate_update(new, ending, Strategy(), namespaced=True)) == wrong


def test_equal_owners_are_dropped_with_a_warning():
    other = {**OWNER, "uid": "u8"}
    given = {"ownerReferences": [OWNER, other, dict(reversed(OWNER.items()))]}
    assert len(metadata.drop_equal_owners(given)) == 1
    assert given["ownerReferences"] == [OWNER, other]
    before = copy.deepcopy(given)
    assert metadata.drop_equal_owners(given) == []
    assert given == before


def test_a_thousand_bad_labels_make_no_endless_answer():
    new = {"labels": {f"bad key {number}": "" for number in range(5000)}}
    metadata.carry_over(new, STORED)
    assert len(metadata.validate_update(new, STORED, Strategy(), namespaced=True)) == 2000
