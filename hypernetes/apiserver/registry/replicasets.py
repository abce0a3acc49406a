"""ReplicaSets and ReplicationControllers: what may be said of them, and which counts a status may report."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import templates
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
_WITHIN = (
    ("fullyLabeledReplicas", "replicas"), ("readyReplicas", "replicas"), ("availableReplicas", "replicas"),
    ("availableReplicas", "readyReplicas"),
)  # fmt: skip


def validate(replica_set: Object) -> Causes:
    spec = replica_set["spec"]
    causes = templates.non_negative(spec, ("replicas", "minReadySeconds"), "spec")
    causes += templates.validate_selector(spec)
    return causes + templates.validate_forever(spec["template"], "spec.template")


def validate_controller(controller: Object) -> Causes:
    """Of a ReplicationController, whose selector is a plain map that nobody looks at closely."""
    spec = controller["spec"]
    causes = templates.non_negative(spec, ("replicas", "minReadySeconds"), "spec")
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        causes += validation.required("spec.selector")
    if template is None:
        return causes + validation.required("spec.template")
    labels = templates.labels(template)
    if any(labels.get(key) != value for key, value in selector.items()):
        causes += validation.invalid("spec.template.metadata.labels", labels, templates.MISMATCH)
    return causes + templates.validate_forever(template, "spec.template")


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    return templates.non_negative(status, _COUNTS, "status") + templates.not_more(status, _WITHIN)


REPLICA_SETS = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    validate=validate,
    validate_update=templates.selector_is_fixed,
    validate_status=validate_status,
    warnings=templates.warn,
)
REPLICATION_CONTROLLERS = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    default_propagation="Orphan",
    validate=validate_controller,
    validate_status=validate_status,
    warnings=templates.warn,
)
