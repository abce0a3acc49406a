"""A suspended tenant's pods are stopped, and the tenant's condition `Suspended` says how far that is.

The decisions are pure; contents.py carries them out. Pods that have ended stay, for their logs and results.
What owned the others makes them again once the tenant is resumed.
"""

from datetime import datetime
from typing import Any

from hypernetes.apiserver import deletion, registry
from hypernetes.apiserver.handlers.options import DeleteOptions
from hypernetes.apiserver.objects import Decision, Place, Put, missing
from hypernetes.apiserver.registry import tenants

Object = dict[str, Any]

CONDITION = "Suspended"
_FINISHED = ("Succeeded", "Failed")


def runs(pod: Object) -> bool:
    """Whether it has, or may get, a machine."""
    return pod.get("status", {}).get("phase") not in _FINISHED


def stopped(place: Place, pod: Object | None, now: datetime) -> Decision:
    """A pod told to stop. Its node removes it, or who looks after those without one. Raises StatusError."""
    if pod is None:
        raise missing(place)
    if "deletionTimestamp" in pod["metadata"]:
        return Put(pod)
    return deletion.decide(place, registry.of(place.resource), pod, DeleteOptions(), now)


def told(tenant: Object, running: int, now: datetime) -> Object:
    """The tenant with its condition; `running` is how many pods haven't stopped yet."""
    status = tenant.get("status", {})
    if not tenant.get("spec", {}).get("suspended"):
        wanted = ("False", "Resumed", "the tenant's pods may run")
        if not any(each["type"] == CONDITION for each in status.get("conditions") or ()):
            return tenant
    elif running:
        wanted = ("False", "PodsStopping", f"{running} pods have not stopped yet")
    else:
        wanted = ("True", "PodsStopped", "no pod of the tenant runs")
    return tenants.with_condition(tenant, (CONDITION, *wanted), now)
