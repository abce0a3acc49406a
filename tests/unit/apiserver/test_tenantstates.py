"""What may be done in a tenant that is suspended or being deleted, and by whom."""

from datetime import UTC, datetime

import orjson
import pytest

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import suspension, tenantstates
from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.registry import tenants
from hypernetes.apiserver.routing import Route

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PODS, REVIEWS = scheme.by_name("v1", "pods"), scheme.by_name("authorization.k8s.io/v1", "selfsubjectaccessreviews")


def tenant(*, ends=False, **spec):
    metadata = {"name": "acme", **({"deletionTimestamp": "2030-01-01T00:00:00Z"} if ends else {})}
    return Entry("k", 1, orjson.dumps({"metadata": metadata, "spec": spec, "status": {"phase": "Active"}}))


def allowed(entry, user, verb, subresource="", resource=PODS):
    try:
        tenantstates.check(entry, user, Route("/", verb, resource=resource, subresource=subresource))
    except StatusError as error:
        return error.code != 403
    return True


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
def test_in_a_suspended_tenant_the_provider_alone_writes(verb):
    assert not allowed(tenant(suspended=True), "acme", verb)
    assert allowed(tenant(suspended=True), "system", verb)
    assert allowed(tenant(suspended=False), "acme", verb)
    assert allowed(tenant(), "acme", verb)


def test_a_suspended_tenant_is_read_and_not_entered():
    entry = tenant(suspended=True)
    assert all(allowed(entry, "acme", verb) for verb in ("get", "list", "watch"))
    assert allowed(entry, "acme", "get", "log")
    assert not any(allowed(entry, "acme", "get", way) for way in ("exec", "attach", "portforward", "proxy"))
    assert allowed(entry, "acme", "create", resource=REVIEWS)


def test_nothing_is_made_in_a_tenant_that_ends_and_the_provider_ends_what_there_is():
    entry = tenant(ends=True)
    assert not allowed(entry, "system", "create")
    assert allowed(entry, "system", "patch")
    assert not allowed(entry, "acme", "patch")
    assert allowed(entry, "acme", "delete")


def test_words_in_a_tenant_s_metadata_don_t_suspend_it():
    data = orjson.dumps({"metadata": {"annotations": {"a": '"suspended":true'}, "labels": {"suspended": "true"}}})
    assert not tenantstates.is_suspended(Entry("k", 1, data))


def test_the_condition_says_how_many_pods_run_and_since_when():
    suspended = {"spec": {"suspended": True}, "status": {"phase": "Suspended"}}
    stopping = suspension.told(suspended, 3, NOW)
    (told,) = stopping["status"]["conditions"]
    assert (told["status"], told["reason"], told["message"]) == ("False", "PodsStopping", "3 pods have not stopped yet")
    (stopped,) = suspension.told(stopping, 0, NOW.replace(hour=1))["status"]["conditions"]
    assert (stopped["status"], stopped["lastTransitionTime"]) == ("True", "2030-01-01T01:00:00Z")
    later = suspension.told({**stopping, "status": {"conditions": [stopped]}}, 0, NOW.replace(hour=2))
    assert later["status"]["conditions"] == [stopped]


def test_a_tenant_that_was_never_suspended_gets_no_condition():
    assert suspension.told({"spec": {}, "status": {}}, 0, NOW) == {"spec": {}, "status": {}}


def test_the_phase_follows_the_spec_but_not_before_the_tenant_is_complete():
    for before, suspended, after in (
        ("Active", True, "Suspended"), ("Suspended", False, "Active"), ("Initializing", True, "Initializing"),
        ("Terminating", True, "Terminating"),
    ):  # fmt: skip
        new = {"spec": {"suspended": suspended}, "status": {"phase": before}}
        tenants.prepare_update(new, {"spec": {"serviceCIDR": "10.0.0.0/16"}})
        assert new["status"]["phase"] == after


def test_controllers_are_told_that_nothing_is_to_be_done_in_a_tenant_that_ends_and_to_wait_for_one_that_is_suspended():
    for entry, user, reason in (
        (tenant(ends=True), "system", "NamespaceTerminating"), (tenant(suspended=True), "acme", "TenantSuspended"),
    ):  # fmt: skip
        with pytest.raises(StatusError) as caught:
            tenantstates.check(entry, user, Route("/", "create", resource=PODS))
        assert [each["reason"] for each in caught.value.causes] == [reason]
