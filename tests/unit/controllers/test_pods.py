"""Which pods count, which go first, and when they must leave their node."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.controllers import pods, taints

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return times.format_time(NOW - timedelta(seconds=seconds))


def pod(name: str, *, ready_for: float | None = 3600, restarts: int = 0, age: float = 7200, **parts: Any) -> Pod:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": ago(ready_for or 0)}
    status = {"phase": "Running", "conditions": [condition] if ready_for is not None else []}
    container = {"name": "web", "image": "i", "imageID": "i", "ready": True, "restartCount": restarts}
    metadata = {"name": name, "uid": name, "creationTimestamp": ago(age), "annotations": parts.pop("annotations", {})}
    spec = {"nodeName": "n1", **parts.pop("spec", {})}
    return Pod.from_dict(
        {"metadata": metadata, "spec": spec, "status": {**status, "containerStatuses": [container], **parts}}
    )


def test_the_order_in_which_pods_are_given_up() -> None:
    cheap = {pods.DELETION_COST_ANNOTATION: "-10"}
    expected = [
        pod("unscheduled", spec={"nodeName": None}, phase="Pending", ready_for=None),
        pod("pending", phase="Pending", ready_for=None),
        pod("unknown", phase="Unknown", ready_for=None),
        pod("not-ready", ready_for=None),
        pod("cheap", annotations=cheap),
        pod("crowded", spec={"nodeName": "n2"}),
        pod("just-ready", ready_for=10),
        pod("restarted", restarts=4),
        pod("young", age=3700),
        pod("old", age=72000),
    ]
    shuffled = expected.copy()
    random.Random(7).shuffle(shuffled)
    ranked = sorted(shuffled, key=lambda entry: pods.deletion_order(entry, {"n2": 2, "n1": 1}, NOW))
    assert [entry.metadata.name for entry in ranked] == [entry.metadata.name for entry in expected]


@pytest.mark.parametrize(("ready_for", "min_ready", "wanted"), [(None, 0, None), (0, 0, 0), (10, 30, 20), (40, 30, 0)])
def test_a_pod_is_available_after_it_was_ready_for_long_enough(
    ready_for: float | None, min_ready: int, wanted: float | None
) -> None:
    assert pods.available_in(pod("a", ready_for=ready_for), min_ready, NOW) == wanted


UNREACHABLE = {"key": taints.UNREACHABLE, "effect": "NoExecute", "timeAdded": ago(100)}


@pytest.mark.parametrize(
    ("tolerations", "left"),
    [
        ([], 200),
        ([{"key": taints.UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}], -70),
        ([{"key": taints.UNREACHABLE, "operator": "Exists"}], None),
        ([{"operator": "Exists"}], None),
        ([{"operator": "Exists"}, {"key": taints.UNREACHABLE, "operator": "Exists", "tolerationSeconds": 400}], 300),
        ([{"key": taints.UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], 200),
        ([{"key": taints.NOT_READY, "operator": "Exists"}], 200),
    ],
)
def test_how_long_a_pod_stays_on_a_node_that_is_lost(tolerations: list[dict[str, Any]], left: float | None) -> None:
    node = Node.from_dict({"metadata": {"name": "n1"}, "spec": {"taints": [UNREACHABLE]}})
    moment = taints.evict_at(pod("a", spec={"tolerations": tolerations}), node)
    assert (moment and (moment - NOW).total_seconds()) == left


def test_a_taint_of_the_providers_own_is_left_alone_and_obeyed_at_once() -> None:
    own = {"key": "example.com/broken-fan", "effect": "NoExecute", "timeAdded": ago(5)}
    ready = [{"type": "Ready", "status": "True"}]
    node = Node.from_dict(
        {"metadata": {"name": "n1"}, "spec": {"taints": [own, UNREACHABLE]}, "status": {"conditions": ready}}
    )
    assert [taint.key for taint in taints.wanted(node, ago(0), emptied=True)] == ["example.com/broken-fan"]
    moment = taints.evict_at(pod("a"), node)
    assert moment == NOW - timedelta(seconds=5)
