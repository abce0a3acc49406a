"""The resize subresource: other requests and limits for containers that go on running (KEP-1287)."""

import copy
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.podrules import annotations, qos
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MUTABLE = ("cpu", "memory")


def taken(new: Object, old: Object) -> Object:
    """The old spec with what of the new one this subresource takes: containers' resources, and how they change."""
    spec: Object = copy.deepcopy(old)
    for part in ("containers", "initContainers"):
        wanted = {container.get("name"): container for container in new.get(part) or ()}
        for container in spec.get(part) or ():
            if container.get("name") not in wanted:
                continue
            for field in ("resources", "resizePolicy"):
                container.pop(field, None)
                if field in wanted[container["name"]]:
                    container[field] = copy.deepcopy(wanted[container["name"]][field])
    return spec


def validate(new: Object, old: Object) -> Causes:
    """`new` and `old` are pods; the new one's spec is what `taken` gives."""
    spec, before = new["spec"], old["spec"]
    if annotations.MIRROR in (old["metadata"].get("annotations") or {}):
        return validation.forbidden("", "static pods cannot be resized")
    if (before.get("os") or {}).get("name") == "windows":
        return validation.forbidden("", "windows pods cannot be resized")
    causes: Causes = []
    if qos.of(spec) != (old.get("status", {}).get("qosClass") or qos.of(before)):
        causes += validation.invalid("spec", qos.of(spec), "Pod QOS Class may not change as a result of resizing")
    if not _supported(old):
        causes += validation.forbidden("spec", "Pod running on node without support for resize")
    for part in ("initContainers", "containers"):
        pairs = zip(spec.get(part) or (), before.get(part) or (), strict=True)
        for index, (container, previous) in enumerate(pairs):
            causes += _container(container, previous, part, f"spec.{part}[{index}].resources")
    return causes


def _supported(pod: Object) -> bool:
    """A node that resizes tells the resources of what runs; where nothing runs yet, nobody can say."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            return status.get("resources") is not None
    return True


def _container(container: Object, previous: Object, part: str, path: str) -> Causes:
    if part == "initContainers" and previous.get("restartPolicy") != "Always":
        if container == previous:
            return []
        return validation.forbidden("spec", "resources for non-sidecar init containers are immutable")
    causes: Causes = []
    wanted, had = container.get("resources") or {}, previous.get("resources") or {}
    for name in ("requests", "limits"):
        if any(resource not in (wanted.get(name) or {}) for resource in had.get(name) or ()):
            causes += validation.forbidden(f"{path}.{name}", f"resource {name} cannot be removed")
    if not causes and _fixed(container) != _fixed(previous):
        causes += validation.forbidden("spec", "only cpu and memory resources are mutable")
    return causes


def _fixed(container: Object) -> Object:
    resources = container.get("resources") or {}
    kept = {
        part: {name: amount for name, amount in (resources.get(part) or {}).items() if name not in _MUTABLE}
        for part in ("requests", "limits")
    }
    return {**container, "resources": {**kept, "claims": resources.get("claims") or []}}
