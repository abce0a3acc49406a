import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import selectors
from hypernetes.api.selectors import FieldTerm, Requirement


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web", {"app": "db"}, False),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("app", {"app": ""}, True),
        ("!app", {"app": ""}, False),
        ("tier in (a, b)", {"tier": "b"}, True),
        ("tier notin (a,b)", {}, True),
        ("tier notin (a,b)", {"tier": "a"}, False),
        ("app=web,tier in (a,b),!old", {"app": "web", "tier": "a"}, True),
        ("app=web,tier in (a,b),!old", {"app": "web", "tier": "a", "old": "1"}, False),
        ("gen>3", {"gen": "4"}, True),
        ("gen<3", {"gen": "x"}, False),
        ("app=", {"app": ""}, True),
        ("in in (in)", {"in": "in"}, True),
        ("example.com/role=a_b.c-d", {"example.com/role": "a_b.c-d"}, True),
    ],
)
def test_a_label_selector_selects_as_upstream_does(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selectors.all_of(selectors.parse_labels(text))(labels) is matches


@pytest.mark.parametrize(
    "text", ["app=web,", "app in", "app in (a", "=web", "app web", "a,,b", "app in a)", "app=$", "!"]
)
def test_a_malformed_label_selector_says_what_was_found(text: str) -> None:
    with pytest.raises(ValueError, match="found"):
        selectors.parse_labels(text)


words = st.from_regex(r"[a-z]([-a-z0-9_.]{0,8}[a-z0-9])?", fullmatch=True)
requirements = st.one_of(
    st.builds(Requirement, words, st.sampled_from(["In", "NotIn"]), st.frozensets(words, min_size=1, max_size=3)),
    st.builds(Requirement, words, st.sampled_from(["Exists", "DoesNotExist"])),
)


@given(st.lists(requirements, min_size=1, max_size=4))
def test_formatting_a_label_selector_and_parsing_it_again_changes_nothing(terms: list[Requirement]) -> None:
    assert set(selectors.parse_labels(selectors.format_labels(tuple(terms)))) == set(terms)


@given(st.text(max_size=30))
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        selectors.all_of(selectors.parse_labels(text))({"a": "b"})


def test_a_selector_object_joins_labels_and_expressions() -> None:
    selector = selectors.from_object(
        {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]}
    )
    assert selector({"app": "web"})
    assert not selector({"app": "web", "tier": "db"})


def test_an_absent_selector_object_selects_nothing_and_an_empty_one_everything() -> None:
    assert not selectors.from_object(None)({})
    assert selectors.from_object({})({"any": "thing"})


def test_field_selectors_are_exact_terms() -> None:
    assert selectors.parse_fields("spec.nodeName=n1,status.phase!=Failed") == (
        FieldTerm("spec.nodeName", "n1"),
        FieldTerm("status.phase", "Failed", negated=True),
    )
    assert selectors.parse_fields(r"metadata.name=a\,b") == (FieldTerm("metadata.name", "a,b"),)
    with pytest.raises(ValueError, match="path=value"):
        selectors.parse_fields("spec.nodeName")


def test_a_field_that_is_absent_counts_as_empty() -> None:
    assert FieldTerm("spec.nodeName", "")({})
    assert FieldTerm("spec.nodeName", "n1", negated=True)({})
