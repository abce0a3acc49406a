"""What ends how as its tenant ends, and what the tenant's conditions say (pure parts)."""

from datetime import UTC, datetime

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver import teardown
from hypernetes.apiserver.objects import Place, Put, Remove

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def place(version, plural):
    return Place(scheme.by_name(version, plural), "acme", "default", "x")


def obj(*finalizers, ends=False, **parts):
    metadata = {"name": "x", "uid": "u", "resourceVersion": "1", "finalizers": list(finalizers)}
    if ends:
        metadata["deletionTimestamp"] = "2030-01-01T11:00:00Z"
    return {"metadata": metadata, "spec": {}, **parts}


def tenant(**spec):
    return {"metadata": {"name": "acme", "deletionTimestamp": "2030-01-01T11:58:00Z"}, "spec": spec}


def test_the_patience_is_five_minutes_unless_the_tenant_says_otherwise():
    assert teardown.patience_ends(tenant()) == NOW.replace(minute=3)
    assert teardown.patience_ends(tenant(deletionGracePeriodSeconds=0)) == NOW.replace(hour=11, minute=58)


def test_a_pod_on_a_node_is_told_and_one_without_goes_at_once():
    told = teardown.ended(place("v1", "pods"), obj(spec={"nodeName": "n"}), NOW)
    assert isinstance(told, Put)
    assert told.obj["metadata"]["deletionGracePeriodSeconds"] == 30
    assert isinstance(teardown.ended(place("v1", "pods"), obj(), NOW), Remove)


def test_a_finalizer_holds_until_the_patience_is_over():
    held = teardown.ended(place("v1", "configmaps"), obj("example.com/a"), NOW)
    assert isinstance(held, Put)
    assert held.obj["metadata"]["finalizers"] == ["example.com/a"]
    assert isinstance(teardown.ended(place("v1", "configmaps"), obj("example.com/a"), NOW, past=True), Remove)
    assert isinstance(teardown.ended(place("v1", "pods"), obj(spec={"nodeName": "n"}), NOW, past=True), Remove)


@pytest.mark.parametrize("plural", ["configmaps", "networks"])
def test_the_finalizer_of_networks_holds_networks_for_ever_and_nothing_else(plural):
    version = "v1" if plural == "configmaps" else "hypernetes.io/v1"
    decision = teardown.ended(place(version, plural), obj("hypernetes.io/network", "a.b/c"), NOW, past=True)
    if plural == "configmaps":
        assert isinstance(decision, Remove)
    else:
        assert isinstance(decision, Put)
        assert decision.obj["metadata"]["finalizers"] == ["hypernetes.io/network"]


@pytest.mark.parametrize(
    ("version", "plural", "finalizer"),
    [
        ("v1", "persistentvolumes", "external-provisioner.volume.kubernetes.io/finalizer"),
        ("v1", "persistentvolumeclaims", "hypernetes.io/volume-provisioning"),
        ("storage.k8s.io/v1", "volumeattachments", "external-attacher/local-hypernetes-io"),
        ("snapshot.storage.k8s.io/v1", "volumesnapshotcontents",
         "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"),
    ],
)  # fmt: skip
def test_what_stands_for_storage_is_let_go_by_its_controller_alone(version, plural, finalizer):
    decision = teardown.ended(place(version, plural), obj(finalizer, "a.b/c"), NOW, past=True)
    assert isinstance(decision, Put)
    assert decision.obj["metadata"]["finalizers"] == [finalizer]
    elsewhere = teardown.ended(place("v1", "configmaps"), obj(finalizer), NOW, past=True)
    assert isinstance(elsewhere, Remove)


def test_no_finalizer_is_added_for_the_garbage_collector():
    decision = teardown.ended(place("apps/v1", "replicasets"), obj("a.b/c"), NOW)
    assert isinstance(decision, Put)
    assert decision.obj["metadata"]["finalizers"] == ["a.b/c"]


def test_the_conditions_say_what_is_left_by_kind_and_how_long_finalizers_count():
    told = teardown.told(tenant(), "PodsStopping", {"pods": 2, "jobs.batch": 1}, {"a.b/c": 3}, NOW)
    content, finalizers = told["status"]["conditions"]
    assert (content["status"], content["reason"], content["message"]) == (
        "True", "PodsStopping", "left: 1 jobs.batch, 2 pods",
    )  # fmt: skip
    assert finalizers["message"] == "waits for a.b/c in 3 objects; those of the tenant count until 2030-01-01T12:03:00Z"
    later = teardown.told(told, "ObjectsEnding", {"pods": 1}, {}, NOW)
    assert [each["status"] for each in later["status"]["conditions"]] == ["True", "False"]
