"""Pods and nodes for the scheduler's tests."""

from typing import Any

from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.client import Key


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> Node:
    """`more`: labels, taints (dicts), unschedulable, resources (further allocatable ones)."""
    return Node.from_dict(
        {
            "metadata": {"name": name, "labels": more.get("labels", {})},
            "spec": {"taints": more.get("taints", []), "unschedulable": more.get("unschedulable", False)},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **more.get("resources", {})}},
        }
    )


def pod(name: str = "p", *, cpu: str = "", memory: str = "", uid: str = "", **spec: Any) -> Pod:
    """`spec`: fields of the pod's spec as the wire names them; `requests` for further resources."""
    given = {"cpu": cpu, "memory": memory, **spec.pop("requests", {})}
    requests = {resource: text for resource, text in given.items() if text}
    return Pod.from_dict(
        {
            "metadata": {"name": name, "namespace": "web", "uid": uid or f"uid-of-{name}"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}], **spec},
        }
    )


def key(name: str = "p", tenant: str = "acme") -> Key:
    return Key(tenant, "web", name)
