"""What may change in a pod that exists, by which way; and what it is made into when it is new."""

from typing import Any

import pytest

from tests.unit.apiserver.registry.changes import Found, Object, changed, completed, strategy_of, updating

POD: Object = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "web"},
    "spec": {
        "containers": [{"name": "c", "image": "nginx", "resources": {
            "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "activeDeadlineSeconds": 60,
    },
}  # fmt: skip
GATED = changed(changed(POD, "spec.schedulingGates", [{"name": "x/a"}]), "spec.nodeSelector", {"a": "b"})
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
ZONE = {"key": "zone", "operator": "Exists"}
RESOURCES = "spec.containers.0.resources"


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("spec.activeDeadlineSeconds", 30, []),
        ("spec.activeDeadlineSeconds", 61, [("spec.activeDeadlineSeconds", "Invalid")]),
        ("spec.activeDeadlineSeconds", None, [("spec.activeDeadlineSeconds", "Invalid")]),
        ("spec.tolerations.0.tolerationSeconds", 9, []),
        ("spec.tolerations.0.effect", "NoSchedule",
         [("spec.tolerations[0].effect", "Invalid"), ("spec.tolerations", "Forbidden")]),
        ("spec.tolerations", [], [("spec.tolerations", "Forbidden")]),
        ("spec.containers.0.image", "other ", [("spec.containers[0].image", "Invalid")] * 2),
        ("spec.containers", [], [("spec.containers", "Required"), ("spec.containers", "Forbidden")]),
        ("spec.schedulingGates", [{"name": "x/new"}], [("spec.schedulingGates[0].name", "Forbidden")]),
        ("spec.nodeSelector", {"c": "d"}, [("spec", "Forbidden")]),
        ("spec.ephemeralContainers", [{"name": "e", "image": "x"}], [("spec", "Forbidden")]),
        ("metadata.annotations", {"kubernetes.io/config.mirror": "x"},
         [("metadata.annotations[kubernetes.io/config.mirror]", "Invalid"),
          ("metadata.annotations[kubernetes.io/config.mirror]", "Forbidden")]),
    ],
)  # fmt: skip
def test_an_update(path: str, value: Any, causes: Found) -> None:
    assert updating(POD, (path, value)) == causes


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("spec.schedulingGates", None, []),
        ("spec.nodeSelector", {"a": "b", "c": "d"}, []),
        ("spec.nodeSelector", {"c": "d"}, [("spec.nodeSelector", "Invalid")]),
        ("spec.affinity", {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [ZONE]}]}}}, []),
        ("spec.affinity", {"podAffinity": {REQUIRED: [{"topologyKey": "k"}]}}, [("spec", "Forbidden")]),
        ("spec.hostNetwork", True, [("spec", "Forbidden")]),
    ],
)
def test_a_gated_pod_may_be_kept_to_fewer_nodes(path: str, value: Any, causes: Found) -> None:
    assert updating(GATED, (path, value)) == causes


def test_the_terms_of_a_gated_pod_only_grow() -> None:
    terms = [{"matchExpressions": [ZONE]}]
    pod = changed(GATED, "spec.affinity.nodeAffinity", {REQUIRED: {"nodeSelectorTerms": terms}})
    at = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    more = [{"matchExpressions": [ZONE, {"key": "rack", "operator": "Exists"}]}]
    assert updating(pod, (at, more)) == []
    assert updating(pod, (at, [*terms, *terms])) == [(at, "Invalid")]
    assert updating(pod, (at, [{"matchExpressions": [{"key": "rack", "operator": "Exists"}]}])) == [
        (f"{at}[0]", "Invalid")
    ]


def test_a_negative_grace_period_is_mended() -> None:
    assert (
        completed(changed(POD, "spec.terminationGracePeriodSeconds", -5))["spec"]["terminationGracePeriodSeconds"] == 1
    )


def test_a_gated_pod_says_so_from_the_start() -> None:
    (condition,) = completed(GATED)["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


def test_label_keys_are_resolved_once() -> None:
    term = {"topologyKey": "k", "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["hash", "none"]}
    pod = changed(POD, "metadata.labels", {"hash": "1"})
    pod = changed(pod, "spec.affinity", {"podAffinity": {REQUIRED: [{**term, "mismatchLabelKeys": ["hash"]}]}})
    selector = completed(pod)["spec"]["affinity"]["podAffinity"][REQUIRED][0]["labelSelector"]
    assert selector["matchExpressions"] == [
        {"key": "hash", "operator": "In", "values": ["1"]}, {"key": "hash", "operator": "NotIn", "values": ["1"]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"), ({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}}, "BestEffort"),
        ({"limits": {"cpu": "1", "memory": "1"}}, "Guaranteed"), ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1"}}, "Burstable"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
    ],
)  # fmt: skip
def test_the_class_of_service(resources: Any, qos: str) -> None:
    assert completed(changed(POD, RESOURCES, resources))["status"]["qosClass"] == qos
    whole = changed(changed(POD, RESOURCES, {}), "spec.resources", resources)
    if qos != "BestEffort":
        assert completed(whole)["status"]["qosClass"] == qos


@pytest.mark.parametrize(
    ("value", "causes"),
    [
        ([{"name": "e", "image": "x", "targetContainerName": "c"}], []),
        ([{"name": "c", "image": "x"}], [("spec.ephemeralContainers[0].name", "Duplicate")]),
        ([{"name": "e", "image": "x", "targetContainerName": "z"}],
         [("spec.ephemeralContainers[0].targetContainerName", "NotFound")]),
        ([{"name": "e", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}],
         [("spec.ephemeralContainers[0].livenessProbe", "Forbidden")]),
    ],
)  # fmt: skip
def test_ephemeral_containers_are_added_by_their_own_way(value: Any, causes: Found) -> None:
    assert updating(POD, ("spec.ephemeralContainers", value), subresource="ephemeralcontainers") == causes


def test_that_way_changes_nothing_else() -> None:
    old = completed(POD)
    new = changed(changed(old, "spec.containers.0.image", "other"), "metadata.labels", {"a": "b"})
    new = changed(new, "spec.ephemeralContainers", [{"name": "e", "image": "x"}])
    strategy_of(POD, "ephemeralcontainers").prepare_update(new, old)
    assert new == changed(old, "spec.ephemeralContainers", [{"name": "e", "image": "x"}])


def test_an_ephemeral_container_is_for_good() -> None:
    pod = changed(POD, "spec.ephemeralContainers", [{"name": "e", "image": "x"}])
    for value in (None, [{"name": "e", "image": "y"}]):
        assert updating(pod, ("spec.ephemeralContainers", value), subresource="ephemeralcontainers") == [
            ("spec.ephemeralContainers", "Forbidden")
        ]


@pytest.mark.parametrize(
    ("resources", "causes"),
    [
        ({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}}, []),
        ({"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}}, []),
        ({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}, [("spec", "Invalid")]),
        ({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}},
         [("spec.containers[0].resources.limits", "Forbidden")]),
        ({"requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}},
         [("spec", "Forbidden")]),
    ],
)  # fmt: skip
def test_a_resize(resources: Any, causes: Found) -> None:
    assert updating(POD, (RESOURCES, resources), subresource="resize") == causes


def test_a_node_that_tells_no_resources_does_not_resize() -> None:
    running = [{"name": "c", "state": {"running": {}}, "ready": True, "restartCount": 0, "image": "", "imageID": ""}]
    old = changed(completed(POD), "status.containerStatuses", running)
    new = changed(old, f"{RESOURCES}.requests.cpu", "500m")
    assert [each["field"] for each in strategy_of(POD, "resize").validate_update(new, old)] == ["spec"]


@pytest.mark.parametrize(
    ("changes", "causes"),
    [
        ([("status.podIP", "10.0.0.1")], []),
        ([("status.podIP", "x")], [("status.podIPs[0]", "Invalid")]),
        ([("status.podIPs", [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}])], []),
        ([("status.podIPs", [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}])],
         [("status.podIPs", "Invalid"), ("status.podIPs[1]", "Duplicate")]),
        ([("status.hostIP", "10.0.0.1"), ("status.hostIPs", [{"ip": "10.0.0.2"}])],
         [("status.hostIPs[0].ip", "Invalid")]),
        ([("status.qosClass", "Guaranteed")], [("status.qosClass", "Invalid")]),
        ([("status.nominatedNodeName", "A_b")], [("status.nominatedNodeName", "Invalid")]),
        ([("status.conditions", [{"type": "a b", "status": "True"}])], [("metadata.conditions[0].Type", "Invalid")]),
    ],
)  # fmt: skip
def test_a_status(changes: Any, causes: Found) -> None:
    assert updating(POD, *changes, subresource="status") == causes


@pytest.mark.parametrize(
    ("policy", "code", "kept"),
    [("Always", 0, False), ("OnFailure", 1, False), ("OnFailure", 0, True), ("Never", 1, True)],
)
def test_a_container_that_ended_for_good_stays_ended(policy: str, code: int, kept: bool) -> None:
    pod = completed(changed(POD, "spec.restartPolicy", policy))
    old = changed(pod, "status.containerStatuses", [{"name": "c", "state": {"terminated": {"exitCode": code}}}])
    new = changed(pod, "status.containerStatuses", [{"name": "c", "state": {"running": {}}}])
    causes = strategy_of(POD).validate_status(new, old)
    assert [each["field"] for each in causes] == (["status.containerStatuses[0].state"] if kept else [])
