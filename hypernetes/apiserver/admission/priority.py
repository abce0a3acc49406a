"""Priority: a pod's number is that of its class, of the tenant's default class, or 0.

The number and the preemption policy are the class's alone: a pod that says otherwise is refused. The two classes that
every cluster has are known here by name, so that they hold from a tenant's first moment.
"""

from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError, already_exists
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.admission.request import CREATE, DELETE, UPDATE, Plugin, Request, Seen
from hypernetes.apiserver.registry import priorityclasses

Object = dict[str, Any]

_CLASSES = scheme.by_name("scheduling.k8s.io/v1", "priorityclasses")
_DEFAULT_POLICY = "PreemptLowerPriority"


def admit_pod(request: Request) -> None:
    spec, old = request.obj["spec"], request.old.get("spec", {})
    if request.operation == UPDATE:
        for name in ("priority", "preemptionPolicy"):
            if spec.get(name) is None and name in old:
                spec[name] = old[name]
        return
    name, value, policy = _of(request, spec.get("priorityClassName") or "")
    if name:
        spec["priorityClassName"] = name
    if spec.get("priority") not in (None, value):
        raise _contradiction(request, f"the integer value of priority ({spec['priority']})", value)
    spec["priority"] = value
    if spec.get("preemptionPolicy") not in (None, policy):
        raise _contradiction(request, f"the string value of PreemptionPolicy ({spec['preemptionPolicy']})", policy)
    spec["preemptionPolicy"] = policy


def _contradiction(request: Request, what: str, computed: int | str) -> StatusError:
    why = f"priority admission controller computed {computed} from the given PriorityClass name"
    return request.forbidden(f"{what} must not be provided in pod spec; {why}")


def _of(request: Request, name: str) -> tuple[str, int, str]:
    """(class, value, preemption policy). Raises StatusError where the pod names a class that isn't there."""
    if not name:
        found = default_class(request.seen)
        if found is None:
            return "", 0, _DEFAULT_POLICY
        name = found["metadata"]["name"]
    elif name in priorityclasses.SYSTEM:
        return name, priorityclasses.SYSTEM[name], _DEFAULT_POLICY
    else:
        found = request.seen.one(_CLASSES, "", name)
        if found is None:
            raise request.forbidden(f"no PriorityClass with name {name} was found")
    return name, found.get("value", 0), found.get("preemptionPolicy") or _DEFAULT_POLICY


def default_class(seen: Seen) -> Object | None:
    """The one with globalDefault; of several, which only a race can leave, the least."""
    marked: list[Object] = [
        orjson.loads(entry.data) for entry in seen.entries(_CLASSES) if b'"globalDefault":true' in entry.data
    ]
    return min(marked, key=lambda obj: obj.get("value", 0), default=None)


def check_class(request: Request) -> None:
    """The system's classes are there in every tenant, and there is one default at most."""
    if request.operation == CREATE and request.seen.tenant != SYSTEM_TENANT and request.name in priorityclasses.SYSTEM:
        raise already_exists(request.resource.group_resource, request.name)
    if not request.obj.get("globalDefault"):
        return
    other = default_class(request.seen)
    name = request.obj["metadata"]["name"]
    if other is not None and other["metadata"]["name"] != name:
        existing = other["metadata"]["name"]
        raise request.forbidden(f"PriorityClass {existing} is already marked as default. Only one default can exist")


def check_deletion(request: Request) -> None:
    if request.name in priorityclasses.SYSTEM:
        raise request.forbidden("this is a system priority class and cannot be deleted")


_PODS, _PRIORITY_CLASSES = (("", "pods"),), (("scheduling.k8s.io", "priorityclasses"),)
PLUGIN = Plugin("Priority", _PODS, (CREATE, UPDATE), mutate=admit_pod)
ONE_DEFAULT_CLASS = Plugin("Priority", _PRIORITY_CLASSES, (CREATE, UPDATE), validate=check_class)
SYSTEM_CLASSES_STAY = Plugin("Priority", _PRIORITY_CLASSES, (DELETE,), validate=check_deletion)
