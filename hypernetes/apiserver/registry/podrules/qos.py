"""The class of service that a pod's requests and limits come to.

https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from typing import Any

from hypernetes.api import quantity

Object = dict[str, Any]

_COUNTED = ("cpu", "memory")


def of(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort; by the pod's own resources where it has any."""
    whole = spec.get("resources") or {}
    if whole.get("requests") or whole.get("limits"):
        parts = [whole]
    else:
        parts = [
            container.get("resources") or {}
            for part in ("containers", "initContainers")
            for container in spec.get(part) or ()
        ]
    any_set, guaranteed = False, True
    for resources in parts:
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COUNTED:
            asked, most = _positive(requests, name), _positive(limits, name)
            any_set = any_set or asked or most
            if not most or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(amounts: Object, name: str) -> bool:
    return name in amounts and quantity.parse(amounts[name]) > 0
