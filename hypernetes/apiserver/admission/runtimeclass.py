"""RuntimeClass: what a pod's class costs beside its containers, and where it runs.

The overhead is the class's alone: a pod that brings another one is refused. What a machine costs is the provider's to
say: of a tenant's own class the overhead is that of the provider's class with its name, or else with its handler.
"""

from typing import Any

from hypernetes.api import quantity, scheme
from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

Object = dict[str, Any]

_CLASSES = scheme.by_name("node.k8s.io/v1", "runtimeclasses")


def admit(request: Request) -> None:
    spec = request.obj["spec"]
    found = _class_of(request)
    if found is None:
        return
    overhead = _overhead(request, found)
    if overhead and not spec.get("overhead"):
        spec["overhead"] = dict(overhead)
    scheduling = found.get("scheduling") or {}
    _select(request, spec, scheduling.get("nodeSelector") or {})
    present = spec.get("tolerations") or []
    added = [each for each in scheduling.get("tolerations") or () if each not in present]
    if added:
        spec["tolerations"] = [*present, *added]


def _class_of(request: Request) -> Object | None:
    name = request.obj["spec"].get("runtimeClassName")
    if not name:
        return None
    found = request.seen.one(_CLASSES, "", name) or request.seen.provider.one(_CLASSES, "", name)
    if found is None:
        raise request.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _overhead(request: Request, found: Object) -> dict[str, str]:
    """What a pod of the class costs beside its containers."""
    provider = request.seen.provider
    own = provider.one(_CLASSES, "", found["metadata"]["name"])
    if own is None or own["handler"] != found["handler"]:
        own = next((each for each in provider.all(_CLASSES) if each["handler"] == found["handler"]), None)
    return ((own or {}).get("overhead") or {}).get("podFixed") or {}


def _select(request: Request, spec: Object, wanted: dict[str, str]) -> None:
    selector = spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if selector.get(key, value) != value:
            why = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
            raise request.forbidden(f"{why}pod.spec.nodeSelector[{key}] = {selector[key]}")
    if wanted:
        spec["nodeSelector"] = {**selector, **wanted}


def validate(request: Request) -> None:
    found = _class_of(request)
    fixed = {} if found is None else _overhead(request, found)
    overhead = request.obj["spec"].get("overhead") or {}
    if not overhead and not fixed:
        return
    if found is None:
        raise request.forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
    if _amounts(overhead) != _amounts(fixed):
        why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        raise request.forbidden(why)


def _amounts(overhead: dict[str, str]) -> dict[str, Any]:
    return {name: quantity.parse(amount) for name, amount in overhead.items()}


PLUGIN = Plugin("RuntimeClass", (("", "pods"),), (CREATE,), mutate=admit, validate=validate)
