import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.authz.policyrules import PolicyRule, RuleSet, atoms, uncovered
from tests.unit.apiserver.authz.policies import ask


@pytest.mark.parametrize(
    ("resources", "what", "allowed"),
    [
        ("pods", "pods", True), ("pods", "pods/log", False), ("pods/log", "pods/log", True),
        ("pods/log", "pods", False), ("*", "pods/log", True), ("*", "pods", True), ("*/log", "pods/log", True),
        ("*/log", "pods", False), ("*/log", "pods/exec", False),
    ],
)  # fmt: skip
def test_a_subresource_is_a_resource_of_its_own(resources: str, what: str, allowed: bool) -> None:
    rules = RuleSet([PolicyRule(("get",), ("",), (resources,))])
    assert rules.allows(ask("acme", "get", what, name="x")) is allowed


def test_names_narrow_a_rule_and_no_other() -> None:
    rules = RuleSet([PolicyRule(("get",), ("",), ("secrets",), ("a", "b")), PolicyRule(("list",), ("",), ("secrets",))])
    assert rules.allows(ask("acme", "get", "secrets", name="a"))
    assert not rules.allows(ask("acme", "get", "secrets", name="c"))
    assert not rules.allows(ask("acme", "get", "secrets"))
    assert rules.allows(ask("acme", "list", "secrets"))


@pytest.mark.parametrize(
    ("url", "path", "allowed"),
    [("/api", "/api", True), ("/api", "/api/v1", False), ("/api/*", "/api/v1", True), ("/api/*", "/apis", False),
     ("*", "/x", True), ("/a*", "/ab/c", True)],
)  # fmt: skip
def test_a_url_ends_where_it_says(url: str, path: str, allowed: bool) -> None:
    assert RuleSet([PolicyRule(("get",), non_resource_urls=(url,))]).allows(ask("acme", "get", path)) is allowed


def test_what_is_not_covered_is_told_apart() -> None:
    owned = [PolicyRule(("get", "list"), ("",), ("pods",)), PolicyRule(("*",), ("apps",), ("*",))]
    wanted = [
        PolicyRule(("get", "delete"), ("",), ("pods",)),
        PolicyRule(("create",), ("apps",), ("deployments/scale",)),
    ]
    assert uncovered(owned, wanted) == [PolicyRule(("delete",), ("",), ("pods",))]
    assert uncovered([PolicyRule(("get",), ("",), ("pods",), ("a",))], [PolicyRule(("get",), ("",), ("pods",))])
    assert uncovered([PolicyRule(("*",), ("*",), ("pods",))], [PolicyRule(("get",), ("",), ("*",))])
    assert uncovered([PolicyRule(("get",), non_resource_urls=("/a*",))],
                     [PolicyRule(("get",), non_resource_urls=("/ab*", "/b"))]) == [
        PolicyRule(("get",), non_resource_urls=("/b",))
    ]  # fmt: skip


VERBS, GROUPS = ("get", "list", "*"), ("", "apps", "*")
RESOURCES, NAMES = ("pods", "pods/log", "*/log", "*"), ("a", "b")
RULES = st.builds(
    PolicyRule,
    st.lists(st.sampled_from(VERBS), min_size=1, max_size=2).map(tuple),
    st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2).map(tuple),
    st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=2).map(tuple),
    st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
)


@given(st.lists(RULES, max_size=4), RULES)
def test_who_is_granted_only_what_is_covered_may_no_more_than_who_grants(owned: list[PolicyRule], wanted: PolicyRule):
    granted = [atom for atom in atoms(wanted) if not uncovered(owned, [atom])]
    own, new = RuleSet(owned), RuleSet(granted)
    for verb in ("get", "list", "watch"):
        for group in ("", "apps", "batch"):
            for what in ("pods", "pods/log", "jobs", "jobs/log"):
                for name in ("", "a", "c"):
                    asked = ask("acme", verb, what, group=group, name=name)
                    assert not new.allows(asked) or own.allows(asked)
