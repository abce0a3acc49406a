"""Which fields a field selector may name, kind by kind, and their values in an object."""

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]

_POD = (
    "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
    "status.phase", "status.podIP", "status.nominatedNodeName",
)  # fmt: skip
_EVENT = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
    "reportingComponent", "source", "type",
)  # fmt: skip

_PATHS: dict[tuple[str, str], tuple[str, ...]] = {
    ("core", "pods"): _POD,
    ("core", "events"): _EVENT,
    ("core", "secrets"): ("type",),
    ("core", "namespaces"): ("status.phase",),
    ("core", "nodes"): ("spec.unschedulable",),
    ("core", "services"): ("spec.clusterIP", "spec.type"),
    ("core", "replicationcontrollers"): ("status.replicas",),
    ("certificates.k8s.io", "certificatesigningrequests"): ("spec.signerName",),
    ("batch", "jobs"): ("status.successful",),
    # Ours: a node's agent follows what is about its node.
    ("hypernetes.io", "nodevolumes"): ("spec.nodeName",),
    ("storage.k8s.io", "volumeattachments"): ("spec.nodeName",),
}

# What an absent field counts as, where that isn't "".
_ABSENT = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.replicas": "0"}
_SPECIAL: dict[str, Callable[[Object], str]] = {
    "source": lambda event: event.get("source", {}).get("component") or event.get("reportingComponent") or "",
    "status.successful": lambda job: str(job.get("status", {}).get("succeeded", 0)),
}


def supported(group: str, resource: str, namespaced: bool) -> tuple[str, ...]:
    """The paths that this resource's field selectors may name. `group` is "core" for the core group."""
    narrow = not namespaced and (group, resource) in _PATHS  # upstream leaves the namespace out of its own lists
    generic = ("metadata.name",) if narrow else ("metadata.name", "metadata.namespace")
    return (*generic, *_PATHS.get((group, resource), ()))


def of(group: str, resource: str, obj: Object) -> dict[str, str]:
    metadata = obj.get("metadata", {})
    found = {"metadata.name": metadata.get("name", ""), "metadata.namespace": metadata.get("namespace", "")}
    for path in _PATHS.get((group, resource), ()):
        found[path] = _SPECIAL[path](obj) if path in _SPECIAL else _value(obj, path)
    return found


def _value(obj: Object, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return _ABSENT.get(path, "")
    return str(value).lower() if isinstance(value, bool) else str(value)
