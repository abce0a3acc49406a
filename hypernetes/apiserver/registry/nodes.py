"""Nodes: the provider's machines, and what a tenant sees of them."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

# Labels of a node that say nothing of other tenants.
_SHOWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region", "node.kubernetes.io/instance-type",
    }
)  # fmt: skip
_SHOWN_NODE_INFO = ("architecture", "operatingSystem", "kubeletVersion")


def shown_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Those that a tenant sees, and may select by."""
    return {key: value for key, value in labels.items() if key in _SHOWN_LABELS}


def project(node: Object) -> Object:
    """A node as a tenant sees it: its name, a few labels, whether it is ready and takes pods.

    An allow-list: no addresses, images, capacity, heartbeat times or anything else that would tell of other tenants.
    """
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    labels = shown_labels(metadata.get("labels") or {})
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    info = status.get("nodeInfo") or {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": metadata["name"],
            "uid": metadata["uid"],
            "creationTimestamp": metadata["creationTimestamp"],
            **({"labels": labels} if labels else {}),
        },
        "spec": {"unschedulable": True} if spec.get("unschedulable") else {},
        "status": {
            **({"conditions": [_shown(ready)]} if ready else {}),
            "nodeInfo": {key: info[key] for key in _SHOWN_NODE_INFO if key in info},
        },
    }


def _shown(condition: Object) -> Object:
    return {
        "type": condition["type"],
        "status": condition["status"],
        "lastTransitionTime": condition.get("lastTransitionTime"),
    }
