"""StatefulSets: what may be said of one, and which fields an update may change."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import amounts, claimspecs, templates
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_STRATEGIES = ("OnDelete", "RollingUpdate")
_MANAGEMENT = ("OrderedReady", "Parallel")
_RETENTION = ("Delete", "Retain")
_CHANGEABLE = frozenset(
    {
        "replicas", "template", "updateStrategy", "minReadySeconds", "ordinals", "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    }
)  # fmt: skip
_COUNTS = (
    "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration",
    "collisionCount",
)  # fmt: skip
_WITHIN = (
    ("readyReplicas", "replicas"), ("currentReplicas", "replicas"), ("updatedReplicas", "replicas"),
    ("availableReplicas", "replicas"), ("availableReplicas", "readyReplicas"),
)  # fmt: skip


def validate(stateful_set: Object) -> Causes:
    spec = stateful_set["spec"]
    causes = templates.non_negative(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit"), "spec")
    causes += _strategy(spec)
    causes += templates.non_negative(spec.get("ordinals") or {}, ("start",), "spec.ordinals")
    causes += templates.validate_selector(spec)
    causes += _template(spec)
    name = spec.get("serviceName")
    if name:
        causes += validation.dns_subdomain(name, "spec.serviceName")
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        causes += claimspecs.validate(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    return causes


def _strategy(spec: Object) -> Causes:
    causes: Causes = []
    management = spec.get("podManagementPolicy")
    if management not in _MANAGEMENT:
        causes += validation.invalid("spec.podManagementPolicy", management, f"must be one of {_MANAGEMENT}")
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if strategy.get("type") not in _STRATEGIES:
        causes += validation.invalid(path, strategy.get("type"), f"must be one of {_STRATEGIES}")
    elif rolling is not None:
        if strategy["type"] == "OnDelete":
            why = "only allowed for updateStrategy 'RollingUpdate'"
            causes += validation.invalid(f"{path}.rollingUpdate", rolling, why)
        else:
            causes += templates.non_negative(rolling, ("partition",), f"{path}.rollingUpdate")
            unavailable = rolling.get("maxUnavailable")
            causes += amounts.validate(unavailable, f"{path}.rollingUpdate.maxUnavailable")
            causes += amounts.at_most_all(unavailable, f"{path}.rollingUpdate.maxUnavailable")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for moment in ("whenDeleted", "whenScaled"):
        value = retention.get(moment)
        if value not in _RETENTION:
            at = f"spec.persistentVolumeClaimRetentionPolicy.{moment}"
            causes += validation.not_supported(at, value or "", _RETENTION)
    return causes


def _template(spec: Object) -> Causes:
    """The template as its pods will be: with a volume per claim. Its metadata is looked at twice, as upstream does."""
    template = spec["template"]
    metadata, pod = template.get("metadata") or {}, template.get("spec") or {}
    claimed = [(claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates") or ()]
    if claimed:
        own = [volume for volume in pod.get("volumes") or () if volume.get("name") not in claimed]
        volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claimed]
        template = {**template, "spec": {**pod, "volumes": [*own, *volumes]}}
    causes = templates.validate_forever(template, "spec.template")
    causes += validation.labels(metadata.get("labels"), "spec.template.labels")
    return causes + validation.annotations(metadata.get("annotations"), "spec.template.annotations")


def validate_update(new: Object, old: Object) -> Causes:
    fixed = [{key: value for key, value in obj["spec"].items() if key not in _CHANGEABLE} for obj in (new, old)]
    if fixed[0] == fixed[1]:
        return []
    allowed = "', '".join(sorted(_CHANGEABLE))
    why = f"updates to statefulset spec for fields other than '{allowed}' are forbidden"
    return validation.forbidden("spec", why)


def validate_status(new: Object, old: Object) -> Causes:
    status = new.get("status") or {}
    causes = templates.non_negative(status, _COUNTS, "status") + templates.not_more(status, _WITHIN)
    return causes + templates.collisions_grow(new, old)


STRATEGY = Strategy(
    complete=True,
    name_rule=validation.dns_label,
    has_status=True,
    generation=True,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=templates.warn_nameless,
)
