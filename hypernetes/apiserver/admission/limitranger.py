"""LimitRanger: containers are given a namespace's default resources; containers, pods and claims keep to its bounds.

Message forms are upstream's, since people search for them.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from hypernetes.api import scheme
from hypernetes.apiserver import amounts, podresources
from hypernetes.apiserver.admission.request import CREATE, UPDATE, Plugin, Request
from hypernetes.apiserver.amounts import Amounts

Object = dict[str, Any]

_RANGES = scheme.by_name("v1", "limitranges")
_ANNOTATION = "kubernetes.io/limit-ranger"


def complete(request: Request) -> None:
    """Defaults, range by range; an annotation says what was set."""
    for limit_range in request.seen.all(_RANGES, request.namespace):
        notes = set_defaults(request.obj["spec"], limit_range)
        if notes:
            annotations = request.obj["metadata"].setdefault("annotations", {})
            annotations[_ANNOTATION] = f"LimitRanger plugin set: {'; '.join(notes)}"


def set_defaults(spec: Object, limit_range: Object) -> list[str]:
    """Gives a pod's containers what a LimitRange has for those that don't say it; returns what was set, in words."""
    defaults: dict[str, Amounts] = {"requests": {}, "limits": {}}
    for item in _items(limit_range, "Container"):
        defaults["requests"] |= item.get("defaultRequest") or {}
        defaults["limits"] |= item.get("default") or {}
    notes = []
    for kind, title in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(kind) or ():
            for what, word in (("requests", "request"), ("limits", "limit")):
                added = _set(container, what, defaults[what])
                if added:
                    notes.append(f"{', '.join(sorted(added))} {word} for {title} {container['name']}")
    return notes


def _set(container: Object, what: str, defaults: Amounts) -> list[str]:
    resources = container.get("resources") or {}
    present = resources.get(what) or {}
    missing = {name: value for name, value in defaults.items() if name not in present}
    if missing:
        container["resources"] = {**resources, what: {**present, **missing}}
    return list(missing)


def validate_pod(request: Request) -> None:
    spec = request.obj["spec"]
    for limit_range in request.seen.all(_RANGES, request.namespace):
        problems = list(pod_problems(spec, limit_range))
        if problems:
            raise request.forbidden(_joined(problems))


def pod_problems(spec: Object, limit_range: Object) -> Iterator[str]:
    for item in _items(limit_range, "Container"):
        for container in podresources.containers(spec):
            resources = container.get("resources") or {}
            yield from _bounds("Container", item, resources.get("requests") or {}, resources.get("limits") or {})
    for item in _items(limit_range, "Pod"):
        yield from _bounds("Pod", item, podresources.requests(spec), podresources.limits(spec))


def validate_claim(request: Request) -> None:
    asked = (request.obj["spec"].get("resources") or {}).get("requests") or {}
    for limit_range in request.seen.all(_RANGES, request.namespace):
        problems = list(claim_problems(asked, limit_range))
        if problems:
            raise request.forbidden(_joined(problems))


def claim_problems(asked: Amounts, limit_range: Object) -> Iterator[str]:
    """A claim's request is bounded itself: there is no limit that could be."""
    kind = "PersistentVolumeClaim"
    for item in _items(limit_range, kind):
        for name, least in sorted((item.get("min") or {}).items()):
            yield from _at_least(kind, name, least, asked.get(name), None)
        for name, most in sorted((item.get("max") or {}).items()):
            given = asked.get(name)
            if given is None:
                yield f"maximum {name} usage per {kind} is {most}.  No request is specified"
            elif amounts.value(given) > amounts.value(most):
                yield f"maximum {name} usage per {kind} is {most}, but request is {given}"


def _bounds(kind: str, item: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, least in sorted((item.get("min") or {}).items()):
        yield from _at_least(kind, name, least, requests.get(name), limits.get(name))
    for name, most in sorted((item.get("max") or {}).items()):
        yield from _at_most(kind, name, most, requests.get(name), limits.get(name))
    for name, ratio in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        yield from _ratio(kind, name, ratio, requests.get(name), limits.get(name))


def _at_least(kind: str, name: str, least: str, request: str | None, limit: str | None) -> Iterator[str]:
    bound = f"minimum {name} usage per {kind} is {least}"
    if request is None:
        yield f"{bound}.  No request is specified"
    elif amounts.value(request) < amounts.value(least):
        yield f"{bound}, but request is {request}"
    elif limit is not None and amounts.value(limit) < amounts.value(least):
        yield f"{bound}, but limit is {limit}"


def _at_most(kind: str, name: str, most: str, request: str | None, limit: str | None) -> Iterator[str]:
    bound = f"maximum {name} usage per {kind} is {most}"
    if limit is None:
        yield f"{bound}.  No limit is specified"
    elif amounts.value(limit) > amounts.value(most):
        yield f"{bound}, but limit is {limit}"
    elif request is not None and amounts.value(request) > amounts.value(most):
        yield f"{bound}, but request is {request}"


def _ratio(kind: str, name: str, most: str, request: str | None, limit: str | None) -> Iterator[str]:
    bound = f"{name} max limit to request ratio per {kind} is {most}"
    asked, allowed = (Decimal(0) if text is None else amounts.value(text) for text in (request, limit))
    if not asked:
        yield f"{bound}, but no request is specified or request is 0"
    elif not allowed:
        yield f"{bound}, but no limit is specified or limit is 0"
    elif allowed / asked > amounts.value(most):
        yield f"{bound}, but provided ratio is {allowed / asked:f}"


def _items(limit_range: Object, kind: str) -> list[Object]:
    return [item for item in limit_range.get("spec", {}).get("limits") or () if item.get("type") == kind]


def _joined(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"


PODS = Plugin("LimitRanger", (("", "pods"),), (CREATE,), mutate=complete, validate=validate_pod)
RESIZED_PODS = Plugin("LimitRanger", (("", "pods"),), (UPDATE,), ("resize",), validate=validate_pod)
CLAIMS = Plugin("LimitRanger", (("", "persistentvolumeclaims"),), (CREATE, UPDATE), validate=validate_claim)
