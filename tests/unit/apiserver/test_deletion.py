"""What deleting comes to, by what is asked, what the object is, and how far its deletion has come."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import deletion, registry
from hypernetes.apiserver.handlers.options import DeleteOptions
from hypernetes.apiserver.objects import Place, Put, Remove

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def decide(obj: dict[str, Any], resource: str = "configmaps", **asked: Any) -> Put | Remove:
    found = scheme.by_name("v1", resource)
    return deletion.decide(Place(found, "acme", "web", "x"), registry.of(found), obj, DeleteOptions(**asked), NOW)


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "uid": "u", "resourceVersion": "7", **metadata}}


def pod(node: str = "n1", phase: str = "Running", grace: int | None = 30, **metadata: Any) -> dict[str, Any]:
    spec = {"nodeName": node, "terminationGracePeriodSeconds": grace}
    return {**config_map(generation=1, **metadata), "spec": spec, "status": {"phase": phase}}


def test_a_plain_object_goes_at_once() -> None:
    assert decide(config_map()) == Remove()


def test_finalizers_hold_an_object_and_the_first_deletion_sets_the_time() -> None:
    decision = decide(config_map(finalizers=["a/b"], generation=3))
    assert isinstance(decision, Put)
    metadata = decision.obj["metadata"]
    assert metadata["deletionTimestamp"] == "2026-01-02T03:04:05Z"
    assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (0, 4)
    assert decide({"metadata": {**metadata, "deletionTimestamp": "2025-01-01T00:00:00Z"}}) == Put(
        {"metadata": {**metadata, "deletionTimestamp": "2025-01-01T00:00:00Z"}}
    )  # asking again changes nothing


@pytest.mark.parametrize(
    ("policy", "present", "after"),
    [
        ("Foreground", [], ["foregroundDeletion"]),
        ("Orphan", ["a/b"], ["a/b", "orphan"]),
        ("Background", ["orphan", "a/b"], ["a/b"]),
        ("Foreground", ["orphan"], ["foregroundDeletion"]),
    ],
)
def test_the_propagation_policy_becomes_a_finalizer(policy: str, present: list[str], after: list[str]) -> None:
    decision = decide(config_map(finalizers=present), propagation=policy)
    assert isinstance(decision, Put)
    assert decision.obj["metadata"]["finalizers"] == after


def test_nothing_waits_for_the_dependents_of_an_event() -> None:
    assert decide(config_map(), "events", propagation="Foreground") == Remove()


def test_the_given_object_is_left_as_it_is() -> None:
    obj = config_map(finalizers=["a/b"])
    decide(obj, propagation="Orphan")
    assert obj == config_map(finalizers=["a/b"])


@pytest.mark.parametrize(
    ("obj", "asked", "grace"),
    [
        (pod(), None, 30), (pod(), 5, 5), (pod(grace=-3), None, 1), (pod(grace=None), None, 30),
        (pod(), 0, None), (pod(node=""), None, None), (pod(phase="Succeeded"), 60, None),
        (pod(phase="Failed"), None, None),
    ],
)  # fmt: skip
def test_a_pod_gets_time_to_end_where_something_runs(obj: dict[str, Any], asked: int | None, grace: int | None) -> None:
    decision = decide(obj, "pods", grace_seconds=asked)
    assert isinstance(decision, Put)
    assert decision.obj["metadata"]["deletionGracePeriodSeconds"] == (grace or 0)
    assert deletion.finished(decision.obj, registry.of(scheme.by_name("v1", "pods"))) is (grace is None)


def test_a_pod_that_was_told_to_end_at_once_is_removed() -> None:
    told = decide(pod(), "pods", grace_seconds=0)
    assert isinstance(told, Put)
    assert decide(told.obj, "pods", grace_seconds=0) == Remove()
    waiting = pod(deletionTimestamp="2026-01-02T03:04:35Z", deletionGracePeriodSeconds=30)
    assert isinstance(decide(waiting, "pods", grace_seconds=0), Put)


def test_a_second_asking_may_shorten_the_time_but_not_lengthen_it() -> None:
    ending = pod(deletionTimestamp="2026-01-02T03:04:35Z", deletionGracePeriodSeconds=30)
    shorter = decide(ending, "pods", grace_seconds=10)
    assert isinstance(shorter, Put)
    assert shorter.obj["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:15Z"  # from when it was first asked
    assert shorter.obj["metadata"]["generation"] == 1
    longer = decide(ending, "pods", grace_seconds=600)
    assert isinstance(longer, Put)
    assert longer.obj["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:35Z"


@pytest.mark.parametrize("asked", [{"uid": "other"}, {"resource_version": "6"}])
def test_a_precondition_that_does_not_hold_is_a_conflict(asked: dict[str, str]) -> None:
    with pytest.raises(StatusError) as refused:
        decide(config_map(), **asked)
    assert refused.value.code == 409
    assert decide(config_map(), uid="u", resource_version="7") == Remove()


@pytest.mark.parametrize(
    ("obj", "done"),
    [
        (config_map(), False),
        (config_map(deletionTimestamp="t"), True),
        (config_map(deletionTimestamp="t", finalizers=["a/b"]), False),
        (config_map(deletionTimestamp="t", deletionGracePeriodSeconds=30), False),
        (config_map(deletionTimestamp="t", deletionGracePeriodSeconds=0), True),
    ],
)
def test_an_object_is_finished_when_it_waits_for_nothing(obj: dict[str, Any], done: bool) -> None:
    assert deletion.finished(obj, registry.Strategy()) is done


def test_a_namespace_is_held_by_the_finalizers_of_its_spec() -> None:
    namespace = {**config_map(), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    decision = decide(namespace, "namespaces")
    assert isinstance(decision, Put)
    assert decision.obj["status"]["phase"] == "Terminating"
    assert "deletionGracePeriodSeconds" not in decision.obj["metadata"]
    assert deletion.finished(decision.obj, registry.of(scheme.by_name("v1", "namespaces"))) is False
