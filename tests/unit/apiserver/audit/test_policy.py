"""Audit policies: which rule fits which request, and which policies are none."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.apiserver.audit.policy import (
    COMPLETE,
    LEVELS,
    METADATA,
    NONE,
    RECEIVED,
    Asked,
    Policy,
    PolicyError,
    parse,
)

Object = dict[str, Any]


def policy(*rules: Object, **more: Any) -> Policy:
    return parse(yaml.dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}))


def pods(**parts: Any) -> Asked:
    known: Object = {"group": "", "resource": "pods", "namespace": "web", "name": "a", **parts}
    return Asked("jane", ("dev", "system:authenticated"), "acme", known.pop("verb", "get"), **known)


def path(name: str) -> Asked:
    return Asked("jane", ("dev",), "acme", "get", path=name)


def resources(*names: str, group: str = "", **more: Any) -> Object:
    return {"resources": [{"group": group, "resources": list(names), **more}]}


@pytest.mark.parametrize(
    ("rule", "asked", "fits"),
    [
        ({}, pods(), True),
        ({"users": ["jane"]}, pods(), True),
        ({"users": ["joe"]}, pods(), False),
        ({"userGroups": ["ops", "dev"]}, pods(), True),
        ({"userGroups": ["ops"]}, pods(), False),
        ({"verbs": ["list"]}, pods(), False),
        ({"tenants": ["acme", "other"]}, pods(), True),
        ({"tenants": ["other"]}, pods(), False),
        ({"namespaces": ["web"]}, pods(), True),
        ({"namespaces": [""]}, pods(), False),
        ({"namespaces": [""]}, pods(resource="nodes", namespace=""), True),
        ({"namespaces": ["web"]}, path("/healthz"), False),
        ({"resources": [{"group": ""}]}, pods(), True),
        ({"resources": [{"group": "apps"}]}, pods(), False),
        (resources("pods"), pods(), True),
        (resources("pods"), pods(subresource="log"), False),
        (resources("pods/log"), pods(subresource="log"), True),
        (resources("pods/log"), pods(), False),
        (resources("pods/*"), pods(subresource="exec"), True),
        (resources("*/scale"), pods(subresource="scale"), True),
        (resources("*/scale"), pods(), False),
        (resources("*"), pods(subresource="log"), True),
        (resources("services"), pods(), False),
        (resources("pods", resourceNames=["a"]), pods(), True),
        (resources("pods", resourceNames=["b"]), pods(), False),
        (resources("pods"), path("/healthz"), False),
        ({"nonResourceURLs": ["/healthz"]}, path("/healthz"), True),
        ({"nonResourceURLs": ["/healthz"]}, path("/healthz/ping"), False),
        ({"nonResourceURLs": ["/healthz*"]}, path("/healthz/ping"), True),
        ({"nonResourceURLs": ["*"]}, path("/x"), True),
        ({"nonResourceURLs": ["*"]}, pods(), False),
    ],
)
def test_a_rule_fits_where_all_that_it_says_fits(rule: Object, asked: Asked, fits: bool) -> None:
    assert policy({"level": "Metadata", **rule}).decide(asked).level == (METADATA if fits else NONE)


def test_the_first_rule_that_fits_counts() -> None:
    found = policy({"level": "None", "users": ["jane"]}, {"level": "Request"})
    assert found.decide(pods()).level == NONE
    assert found.decide(pods()._replace(user="joe")).level == LEVELS.index("Request")


def test_stages_of_policy_and_rule_are_left_out() -> None:
    rule = {"level": "Metadata", "omitStages": [COMPLETE], "omitManagedFields": False}
    found = policy(rule, omitStages=[RECEIVED], omitManagedFields=True).decide(pods())
    assert (found.omitted, found.omit_managed_fields) == ({COMPLETE, RECEIVED}, False)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"level": "Everything"}, "rules[0].level"),
        ({}, "rules[0].level"),
        ({"level": "None", "user": ["a"]}, "unknown field 'user'"),
        ({"level": "None", "users": "a"}, "rules[0].users"),
        ({"level": "None", "omitStages": ["Begun"]}, "rules[0].omitStages"),
        ({"level": "None", "nonResourceURLs": ["healthz"]}, "begin with a slash"),
        ({"level": "None", "nonResourceURLs": ["/a*b"]}, "at its end only"),
        ({"level": "None", "nonResourceURLs": ["/a"], **resources("pods")}, "not of both"),
        ({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["a"]}, "not of both"),
        ({"level": "None", "resources": [{"group": "apps/v1"}]}, "without its version"),
        ({"level": "None", "resources": [{"group": "", "resourceNames": ["a"]}]}, "resourceNames"),
        ({"level": "None", "omitManagedFields": "yes"}, "true or false"),
        ("x", "must be an object"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_the_place(rule: Any, complaint: str) -> None:
    with pytest.raises(PolicyError) as error:
        policy(rule)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "a: b: c", "kind: Policy\nrules: []", "apiVersion: audit.k8s.io/v1\nkind: Policy"]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse(text)


def test_the_policy_to_begin_with_is_one() -> None:
    found = parse((Path(__file__).parents[4] / "deploy" / "audit-policy.yaml").read_bytes())
    assert found.decide(pods(verb="create")).level == LEVELS.index("Request")
    assert found.decide(pods()).level == METADATA
    assert found.decide(path("/livez/ping")).level == NONE


NAMES = st.sampled_from(["a", "b", "c"])
RULES = st.fixed_dictionaries(
    {"level": st.sampled_from(LEVELS)},
    optional={
        "users": st.lists(NAMES), "userGroups": st.lists(NAMES), "verbs": st.lists(NAMES), "tenants": st.lists(NAMES),
        "resources": st.lists(st.fixed_dictionaries({"group": NAMES, "resources": st.lists(NAMES, min_size=1),
                                                     "resourceNames": st.lists(NAMES)}), max_size=2),
    },
)  # fmt: skip
ASKED = st.builds(Asked, NAMES, st.lists(NAMES).map(tuple), NAMES, NAMES, NAMES, NAMES, st.just(""), NAMES, NAMES)


@given(st.lists(RULES, min_size=1, max_size=4), st.lists(ASKED, max_size=6))
@settings(deadline=None)  # parsing takes long where others work
def test_what_was_decided_before_is_decided_again(rules: list[Object], requests: list[Asked]) -> None:
    remembering = policy(*rules)
    for asked in [*requests, *requests]:
        assert remembering.decide(asked) == policy(*rules).decide(asked)
