"""RuntimeClasses: how a pod's machine is run, what that costs beside its containers, and on which nodes."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import oldnames, resourcenames
from hypernetes.apiserver.registry.podrules import tolerations as tolerating
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]


def validate(runtime_class: Object) -> Causes:
    handler = runtime_class.get("handler") or ""
    causes = validation.dns_label(handler, "handler") if handler else validation.required("handler")
    causes += _overhead((runtime_class.get("overhead") or {}).get("podFixed") or {})
    scheduling = runtime_class.get("scheduling") or {}
    causes += validation.labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    tolerations = scheduling.get("tolerations") or []
    causes += tolerating.validate(tolerations, "scheduling.tolerations")
    for index, toleration in enumerate(tolerations):
        if toleration in tolerations[:index]:
            causes += validation.duplicate(f"scheduling.tolerations[{index}]", toleration)
    return causes


def _overhead(amounts: dict[str, str]) -> Causes:
    causes: Causes = []
    for name, value in amounts.items():
        path = f"overhead.limits[{name}]"
        causes += resourcenames.of_container(name, path) + resourcenames.amount(name, value, path)
    if any(map(resourcenames.is_huge_pages, amounts)) and not {"cpu", "memory"} & amounts.keys():
        causes += validation.forbidden("overhead", "HugePages require cpu or memory")
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "handler")


def warnings(runtime_class: Object, old: Object | None) -> list[str]:
    selector = (runtime_class.get("scheduling") or {}).get("nodeSelector") or {}
    return [warning for key in selector for warning in oldnames.label(key, "scheduling.nodeSelector")]


STRATEGY = Strategy(complete=True, validate=validate, validate_update=validate_update, warnings=warnings)
