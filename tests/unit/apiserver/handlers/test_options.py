"""Query parameters of lists, watches and writes, as upstream takes and refuses them."""

import pytest
from multidict import MultiDict

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver.handlers import options

PODS = scheme.by_name("v1", "pods")


def refused(query, *, watch=False):
    """(code, fields of the causes) of a list that isn't served."""
    with pytest.raises(StatusError) as caught:
        options.list_options(MultiDict(query), PODS, watch=watch)
    return caught.value.code, sorted(cause["field"] for cause in caught.value.causes)


def write_refused(query, verb):
    with pytest.raises(StatusError) as caught:
        options.write_options(MultiDict(query), verb)
    error = caught.value
    assert error.code == 422
    return error.details["kind"], sorted((cause["field"], cause["reason"]) for cause in error.causes)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"resourceVersionMatch": "Exact"}, ["resourceVersionMatch"]),
        ({"resourceVersionMatch": "Newest", "resourceVersion": "5"}, ["resourceVersionMatch"]),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, ["resourceVersionMatch"]),
        ({"resourceVersionMatch": "Exact", "continue": "x"}, ["resourceVersionMatch"] * 2),
        ({"sendInitialEvents": "true"}, ["sendInitialEvents"]),
    ],
)
def test_a_list_whose_parameters_do_not_fit_together_is_invalid(query, fields):
    assert refused(query) == (422, fields)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"resourceVersionMatch": "NotOlderThan"}, ["resourceVersionMatch"]),
        ({"sendInitialEvents": "true"}, ["resourceVersionMatch"]),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "Exact"}, ["resourceVersionMatch"] * 2),
    ],
)
def test_a_watch_whose_parameters_do_not_fit_together_is_invalid(query, fields):
    assert refused(query, watch=True) == (422, fields)


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersion": "x"}, {"resourceVersion": "-1"}, {"resourceVersion": "9" * 20}, {"limit": "x"},
        {"limit": "1.5"}, {"limit": str(2**63)}, {"timeoutSeconds": "1s"}, {"labelSelector": "a in"},
        {"labelSelector": "a=b c"}, {"fieldSelector": "spec.image=x"}, {"fieldSelector": "x"},
        {"continue": "abc", "resourceVersion": "5"},
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_bad_request(query):
    assert refused(query) == (400, [])


def test_flags_are_true_unless_they_say_false_or_0():
    for text, wanted in (("true", True), ("1", True), ("yes", True), ("False", False), ("0", False)):
        found = options.list_options(MultiDict(allowWatchBookmarks=text), PODS, watch=True)
        assert found.bookmarks is wanted, text


def test_a_write_without_parameters_is_carried_out_and_warns():
    assert options.write_options(MultiDict(), "create") == options.WriteOptions(False, "Warn")


def test_a_dry_run_may_be_asked_for_twice():
    assert options.write_options(MultiDict([("dryRun", "All"), ("dryRun", "All")]), "update").dry_run


@pytest.mark.parametrize(
    ("verb", "kind"), [("create", "CreateOptions"), ("update", "UpdateOptions"), ("patch", "PatchOptions")]
)
def test_everything_wrong_with_a_write_is_named(verb, kind):
    query = [("dryRun", "All"), ("dryRun", "Some"), ("fieldValidation", "Odd"), ("fieldManager", "é" * 65)]
    assert write_refused(query, verb) == (
        kind,
        [
            ("dryRun", "FieldValueNotSupported"),
            ("fieldManager", "FieldValueTooLong"),
            ("fieldValidation", "FieldValueNotSupported"),
        ],
    )


def test_a_dry_run_of_nothing_is_no_dry_run():
    assert write_refused({"dryRun": ""}, "create")[1] == [("dryRun", "FieldValueNotSupported")]


def test_a_manager_is_printable():
    assert write_refused({"fieldManager": "a\nb"}, "update")[1] == [("fieldManager", "FieldValueInvalid")]


def test_only_an_apply_can_be_forced():
    assert write_refused({"force": "true"}, "patch") == ("PatchOptions", [("force", "FieldValueForbidden")])
    assert options.write_options(MultiDict(force="true"), "update").dry_run is False
