"""How much of what a quota can bound one object uses, by kind."""

from collections.abc import Callable, Iterable
from typing import Any

from hypernetes.api.scheme import Resource
from hypernetes.apiserver import amounts, podresources
from hypernetes.apiserver.amounts import Amounts

Object = dict[str, Any]

ONE = "1"
_TERMINAL = ("Succeeded", "Failed")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_HUGEPAGES, _REQUESTS = "hugepages-", "requests."
_CLASS = ".storageclass.storage.k8s.io/"
_NOT_COUNTED = frozenset({("", "events"), ("events.k8s.io", "events")})
# Kinds that have had a name of their own since before `count/…`.
_ALIASED = frozenset({"configmaps", "secrets", "resourcequotas", "replicationcontrollers"})
_POD_NAMES = frozenset(["pods", *_COMPUTE, *(f"{what}.{name}" for what in ("requests", "limits") for name in _COMPUTE)])
_SERVICE_NAMES = frozenset({"services", "services.nodeports", "services.loadbalancers"})
_CLAIM_NAMES = frozenset({"persistentvolumeclaims", "requests.storage"})
# Before quotas bounded limits too, these stood for the requests; a pod must then say how much it wants.
MUST_BE_STATED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})


def names(resource: Resource, bounded: Iterable[str]) -> list[str]:
    """Those of a quota's names that objects of this resource count for."""
    key = (resource.group, resource.name)
    if key in _NOT_COUNTED or not resource.namespaced:
        return []
    uses = _USES.get(key)
    own = {f"count/{resource.group_resource}", *({resource.name} if _is_aliased(resource) else ())}
    return [name for name in bounded if name in own or (uses is not None and uses(name))]


def of(resource: Resource, obj: Object) -> Amounts:
    """Everything the object uses; what a quota doesn't bound is in it, too."""
    used = {f"count/{resource.group_resource}": ONE}
    if _is_aliased(resource):
        used[resource.name] = ONE
    measure = _MEASURES.get((resource.group, resource.name))
    return used if measure is None else {**used, **measure(obj)}


def unstated(pod: Object, bounded: Iterable[str]) -> dict[str, list[str]]:
    """By name of what the quota bounds: the containers that don't say how much of it they want."""
    missing: dict[str, list[str]] = {}
    for name in sorted(MUST_BE_STATED.intersection(bounded)):
        for container in podresources.containers(pod["spec"]):
            resources = container.get("resources") or {}
            if name not in _compute(resources.get("requests") or {}, resources.get("limits") or {}):
                missing.setdefault(name, []).append(container["name"])
    return {name: sorted(containers) for name, containers in missing.items()}


def _is_aliased(resource: Resource) -> bool:
    return not resource.group and resource.name in _ALIASED


def _pod(pod: Object) -> Amounts:
    """What a pod that has ended had is free again; the object itself still counts."""
    if (pod.get("status") or {}).get("phase") in _TERMINAL:
        return {}
    spec = pod["spec"]
    return {"pods": ONE, **_compute(podresources.requests(spec), podresources.limits(spec))}


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    used: Amounts = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith(_HUGEPAGES):
            used[name] = used[f"{_REQUESTS}{name}"] = amount
        elif _is_extended(name):
            used[f"{_REQUESTS}{name}"] = amount
    used |= {f"limits.{name}": amount for name, amount in limits.items() if name in _COMPUTE}
    return used


def _counts_for_pods(name: str) -> bool:
    if name in _POD_NAMES or name.startswith((_HUGEPAGES, _REQUESTS + _HUGEPAGES)):
        return True
    return name.startswith(_REQUESTS) and _CLASS not in name and _is_extended(name.removeprefix(_REQUESTS))


def _is_extended(name: str) -> bool:
    """Whether it is a device plugin's, say: `example.com/gpu`."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def _service(service: Object) -> Amounts:
    spec = service["spec"]
    kind, ports = spec.get("type"), spec.get("ports") or ()
    balanced = kind in ("LoadBalancer", "NetworkProvider")
    if kind == "NodePort" or (balanced and spec.get("allocateLoadBalancerNodePorts") is not False):
        node_ports = len(ports)
    elif balanced:
        node_ports = sum(1 for port in ports if port.get("nodePort"))
    else:
        node_ports = 0
    return {"services": ONE, "services.nodeports": str(node_ports), "services.loadbalancers": str(int(balanced))}


def _claim(claim: Object) -> Amounts:
    storage = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", amounts.ZERO)
    used = {"persistentvolumeclaims": ONE, "requests.storage": storage}
    name = claim["spec"].get("storageClassName")
    return used | ({f"{name}{_CLASS}{key}": amount for key, amount in used.items()} if name else {})


_MEASURES: dict[tuple[str, str], Callable[[Object], Amounts]] = {
    ("", "pods"): _pod,
    ("", "services"): _service,
    ("", "persistentvolumeclaims"): _claim,
}
_USES: dict[tuple[str, str], Callable[[str], bool]] = {
    ("", "pods"): _counts_for_pods,
    ("", "services"): _SERVICE_NAMES.__contains__,
    ("", "persistentvolumeclaims"): lambda name: name in _CLAIM_NAMES or _CLASS in name,
}
