"""Which objects of its namespace a quota counts: those that are in all of its scopes."""

from collections.abc import Callable, Iterator
from typing import Any

from hypernetes.api.scheme import Resource
from hypernetes.api.selectors import Requirement
from hypernetes.apiserver import amounts, podresources

Object = dict[str, Any]


def matches(quota: Object, resource: Resource, obj: Object) -> bool:
    """Scopes are about pods, one about claims: a quota with scopes counts nothing else."""
    selectors = list(_selectors(quota.get("spec") or {}))
    if not selectors:
        return True
    test = _TESTS.get((resource.group, resource.name))
    return test is not None and all(test(selector, obj) for selector in selectors)


def _selectors(spec: Object) -> Iterator[Object]:
    for scope in spec.get("scopes") or ():
        yield {"scopeName": scope, "operator": "Exists"}
    yield from (spec.get("scopeSelector") or {}).get("matchExpressions") or ()


def _pod_matches(selector: Object, pod: Object) -> bool:
    spec, scope = pod["spec"], selector["scopeName"]
    if scope == "PriorityClass":
        name = spec.get("priorityClassName")
        return _selects(selector, [name] if name else [])
    plain = _PLAIN.get(scope)
    return plain is not None and plain(spec)


def _claim_matches(selector: Object, claim: Object) -> bool:
    if selector["scopeName"] != "VolumeAttributesClass":
        return False
    status = claim.get("status") or {}
    names = (
        claim["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return _selects(selector, [name for name in names if name])


def _selects(selector: Object, values: list[str]) -> bool:
    """Whether one of the object's values is as the selector wants it."""
    key = selector["scopeName"]
    requirement = Requirement(key, selector["operator"], frozenset(selector.get("values") or ()))
    return any(requirement({key: value}) for value in values) if values else requirement({})


def _terminating(spec: Object) -> bool:
    """Whether the pod ends by itself at some time."""
    seconds = spec.get("activeDeadlineSeconds")
    return seconds is not None and seconds >= 0


def _best_effort(spec: Object) -> bool:
    """Whether no container says how much processor or memory it wants or may use."""
    for holder in (spec, *podresources.containers(spec)):
        resources = holder.get("resources") or {}
        for stated in (resources.get("requests") or {}, resources.get("limits") or {}):
            if any(amounts.value(stated[name]) for name in ("cpu", "memory") if name in stated):
                return False
    return True


def _crosses_namespaces(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [entry.get("podAffinityTerm") or {} for entry in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


_PLAIN: dict[str, Callable[[Object], bool]] = {
    "Terminating": _terminating,
    "NotTerminating": lambda spec: not _terminating(spec),
    "BestEffort": _best_effort,
    "NotBestEffort": lambda spec: not _best_effort(spec),
    "CrossNamespacePodAffinity": _crosses_namespaces,
}
_TESTS: dict[tuple[str, str], Callable[[Object, Object], bool]] = {
    ("", "pods"): _pod_matches,
    ("", "persistentvolumeclaims"): _claim_matches,
}
