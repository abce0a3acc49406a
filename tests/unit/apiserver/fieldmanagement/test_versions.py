"""One object in several versions, each with managers."""

import pytest

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import schema, versions
from hypernetes.apiserver.fieldmanagement import applying, fieldsets, updating
from hypernetes.apiserver.fieldmanagement.elements import Unsuitable
from hypernetes.apiserver.fieldmanagement.entries import APPLY, UPDATE, Manager
from hypernetes.apiserver.handlers import managers

V1 = scheme.by_name("autoscaling/v1", "horizontalpodautoscalers")
V2 = scheme.by_name("autoscaling/v2", "horizontalpodautoscalers")
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def autoscaler(resource, **spec):
    return {
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"},
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 5, **spec},
    }  # fmt: skip


def complete(resource, obj):
    kind = schema.for_kind(resource.api_version, resource.kind)
    return kind.default(kind.decode(obj, "Ignore")[0])


def apply(resource, stored, known, name, config, *, force=False):
    """As the handler does it; the object is stored as v2."""
    live = None if stored is None else versions.served(resource, stored)
    manager = Manager.of(name, APPLY, resource.api_version, "")
    new, known = applying.applied(
        live, config, known, manager, managers.versions_of(resource), force=force, now="2026-01-01T00:00:00Z"
    )
    return (stored if new is None else versions.stored(resource, complete(resource, new))), known


def told(known):
    return {
        manager.name: (each.api_version, {fieldsets.text(path) for path in fieldsets.paths(each.fields)})
        for manager, each in known.items()
    }


def test_a_field_is_managed_whatever_its_version_calls_it():
    stored, known = apply(V2, None, {}, "two", autoscaler(V2, minReplicas=2))
    with pytest.raises(applying.Conflicts) as refused:
        apply(V1, stored, known, "one", autoscaler(V1, minReplicas=3))
    assert [(manager.name, fieldsets.text(path)) for manager, path in refused.value.found] == [
        ("two", ".spec.minReplicas")
    ]  # fmt: skip
    stored, known = apply(V1, stored, known, "one", autoscaler(V1, minReplicas=3), force=True)
    assert stored["apiVersion"] == "autoscaling/v2"
    assert told(known)["one"] == ("autoscaling/v1", {".spec.maxReplicas", ".spec.minReplicas", ".spec.scaleTargetRef"})
    assert ".spec.minReplicas" not in told(known)["two"][1]


def test_who_applies_another_version_gives_up_what_it_said_in_the_former():
    stored, known = apply(V2, None, {}, "one", autoscaler(V2, minReplicas=2))
    stored, known = apply(V1, stored, known, "one", autoscaler(V1))
    assert told(known) == {"one": ("autoscaling/v1", {".spec.maxReplicas", ".spec.scaleTargetRef"})}
    assert stored["spec"]["minReplicas"] == 1, "the default"


def test_an_update_through_one_version_is_known_in_the_other():
    stored, known = apply(V1, None, {}, "one", autoscaler(V1, targetCPUUtilizationPercentage=50))
    assert ".spec.targetCPUUtilizationPercentage" in told(known)["one"][1]
    new = {**stored, "spec": {**stored["spec"], "metrics": []}}
    manager = Manager.of("two", UPDATE, V2.api_version, "")
    known = updating.updated(stored, new, known, manager, managers.versions_of(V2), "2026-01-01T00:00:01Z")
    assert ".spec.targetCPUUtilizationPercentage" not in told(known)["one"][1]


@pytest.mark.parametrize("group", ["autoscaling", "events"])
def test_a_new_object_may_claim_managers_of_another_version(group):
    pairs = {
        "autoscaling": (V2, V1),
        "events": (scheme.by_name("v1", "events"), scheme.by_name("events.k8s.io/v1", "events")),
    }
    resource, other = pairs[group]
    manager = Manager.of("me", UPDATE, resource.api_version, "")
    claimed = {
        Manager.of("other", UPDATE, other.api_version, ""): updating.Managed(
            other.api_version, {"f:spec": {"f:x": {}}}
        ),
        Manager.of("gone", UPDATE, "extensions/v1beta1", ""): updating.Managed("extensions/v1beta1", {"f:a": {}}),
    }
    obj = complete(resource, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}})
    known = updating.created(obj, claimed, manager, managers.versions_of(resource), "2026-01-01T00:00:00Z")
    assert told(known).get("other", (other.api_version, {".spec.x"})) == (other.api_version, {".spec.x"})
    assert "gone" not in told(known)


def test_a_configuration_that_another_version_cannot_say_is_the_clients_fault():
    stored, known = apply(V1, None, {}, "one", autoscaler(V1))
    with pytest.raises((applying.Conflicts, Unsuitable)):
        apply(V2, stored, known, "two", autoscaler(V2, maxReplicas=9, metrics=[{"type": "Resource"}, {}]))
    unreadable = {"type": "Pods", "pods": {"metric": {"name": "a"}, "target": {"type": "x", "averageValue": "x y"}}}
    with pytest.raises(StatusError):
        apply(V2, stored, known, "two", autoscaler(V2, maxReplicas=9, metrics=[unreadable]))
