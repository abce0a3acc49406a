"""What makes pods from a template: Deployments, ReplicaSets, ReplicationControllers."""

from typing import Any

from hypernetes.api import selectors
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import podspecs
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_STRATEGIES = ("Recreate", "RollingUpdate")


def validate_deployment(deployment: Object) -> Causes:
    spec = deployment["spec"]
    causes = _selector(spec, "spec.selector") + _template(spec) + _numbers(spec, "replicas", "minReadySeconds")
    causes += _numbers(spec, "revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        causes += validation.non_negative(deadline, "spec.progressDeadlineSeconds")
        if deadline <= (spec.get("minReadySeconds") or 0):
            causes += validation.invalid(
                "spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"
            )
    return causes + _strategy(spec.get("strategy") or {})


def _strategy(strategy: Object) -> Causes:
    causes = validation.one_of(strategy.get("type"), _STRATEGIES, "spec.strategy")
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        causes += validation.forbidden(
            "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
        )
    elif rolling is not None:
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        path = "spec.strategy.rollingUpdate"
        causes += _amount(unavailable, f"{path}.maxUnavailable", most=100) + _amount(surge, f"{path}.maxSurge")
        if unavailable in (0, "0%") and surge in (0, "0%"):
            causes += validation.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    return causes


def _amount(value: int | str | None, path: str, most: int | None = None) -> Causes:
    """A number of pods or a percentage of them."""
    if value is None:
        return []
    if isinstance(value, int):
        return validation.non_negative(value, path)
    number = value.removesuffix("%")
    if number == value or not number.isdecimal():
        return validation.invalid(
            path, value, "a valid percent string must be a numeric string followed by an ending '%'"
        )
    if most is not None and int(number) > most:
        return validation.invalid(path, value, f"must not be greater than {most}%")
    return []


def validate_replica_set(replica_set: Object) -> Causes:
    spec = replica_set["spec"]
    causes = _selector(spec, "spec.selector") + _template(spec) + _numbers(spec, "replicas", "minReadySeconds")
    if spec.get("selector") is None:  # upstream reads it as one that matches nothing
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        causes += validation.invalid(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )
    return causes


def validate_replication_controller(controller: Object) -> Causes:
    spec = controller["spec"]
    causes = _numbers(spec, "replicas", "minReadySeconds") + validation.labels(spec.get("selector"), "spec.selector")
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        causes += validation.required("spec.selector")
    if template is None:
        return causes + validation.required("spec.template")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        causes += validation.invalid(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )
    return causes + _template(spec)


def _selector(spec: Object, path: str) -> Causes:
    selector = spec.get("selector")
    if selector is None:
        return validation.required(path)
    causes = validation.label_selector(selector, path)
    if causes:
        return causes + validation.invalid(path, selector, "invalid label selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes += validation.invalid(path, "{}", "empty selector is invalid")
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not causes and not selectors.from_object(selector)(labels):
        causes += validation.invalid(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )
    return causes


def _template(spec: Object) -> Causes:
    template = spec["template"]
    metadata = template.get("metadata") or {}
    causes = validation.labels(metadata.get("labels"), "spec.template.labels")
    causes += validation.annotations(metadata.get("annotations"), "spec.template.annotations")
    causes += podspecs.validate(template.get("spec") or {}, "spec.template.spec")
    restart = template.get("spec", {}).get("restartPolicy")
    if restart in ("OnFailure", "Never"):
        causes += validation.not_supported("spec.template.spec.restartPolicy", restart, ("Always",))
    if template.get("spec", {}).get("activeDeadlineSeconds") is not None:
        causes += validation.forbidden(
            "spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported"
        )
    return causes


def _numbers(spec: Object, *names: str) -> Causes:
    return [cause for name in names for cause in validation.non_negative(spec.get(name), f"spec.{name}")]


def selector_is_fixed(new: Object, old: Object) -> Causes:
    if new["spec"].get("selector") != old["spec"].get("selector"):
        return validation.invalid("spec.selector", new["spec"].get("selector"), "field is immutable")
    return []


def keep_labels(new: Object, old: Object) -> None:
    """A status update leaves the labels alone."""
    new["metadata"].pop("labels", None)
    if "labels" in old["metadata"]:
        new["metadata"]["labels"] = dict(old["metadata"]["labels"])


DEPLOYMENTS = Strategy(
    has_status=True,
    generation=True,
    counts_annotations=True,
    validate=validate_deployment,
    validate_update=selector_is_fixed,
    prepare_status=keep_labels,
)
REPLICA_SETS = Strategy(
    has_status=True, generation=True, validate=validate_replica_set, validate_update=selector_is_fixed
)
REPLICATION_CONTROLLERS = Strategy(
    has_status=True, generation=True, default_propagation="Orphan", validate=validate_replication_controller
)
