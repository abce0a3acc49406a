"""Scales: the part of a workload that says how many pods it wants, as a kind of its own."""

import copy
from typing import Any

from hypernetes.api import selectors
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError, conflict, invalid
from hypernetes.apiserver import validation

Object = dict[str, Any]

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def of(workload: Object) -> Object:
    """The Scale of a Deployment, ReplicaSet or ReplicationController."""
    replicas = workload["spec"].get("replicas", 0)
    status: Object = {"replicas": workload.get("status", {}).get("replicas", 0)}
    selector = workload["spec"].get("selector") or {}
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        selector = {"matchLabels": selector}
    text = selectors.format_labels(selectors.requirements_of(selector))
    if text:
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: workload["metadata"][name] for name in _METADATA if name in workload["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def applied(scale: Object, workload: Object, resource: Resource, name: str) -> Object:
    """The workload with the scale's number of pods. Raises StatusError."""
    metadata = scale.get("metadata") or {}
    if metadata.get("name", name) != name:
        message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        raise StatusError("BadRequest", message)
    if metadata.get("namespace", workload["metadata"]["namespace"]) != workload["metadata"]["namespace"]:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise StatusError("BadRequest", message)
    for field in ("resourceVersion", "uid"):
        wanted, found = metadata.get(field), workload["metadata"][field]
        if wanted and wanted != found:
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise conflict(resource.group_resource, name, why)
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    causes = validation.non_negative(replicas, "spec.replicas")
    if causes:
        raise invalid("autoscaling", "Scale", name, causes)
    new = copy.deepcopy(workload)
    new["spec"]["replicas"] = replicas
    return new
