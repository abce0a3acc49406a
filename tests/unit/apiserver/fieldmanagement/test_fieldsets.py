"""Sets of fields against plain sets of paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver import schema
from hypernetes.apiserver.fieldmanagement import elements, fieldsets

NAMES = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
PATHS = st.frozensets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=8)


def tree(paths):
    """The set as a tree, made in the plainest way."""
    root = {}
    for path in paths:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node[fieldsets.SELF] = {}
    return fieldsets.canonical(root)


def paths(fields):
    return frozenset(fieldsets.paths(fields))


@given(PATHS)
def test_a_set_holds_the_paths_it_was_made_of(given_paths):
    assert paths(tree(given_paths)) == given_paths
    assert all(fieldsets.has(tree(given_paths), path) for path in given_paths)


@given(PATHS, PATHS)
def test_the_algebra_is_that_of_sets(one, other):
    left, right = tree(one), tree(other)
    assert fieldsets.union(left, right) == tree(one | other)
    assert fieldsets.intersection(left, right) == tree(one & other)
    assert fieldsets.difference(left, right) == tree(one - other)
    assert (left, right) == (tree(one), tree(other)), "what went in was changed"


@given(PATHS, PATHS)
def test_branches_go_with_all_that_grows_on_them(fields, roots):
    kept = {path for path in fields if not any(path[: len(root)] == root for root in roots)}
    assert fieldsets.without_branches(tree(fields), tree(roots)) == tree(kept)


@given(PATHS)
def test_the_canonical_form_is_canonical(given_paths):
    assert fieldsets.canonical(tree(given_paths)) == tree(given_paths)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"f:a": {".": {}}}, {"f:a": {}}),
        ({".": {}}, {}),
        ({'k:{"port": 80, "a":1}': {}}, {'k:{"a":1,"port":80}': {}}),
        ({'k:{"a":1}': {"f:b": {}}, 'k:{ "a":1}': {"f:c": {}}}, {'k:{"a":1}': {"f:b": {}, "f:c": {}}}),
        ({"i:03": {}}, {"i:3": {}}),
        ({"x:new": {}}, {}),
        ({"f:a": {"x:new": {}}}, {}),
        ({"f:": {}}, {"f:": {}}),
    ],
)
def test_what_clients_send_is_read_in_one_form(sent, read):
    assert fieldsets.canonical(sent) == read


@pytest.mark.parametrize(
    "sent",
    [
        [], "f:a", 1, {"f:a": None}, {"f:a": []}, {"": {}}, {"a": {}}, {"fa": {}}, {"k:[1]": {}}, {"k:1": {}},
        {"k:{": {}}, {"v:{}": {}}, {"v:": {}}, {"v:[": {}}, {"i:x": {}}, {'k:{"a":{"b":1}}': {}},
        {"i:" + "9" * 5000: {}},
    ],
)  # fmt: skip
def test_what_is_no_set_is_refused(sent):
    with pytest.raises(ValueError):
        fieldsets.canonical(sent)


def test_paths_read_as_people_write_them():
    path = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")
    assert fieldsets.text(path) == '.spec.ports[port=80,protocol="TCP"].name'
    assert fieldsets.text(("f:metadata", "f:finalizers", 'v:"a"', "i:2")) == '.metadata.finalizers[="a"][2]'


def test_a_keyed_entry_is_known_by_its_keys_and_their_defaults():
    ports = schema.for_kind("v1", "Service").root.fields["spec"].fields["ports"]
    assert elements.of_entry({"port": 80, "name": "http"}, ports) == 'k:{"port":80,"protocol":"TCP"}'
    with pytest.raises(elements.Unsuitable):
        elements.of_entry("http", ports)


def test_what_a_kind_owns_as_a_whole_has_nothing_below_it():
    deployment = schema.for_kind("apps/v1", "Deployment").root
    lying = {"f:spec": {"f:selector": {"f:matchLabels": {"f:app": {}}}, "f:replicas": {}}, "f:no": {"f:such": {}}}
    fitted = {"f:spec": {"f:selector": {}, "f:replicas": {}}, "f:no": {"f:such": {}}}
    assert fieldsets.fitted(lying, deployment) == fitted


def test_having_a_field_is_having_the_declared_ones_that_lead_there():
    deployment = schema.for_kind("apps/v1", "Deployment").root
    fields = {"f:spec": {"f:template": {"f:metadata": {"f:labels": {"f:app": {}}}}}}
    assert {fieldsets.text(path) for path in fieldsets.paths(fieldsets.with_named(fields, deployment))} == {
        ".spec", ".spec.template", ".spec.template.metadata", ".spec.template.metadata.labels",
        ".spec.template.metadata.labels.app",
    }  # fmt: skip
