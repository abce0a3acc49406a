"""Restart delays and machine sizes: small rules with numbers."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Container, Pod
from hypernetes.nodeagent import restarts, sizing

MIB = 1 << 20


def test_delays_double_to_five_minutes() -> None:
    delays, delay = [], 0.0
    for _ in range(8):
        delays.append(delay)
        delay = restarts.following_delay(delay)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_node_may_choose_a_shorter_longest_delay() -> None:
    assert restarts.following_delay(0, longest=2) == 2
    assert restarts.following_delay(16, longest=25) == 25


def test_ten_good_minutes_forgive_all() -> None:
    assert restarts.delay_after_run(160, 599) == 160
    assert restarts.delay_after_run(160, 600) == 0


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_policy_decides(policy: str, code: int, expected: bool) -> None:
    assert restarts.restarts(*pod_and_container(policy), code) is expected
    # A container's own goes before the pod's.
    assert restarts.restarts(*pod_and_container("Always", restartPolicy=policy), code) is expected


def pod_and_container(policy: str, **more: Any) -> tuple[Pod, Container]:
    pod = Pod.from_dict({"spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "i", **more}]}})
    return pod, pod.spec.containers[0]


@pytest.mark.parametrize(
    ("operator", "values", "code", "expected"),
    [("In", [42], 42, True), ("In", [42], 1, False), ("NotIn", [42], 1, True), ("NotIn", [42, 43], 43, False)],
)
def test_a_rule_that_matches_goes_before_the_policy(
    operator: str, values: list[int], code: int, expected: bool
) -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": operator, "values": values}}
    made = pod_and_container("Always", restartPolicy="Never", restartPolicyRules=[rule])
    assert restarts.restarts(*made, code) is expected


@pytest.mark.parametrize(
    ("limits", "init_limit", "expected"),
    [(["64Mi"], None, 128), ([None], None, 192), (["300Mi", "200Mi"], None, 1024), (["64Mi"], "400Mi", 512)],
)
def test_memory_is_the_sum_or_the_largest_init_container_in_classes(
    limits: list[str | None], init_limit: str | None, expected: int
) -> None:
    def container(name: str, limit: str | None) -> dict[str, object]:
        return {"name": name, "resources": {"limits": {"memory": limit} if limit else {}}}

    spec = {
        "containers": [container(f"c{n}", limit) for n, limit in enumerate(limits)],
        "initContainers": [container("init", init_limit)] if init_limit else [],
    }
    assert sizing.memory_bytes(Pod.from_dict({"spec": spec})) == expected * MIB


def test_the_plain_pods_machine_is_that_of_one_container_without_limits() -> None:
    pod = Pod.from_dict({"spec": {"containers": [{"name": "c"}]}})
    assert (sizing.memory_bytes(pod), sizing.cpus(pod)) == (sizing.PLAIN_POD_MEMORY_BYTES, sizing.PLAIN_POD_CPUS)
