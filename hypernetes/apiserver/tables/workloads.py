"""Cells of what runs pods: deployments, replica sets, replication controllers, scales."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of
from hypernetes.apiserver.tables.labels import labels, selector

Object = dict[str, Any]


def deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"], f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0), status.get("availableReplicas", 0), age_of(obj, now),
        *_containers(spec), selector(spec.get("selector")),
    ]  # fmt: skip


def replica_set(obj: Object, now: datetime) -> list[Any]:
    return [*_replicas(obj, now), selector(obj.get("spec", {}).get("selector"))]


def replication_controller(obj: Object, now: datetime) -> list[Any]:
    return [*_replicas(obj, now), labels(obj.get("spec", {}).get("selector"))]


def scale(obj: Object, now: datetime) -> list[Any]:
    desired, available = obj.get("spec", {}).get("replicas", 0), obj.get("status", {}).get("replicas", 0)
    return [obj["metadata"]["name"], desired, available, age_of(obj, now)]


def _replicas(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"], spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0),
        age_of(obj, now), *_containers(spec),
    ]  # fmt: skip


def _containers(spec: Object) -> tuple[str, str]:
    """The names and the images of the template's containers."""
    containers = (((spec.get("template") or {}).get("spec")) or {}).get("containers") or ()
    return (
        ",".join(container.get("name", "") for container in containers),
        ",".join(container.get("image", "") for container in containers),
    )
