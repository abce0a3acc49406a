"""What other resources mean for containers that run."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import resizing
from hypernetes.nodeagent.containers import ContainerRecord, Phase
from hypernetes.nodeagent.resizing import Means


def pod(limits: dict[str, str], requests: dict[str, str] | None = None, **more: Any) -> Pod:
    resources = {"limits": limits, "requests": requests or limits}
    return Pod.from_dict({"spec": {"containers": [{"name": "a", "image": "i", "resources": resources, **more}]}})


def running(of: Pod) -> dict[str, ContainerRecord]:
    resources = resizing.resources_of(of.spec.containers[0])
    return {"a": ContainerRecord("a", 0, Phase.RUNNING, resources=resources)}


BEFORE = pod({"cpu": "500m", "memory": "64Mi"})
RESTART = {"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}


@pytest.mark.parametrize(
    ("now", "means"),
    [
        (pod({"cpu": "1", "memory": "64Mi"}), Means.LIMIT),
        (pod({"cpu": "500m", "memory": "64Mi"}, {"cpu": "100m", "memory": "64Mi"}), Means.NOTHING),
        (pod({"cpu": "1", "memory": "64Mi"}, **RESTART), Means.LIMIT),
        (pod({"cpu": "1", "memory": "96Mi"}, **RESTART), Means.RESTART),
    ],
)
def test_what_a_change_takes(now: Pod, means: Means) -> None:
    assert [change.means for change in resizing.changes(now, running(BEFORE))] == [means]


def test_nothing_changes_where_nothing_runs_or_nothing_differs() -> None:
    assert list(resizing.changes(BEFORE, running(BEFORE))) == []
    waiting = {"a": ContainerRecord("a", resources={})}
    assert list(resizing.changes(BEFORE, waiting)) == []
    # Of an agent that knew nothing of it: what is in force isn't known.
    assert list(resizing.changes(BEFORE, {"a": ContainerRecord("a", 0, Phase.RUNNING)})) == []


def test_what_does_not_fit_the_machine_is_said_with_numbers() -> None:
    assert resizing.infeasible(BEFORE, 128 << 20, 1) == ""
    assert "128 MiB of memory and the pod would need 192" in resizing.infeasible(pod({"memory": "100Mi"}), 128 << 20, 1)
    assert "1 CPUs and the pod would need 2" in resizing.infeasible(pod({"cpu": "1500m"}), 256 << 20, 1)
