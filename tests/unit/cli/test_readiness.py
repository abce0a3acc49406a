from hypernetes.api.models.core_v1 import Node, NodeCondition, NodeStatus
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.cli.readiness import not_ready


def node(name: str, ready: str, message: str | None = None) -> Node:
    conditions = [
        NodeCondition(type="MemoryPressure", status="False"),
        NodeCondition(type="Ready", status=ready, message=message),
    ]
    return Node(metadata=ObjectMeta(name=name), status=NodeStatus(conditions=conditions))


def test_nodes_that_are_missing_or_not_ready_are_told_with_the_reason():
    nodes = [node("a", "True"), node("b", "False", "no images yet"), Node(metadata=ObjectMeta(name="c"))]
    assert not_ready(nodes, ["a", "b", "c", "d"]) == {
        "b": "no images yet",
        "c": "not ready yet",
        "d": "not registered yet",
    }


def test_nodes_of_others_do_not_count():
    assert not_ready([node("a", "True"), node("old", "False")], ["a"]) == {}
