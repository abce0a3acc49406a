"""Pods: what a new one gets, what may change by which way, and how one ends."""

import copy
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.podrules import (
    annotations,
    containers,
    labelkeys,
    qos,
    resizing,
    specs,
    statuses,
    updates,
    warnings,
)
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_FINISHED = ("Succeeded", "Failed")


def prepare_create(pod: Object) -> None:
    spec = pod["spec"]
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    labelkeys.resolve(pod)
    pod["status"] = {"phase": "Pending", "qosClass": qos.of(spec)}
    if spec.get("schedulingGates"):
        since = pod["metadata"].get("creationTimestamp")
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled", "status": "False", "lastProbeTime": None, "lastTransitionTime": since,
                "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]  # fmt: skip


def prepare_status(new: Object, old: Object) -> None:
    status = new.setdefault("status", {})
    if not status.get("qosClass") and old.get("status", {}).get("qosClass"):
        status["qosClass"] = old["status"]["qosClass"]


def validate_create(pod: Object) -> Causes:
    spec = pod["spec"]
    causes: Causes = []
    if spec.get("ephemeralContainers"):
        causes += validation.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        causes += validation.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    return causes


def validate(pod: Object) -> Causes:
    spec, metadata = pod["spec"], pod["metadata"]
    causes = annotations.validate(metadata.get("annotations"), spec, "metadata.annotations")
    causes += specs.validate(spec, "spec", metadata.get("name") or "")
    for part in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(part) or ()):
            causes += containers.padded_image(container.get("image") or "", f"spec.{part}[{index}]")
    return causes if spec.get("serviceAccountName") else causes + _tokens_of_nobody(spec)


def _tokens_of_nobody(spec: Object) -> Causes:
    why = "must not be specified when serviceAccountName is not set"
    return [
        cause
        for index, volume in enumerate(spec.get("volumes") or ())
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if "serviceAccountToken" in source
        for cause in validation.forbidden(
            f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken", why
        )
    ]


def validate_update(new: Object, old: Object) -> Causes:
    return _fixed_annotations(new, old) + updates.validate(new["spec"], old["spec"])


def validate_status(new: Object, old: Object) -> Causes:
    return _fixed_annotations(new, old) + statuses.validate(new, old)


def _fixed_annotations(new: Object, old: Object) -> Causes:
    after, before = (pod["metadata"].get("annotations") for pod in (new, old))
    return annotations.fixed(after, before, "metadata.annotations")


def prepare_ephemeral(new: Object, old: Object) -> None:
    """Through `pods/NAME/ephemeralcontainers` these change, and nothing else."""
    added = new["spec"].get("ephemeralContainers")
    _keep_all(new, old)
    new["spec"].pop("ephemeralContainers", None)
    if added:
        new["spec"]["ephemeralContainers"] = added


def validate_ephemeral(new: Object, old: Object) -> Causes:
    if annotations.MIRROR in (old["metadata"].get("annotations") or {}):
        return validation.forbidden("", "static pods do not support ephemeral containers")
    return validate(new) + updates.only_more_ephemeral(new["spec"], old["spec"])


def prepare_resize(new: Object, old: Object) -> None:
    """Through `pods/NAME/resize` the containers' resources change, and nothing else."""
    spec = resizing.taken(new["spec"], old["spec"])
    _keep_all(new, old)
    new["spec"] = spec


def validate_resize(new: Object, old: Object) -> Causes:
    causes = validate(new)
    return causes + resizing.validate(new, old)


def _keep_all(new: Object, old: Object) -> None:
    kept = copy.deepcopy(old)
    new.clear()
    new.update(kept)


def grace_seconds(pod: Object, asked: int | None) -> int:
    """How long a pod may take to end; 0 where nothing runs (any more)."""
    if asked == 0 or not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in _FINISHED:
        return 0
    if asked is not None:
        return asked
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return 30 if grace is None else max(1, grace) if grace < 0 else grace


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    returns_deleted=True,
    prepare_create=prepare_create,
    prepare_status=prepare_status,
    validate_create=validate_create,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings.of_pod,
    grace_seconds=grace_seconds,
)
EPHEMERAL_CONTAINERS = Strategy(
    complete=True,
    generation=True,
    has_status=True,
    prepare_update=prepare_ephemeral,
    validate_update=validate_ephemeral,
)
RESIZE = Strategy(
    complete=True, generation=True, has_status=True, prepare_update=prepare_resize, validate_update=validate_resize
)
