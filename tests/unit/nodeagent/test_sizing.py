"""How large a pod's machine is."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import sizing
from hypernetes.nodeagent.sizing import MEBIBYTE


def pod(*resources: dict[str, Any]) -> Pod:
    containers = [{"name": f"c{number}", "image": "x", "resources": each} for number, each in enumerate(resources)]
    return Pod.model_validate({"metadata": {"name": "p"}, "spec": {"containers": containers}})


@pytest.mark.parametrize(
    ("resources", "mebibytes", "cpus"),
    [
        ([{}], 192, 1),
        ([{"limits": {"memory": "64Mi", "cpu": "1500m"}}], 128, 2),
        ([{"requests": {"memory": "64Mi"}}], 192, 1),  # never less than without
        ([{"requests": {"memory": "400Mi", "cpu": "3"}}], 512, 3),
        ([{"requests": {"memory": "400Mi"}, "limits": {"memory": "600Mi"}}], 1024, 1),
        ([{}, {"requests": {"memory": "256Mi", "cpu": "700m"}, "limits": {"cpu": "1200m"}}], 512, 2),
    ],
)
def test_a_container_counts_with_its_limit_or_else_with_what_it_requests(resources, mebibytes, cpus):
    made = pod(*resources)
    assert (sizing.memory_bytes(made) // MEBIBYTE, sizing.cpus(made)) == (mebibytes, cpus)


def whole_pod(resources: dict[str, Any], *containers: dict[str, Any], init: dict[str, Any] | None = None) -> Pod:
    spec: dict[str, Any] = {
        "containers": [
            {"name": f"c{number}", "image": "x", "resources": each} for number, each in enumerate(containers)
        ]
    }
    if resources:
        spec["resources"] = resources
    if init is not None:
        spec["initContainers"] = [{"name": "init", "image": "x", "resources": init}]
    return Pod.model_validate({"metadata": {"name": "p"}, "spec": spec})


def test_the_pods_own_limits_stand_for_all_of_its_containers():
    made = whole_pod({"limits": {"memory": "320Mi", "cpu": "1500m"}}, {}, {"requests": {"memory": "1Gi"}})
    size = sizing.of(made)
    assert (size.memory_bytes // MEBIBYTE, size.cpus, size.cpu_millis, size.reason) == (384, 2, 1500, "PodLimit")
    assert "the pod's limit is 320 MiB" in size.message


@pytest.mark.parametrize(
    ("resources", "init", "millis"),
    [
        ([{"limits": {"cpu": "300m"}}, {"limits": {"cpu": "450m"}}], None, 750),
        ([{"limits": {"cpu": "300m"}}], {"limits": {"cpu": "2"}}, 2000),
        ([{"limits": {"cpu": "300m"}}], {}, None),
        ([{"limits": {"cpu": "300m"}}, {"requests": {"cpu": "1"}}], None, None),
        ([{"limits": {"cpu": "10m"}}], None, sizing.LEAST_MACHINE_MILLIS),
    ],
)
def test_the_host_gives_a_machine_exactly_what_its_containers_may_use(resources, init, millis):
    assert sizing.throttle_millis(whole_pod({}, *resources, init=init)) == millis


@pytest.mark.parametrize(
    ("resources", "reason", "said"),
    [
        (
            {"limits": {"memory": "64Mi"}},
            "ContainerLimits",
            "128 MiB of memory and 1 CPU (all of them): the containers",
        ),
        ({"requests": {"memory": "300Mi"}}, "Requests", "without a memory limit c0 has what it requests"),
        ({}, "Default", "without a memory limit c0 counts for its request, 128 MiB at least"),
    ],
)
def test_a_machines_size_says_what_it_follows_from(resources, reason, said):
    size = sizing.of(pod(resources))
    assert size.reason == reason
    assert said in size.message


def test_who_runs_out_of_memory_by_default_is_told_which_field_to_set():
    made = pod({}, {"limits": {"memory": "64Mi"}})
    assert "set resources.limits.memory of container c0" in sizing.why_out_of_memory(made, made.spec.containers[0])
    assert sizing.why_out_of_memory(made, made.spec.containers[1]) == ""
    whole = whole_pod({"limits": {"memory": "64Mi"}}, {})
    assert sizing.why_out_of_memory(whole, whole.spec.containers[0]) == ""
