"""Pods: what may be said of one, what may change, and how it ends."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import podspecs
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_FINISHED = ("Succeeded", "Failed")
# What an update may change in a pod's spec; the images of containers besides.
_CHANGEABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates")


def prepare_create(pod: Object) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod["spec"])}


def prepare_status(new: Object, old: Object) -> None:
    new["status"].setdefault("qosClass", old.get("status", {}).get("qosClass"))
    if new["status"]["qosClass"] is None:
        del new["status"]["qosClass"]


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by the requests and limits of all containers for cpu and memory."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    any_set, guaranteed = False, True
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            any_set = any_set or name in requests or name in limits
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def validate(pod: Object) -> Causes:
    return podspecs.validate(pod["spec"], "spec")


def validate_update(new: Object, old: Object) -> Causes:
    if _frozen(new["spec"]) != _frozen(old["spec"]):
        why = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)"
        )
        return validation.forbidden("spec", why)
    before = old["spec"].get("tolerations") or []
    after = new["spec"].get("tolerations") or []
    if any(toleration not in after for toleration in before):
        return validation.forbidden(
            "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
        )
    return []


def _frozen(spec: Object) -> Object:
    """A pod's spec without what may change."""
    frozen = {key: value for key, value in spec.items() if key not in _CHANGEABLE}
    for part in ("containers", "initContainers"):
        if part in frozen:
            frozen[part] = [
                {key: value for key, value in container.items() if key != "image"} for container in frozen[part]
            ]
    return frozen


def grace_seconds(pod: Object, asked: int | None) -> int:
    """How long a pod may take to end; 0 where nothing runs (any more)."""
    if asked == 0 or not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in _FINISHED:
        return 0
    if asked is not None:
        return asked
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return 30 if grace is None else max(1, grace) if grace < 0 else grace


STRATEGY = Strategy(
    has_status=True,
    generation=True,
    returns_deleted=True,
    prepare_create=prepare_create,
    prepare_status=prepare_status,
    validate=validate,
    validate_update=validate_update,
    grace_seconds=grace_seconds,
)
