import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api.status import StatusError
from hypernetes.apiserver import patch, schema
from hypernetes.apiserver.patch import json_patch, merge_patch

DEPLOYMENT = schema.for_kind("apps/v1", "Deployment")
POD = schema.for_kind("v1", "Pod")

scalars = st.booleans() | st.integers(-5, 5) | st.text("ab/~", max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~0", max_size=3), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text("abc~/", max_size=3), values, max_size=4)


def strategic(original, body, kind=POD):
    return patch.apply(patch.STRATEGIC, original, body, kind)


def containers(*names, **more):
    return {"spec": {"containers": [{"name": name} for name in names], **more}}


def names(obj):
    return [each["name"] for each in obj["spec"]["containers"]]


@given(objects, objects)
def test_a_merge_patch_made_from_two_objects_leads_from_one_to_the_other(old, new):
    before = copy.deepcopy(old)
    assert merge_patch.apply(old, merge_patch.diff(old, new)) == new
    assert old == before


@given(objects, objects)
def test_a_merge_patch_changes_nothing_the_second_time(old, body):
    once = merge_patch.apply(old, body)
    assert merge_patch.apply(once, body) == once


def _operations(old, new, path=""):
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": f"{path}/{_escape(key)}"}
    for key, value in new.items():
        at = f"{path}/{_escape(key)}"
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            yield from _operations(old[key], value, at)
        else:
            yield {"op": "add", "path": at, "value": value}
            yield {"op": "test", "path": at, "value": value}


def _escape(key):
    return key.replace("~", "~0").replace("/", "~1")


@given(objects, objects)
def test_json_patch_operations_lead_from_one_object_to_the_other(old, new):
    before = copy.deepcopy(old)
    assert json_patch.apply(old, list(_operations(old, new))) == new
    assert old == before


@given(st.lists(scalars, max_size=5), st.data())
def test_moving_an_entry_and_back_changes_nothing(entries, data):
    if not entries:
        return
    here, there = (data.draw(st.integers(0, len(entries) - 1)) for _ in range(2))
    moves = [
        {"op": "move", "from": f"/l/{here}", "path": f"/l/{there}"},
        {"op": "move", "from": f"/l/{there}", "path": f"/l/{here}"},
    ]
    assert json_patch.apply({"l": entries}, moves) == {"l": entries}


@pytest.mark.parametrize("value", [False, 1, 1.5, None, "text"])
def test_what_is_no_object_is_copied_as_well(value):
    copied = json_patch.apply({"a": value}, [{"op": "copy", "from": "/a", "path": "/b"}])
    assert copied == {"a": value, "b": value}


@given(objects, st.lists(st.fixed_dictionaries({}, optional={
    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
    "path": st.text("/ab0-~1", max_size=5), "from": st.text("/ab0-~1", max_size=5), "value": values,
}), max_size=4))  # fmt: skip
def test_any_json_patch_is_applied_or_refused_and_leaves_the_original(old, operations):
    before = copy.deepcopy(old)
    try:
        patch.apply(patch.JSON, old, operations, POD)
    except StatusError as error:
        refused = error.code
        assert refused in (400, 413, 422)
    assert old == before


@given(objects, values)
def test_any_strategic_patch_is_applied_or_refused_and_leaves_the_original(old, body):
    before = copy.deepcopy({"spec": old})
    original = {"spec": old}
    try:
        strategic(original, {"spec": body})
    except StatusError as error:
        refused = error.code
        assert refused == 400
    assert original == before


def test_a_json_test_tells_true_from_one():
    with pytest.raises(StatusError):
        patch.apply(patch.JSON, {"a": 1}, [{"op": "test", "path": "/a", "value": True}], POD)
    assert patch.apply(patch.JSON, {"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], POD) == {"a": 1}


def test_a_json_patch_can_not_grow_without_bound():
    doubling = [{"op": "add", "path": "/a", "value": ["x" * 1000]}]
    doubling += [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    with pytest.raises(StatusError) as error:
        patch.apply(patch.JSON, {}, doubling, POD)
    assert error.value.code == 413
    with pytest.raises(StatusError) as error:
        patch.apply(patch.JSON, {}, [{"op": "test", "path": "/a", "value": None}] * 10_001, POD)
    assert error.value.code == 413


def test_entries_of_the_patch_come_first_and_the_servers_keep_their_order():
    assert names(strategic(containers("a", "b"), containers("c"))) == ["c", "a", "b"]


def test_the_order_asked_for_is_kept_around_what_only_the_server_has():
    body = {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}}
    assert names(strategic(containers("a", "x", "b"), body)) == ["c", "a", "x", "b"]


def test_an_entry_is_deleted_by_its_key_and_a_list_replaced_as_a_whole():
    body = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert names(strategic(containers("a", "b"), body)) == ["b"]
    body = {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}
    assert names(strategic(containers("a", "b"), body)) == ["z"]


def test_retained_keys_drop_all_others():
    original = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    body = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic(original, body, DEPLOYMENT)["spec"]["strategy"] == {"type": "Recreate"}
    body = {"spec": {"strategy": {"$retainKeys": ["other"], "type": "Recreate"}}}
    with pytest.raises(StatusError):
        strategic(original, body, DEPLOYMENT)


def test_the_schema_says_where_keys_are_retained():
    strategies = DEPLOYMENT.root.fields["spec"].fields["strategy"].patch_strategies
    assert strategies == {"retainKeys"}


def test_scalars_are_removed_from_and_added_to_a_merged_list():
    original = {"metadata": {"finalizers": ["a", "b"]}}
    body = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}
    assert strategic(original, body)["metadata"]["finalizers"] == ["c", "b"]


def test_a_list_without_merge_strategy_is_replaced():
    original = {"spec": {"containers": [{"name": "a", "args": ["1", "2"]}]}}
    body = {"spec": {"containers": [{"name": "a", "args": ["3"]}]}}
    assert strategic(original, body)["spec"]["containers"][0]["args"] == ["3"]


def test_directives_do_not_end_up_in_the_object():
    body = {"spec": {"securityContext": {"$patch": "replace"}, "volumes": [{"name": "v", "$retainKeys": ["name"]}]}}
    assert strategic({"spec": {}}, body)["spec"] == {"securityContext": {}, "volumes": [{"name": "v"}]}


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"image": "nameless"}]},
        {"containers": [{"name": "a", "$patch": "odd"}]},
        {"containers": ["a"]},
        {"$patch": "odd"},
        {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]},
        {"$setElementOrder/containers": "a"},
        {"$setElementOrder/nodeName": []},
        {"$retainKeys": "containers"},
        {"$deleteFromPrimitiveList/containers": "a"},
    ],
)
def test_a_misused_directive_is_a_bad_request(spec):
    with pytest.raises(StatusError) as error:
        strategic(containers("a"), {"spec": spec})
    assert error.value.code == 400


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "application/apply-patch+yaml"])
def test_another_content_type_is_unsupported(content_type):
    with pytest.raises(StatusError) as error:
        patch.apply(content_type, {}, b"{}", POD)
    assert error.value.code == 415


def test_a_content_type_may_have_parameters():
    assert patch.apply(f"{patch.MERGE}; charset=utf-8", {"a": 1}, b'{"a":null}', POD) == {}


@pytest.mark.parametrize("content_type", patch.CONTENT_TYPES)
@pytest.mark.parametrize("body", [b"", b"{", b'"x"', b"null", b"5"])
def test_what_is_no_patch_is_a_bad_request(content_type, body):
    with pytest.raises(StatusError) as error:
        patch.apply(content_type, {}, body, POD)
    assert error.value.code == 400


def test_a_result_that_can_not_be_read_is_the_patchs_fault():
    with pytest.raises(StatusError) as error:
        patch.decode(POD, {"spec": {"containers": "x"}}, "Strict")
    assert (error.value.code, error.value.causes[0]["field"]) == (422, "patch")
