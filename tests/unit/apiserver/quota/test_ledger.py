"""The ledger is the sum of what is there, whatever was made, changed and removed in whatever order."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import scheme
from hypernetes.apiserver import amounts, quota
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.keys import Keys, parse
from hypernetes.apiserver.quota import Ledger, Refused, is_ledger, ledger_key

Object = dict[str, Any]

PODS = scheme.by_name("v1", "pods")
HARD = {"pods": "4", "requests.cpu": "2", "limits.memory": "2Gi", "count/pods": "6"}


def pod(cpu: str = "100m", memory: str = "64Mi", phase: str = "Running", deadline: int | None = None) -> Object:
    resources = {"requests": {"cpu": cpu}, "limits": {"memory": memory}}
    ending = {} if deadline is None else {"activeDeadlineSeconds": deadline}
    return {"spec": {"containers": [{"name": "c", "resources": resources}], **ending}, "status": {"phase": phase}}


def bounding(scopes: tuple[str, ...] = (), **hard: str) -> Object:
    return {"metadata": {"name": "q"}, "spec": {"scopes": list(scopes)}, "status": {"hard": hard or HARD}}


def values(used: Amounts) -> dict[str, Decimal]:
    return {name: amounts.value(text) for name, text in used.items()}


PODS_MADE = st.builds(
    pod, st.sampled_from(["0", "100m", "0.3", "1", "1500m"]), st.sampled_from(["1Mi", "64Mi", "1Gi", "100M"]),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]), st.sampled_from([None, 5]),
)  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), PODS_MADE), st.booleans()), max_size=40)


@given(STEPS, st.sampled_from([(), ("Terminating",), ("NotBestEffort",)]))
def test_used_is_the_sum_over_what_is_there(steps, scopes):
    bounded = bounding(scopes)
    used: Amounts = dict.fromkeys(HARD, "0")
    there: dict[int, Object] = {}
    for name, new, free in steps:
        try:
            used = quota.charged(bounded, used, PODS, new, there.get(name), free=free)
        except Refused:
            continue
        if new is None:
            there.pop(name, None)
        else:
            there[name] = new
        assert values(used) == values(quota.counted(bounded, HARD, PODS, there.values()))


@given(STEPS)
def test_what_is_not_free_never_passes_the_quota(steps):
    used: Amounts = dict.fromkeys(HARD, "0")
    there: dict[int, Object] = {}
    for name, new, _ in steps:
        try:
            used = quota.charged(bounding(), used, PODS, new, there.get(name))
        except Refused:
            continue
        there = {**there, name: new} if new is not None else {k: v for k, v in there.items() if k != name}
        assert all(amounts.value(used[name]) <= amounts.value(HARD[name]) for name in HARD)


@pytest.mark.parametrize(
    ("used", "new", "why"),
    [
        (
            {"pods": "4", "requests.cpu": "0", "limits.memory": "0", "count/pods": "4"},
            pod(),
            "exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4",
        ),
        (
            {"pods": "1", "requests.cpu": "1900m", "limits.memory": "2000Mi", "count/pods": "1"},
            pod("200m", "64Mi"),
            "exceeded quota: q, requested: limits.memory=64Mi,requests.cpu=200m, "
            "used: limits.memory=2000Mi,requests.cpu=1900m, limited: limits.memory=2Gi,requests.cpu=2",
        ),
        (
            {"pods": "0", "count/pods": "0"},
            pod(),
            "status unknown for quota: q, resources: limits.memory,requests.cpu",
        ),
        (
            dict.fromkeys(HARD, "0"),
            {"spec": {"containers": [{"name": "c"}]}},
            "failed quota: q: must specify limits.memory for: c; requests.cpu for: c",
        ),
    ],
)
def test_a_refusal_says_what_is_missing(used, new, why):
    with pytest.raises(Refused) as caught:
        quota.charged(bounding(), used, PODS, new, None)
    assert str(caught.value) == why


def test_what_is_over_already_may_shrink_and_end():
    used = {"pods": "9", "requests.cpu": "5", "limits.memory": "9Gi", "count/pods": "9"}
    smaller = quota.charged(bounding(), used, PODS, pod("100m"), pod("200m"))
    assert smaller["requests.cpu"] == "4900m"
    ended = quota.charged(bounding(), used, PODS, pod(phase="Failed"), pod())
    assert (ended["pods"], ended["count/pods"]) == ("8", "9")
    gone = quota.charged(bounding(), used, PODS, None, pod())
    assert (gone["pods"], gone["count/pods"]) == ("8", "8")


def test_an_object_that_enters_a_scope_is_charged_and_one_that_leaves_is_not():
    terminating = bounding(("Terminating",), pods="1")
    entered = quota.charged(terminating, {"pods": "0"}, PODS, pod(deadline=5), pod())
    assert entered == {"pods": "1"}
    with pytest.raises(Refused):
        quota.charged(terminating, entered, PODS, pod(deadline=5), pod())
    assert quota.charged(terminating, entered, PODS, pod(), pod(deadline=5)) == {"pods": "0"}


def test_less_than_nothing_is_never_used():
    assert quota.charged(bounding(pods="4"), {"pods": "0"}, PODS, None, pod()) == {"pods": "0"}


def test_a_quota_that_bounds_nothing_of_the_kind_lets_everything_through():
    assert quota.charged(bounding(secrets="0"), {"secrets": "0"}, PODS, pod(), None) == {"secrets": "0"}
    assert quota.charged({"metadata": {"name": "q"}, "spec": {}}, {}, PODS, pod(), None) == {}


def test_a_ledger_is_an_internal_key():
    keys = Keys("c")
    key = ledger_key(keys, "acme", "web", "q")
    assert parse(key) is None
    assert is_ledger(keys, key)
    assert not is_ledger(keys, keys.internal("clusterips", "acme", "10.0.0.1"))
    ledger = Ledger("uid", {"pods": "1"})
    assert Ledger.decode(ledger.encode()) == ledger
