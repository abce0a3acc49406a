"""Requests and limits of containers and of pods as a whole."""

from fractions import Fraction
from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

HUGE_PAGES = "hugepages-"
_OF_CONTAINERS = frozenset({"cpu", "memory", "ephemeral-storage"})
_OF_PODS = ("cpu", "memory")
# Names without a domain that mean something to quotas, though not in a container.
_COUNTED = frozenset(
    {
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
_KNOWN = (
    _OF_CONTAINERS
    | _COUNTED
    | {"storage", "requests.storage"}
    | {f"{part}.{name}" for part in ("requests", "limits") for name in _OF_CONTAINERS}
)
_QUOTA_HUGE_PAGES = "requests.hugepages-"


def validate(resources: Object, claims: frozenset[str], path: str) -> Causes:
    """Of a container; `claims` are the names of the pod's resource claims."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes: Causes = []
    if limits or requests:
        for name, amount in limits.items():
            if name not in _OF_PODS or amount[:1] == "-":
                causes += _amount(name, amount, f"{path}.limits[{name}]")
        for name, amount in requests.items():
            if name not in _OF_PODS or amount[:1] == "-":
                causes += _amount(name, amount, f"{path}.requests[{name}]")
        causes += _compare(requests, limits, path)
        causes += _huge_pages(requests, limits, path)
    if resources.get("claims"):
        causes += _claims(resources["claims"], claims, f"{path}.claims")
    return causes


def _amount(name: str, amount: str, path: str) -> Causes:
    causes = _name(name, path)
    if not causes or "/" not in name:  # upstream reads on after a name without a domain
        causes += _container_name(name, path)
    value = quantity.parse(amount)
    if value < 0:
        causes += validation.invalid(path, amount, "must be greater than or equal to 0")
    if (name in _COUNTED or is_extended(name)) and value != value.to_integral_value():
        causes += validation.invalid(path, amount, "must be an integer")
    return causes


def _name(name: str, path: str) -> Causes:
    causes = validation.qualified_name(name, path)
    if not causes and "/" not in name and name not in _KNOWN and not name.startswith((HUGE_PAGES, _QUOTA_HUGE_PAGES)):
        causes += validation.invalid(path, name, "must be a standard resource type or fully qualified")
    return causes


def _container_name(name: str, path: str) -> Causes:
    if "/" not in name:
        if name not in _OF_CONTAINERS and not name.startswith(HUGE_PAGES):
            return validation.invalid(path, name, "must be a standard resource for containers")
    elif "kubernetes.io/" not in name and not is_extended(name):
        return validation.invalid(path, name, "doesn't follow extended resource name standard")
    return []


def is_extended(name: str) -> bool:
    """A resource of somebody's domain, of which there are only whole ones: `example.com/gpu`."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not validation.qualified_name(f"requests.{name}", "")


def _compare(requests: Object, limits: Object, path: str) -> Causes:
    """No request is above its limit; what can't be shared out twice is requested exactly."""
    causes: Causes = []
    for name, amount in requests.items():
        shared = ("/" not in name or "kubernetes.io/" in name) and not name.startswith(HUGE_PAGES)
        limit = limits.get(name)
        if limit is None:
            if not shared:
                causes += validation.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif amount != limit:
            asked, most = quantity.parse(amount), quantity.parse(limit)
            if not shared and asked != most:
                causes += validation.invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
            elif asked > most:
                why = f"must be less than or equal to {name} limit of {limit}"
                causes += validation.invalid(f"{path}.requests", amount, why)
    return causes


def _huge_pages(requests: Object, limits: Object, path: str) -> Causes:
    causes: Causes = []
    found = False
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if name.startswith(HUGE_PAGES):
                found = True
                causes += _whole_pages(name, amount, f"{path}.{part}[{name}]")
    if found and not any(name in amounts for name in _OF_PODS for amounts in (limits, requests)):
        causes += validation.forbidden(path, "HugePages require cpu or memory")
    return causes


def _whole_pages(name: str, amount: str, path: str) -> Causes:
    try:
        size = quantity.parse(name.removeprefix(HUGE_PAGES))
    except ValueError:
        return validation.invalid(path, amount, f"field's value must be a multiple of the page size of {name}")
    if size <= 0 or Fraction(quantity.parse(amount)) % Fraction(size):  # exact, however large
        return validation.invalid(path, amount, f"field's value must be a multiple of {size} bytes")
    return []


def _claims(claims: Any, known: frozenset[str], path: str) -> Causes:
    causes: Causes = []
    seen: set[tuple[str, str]] = set()
    for index, claim in enumerate(claims):
        name, request = claim.get("name") or "", claim.get("request") or ""
        if not name:
            causes += validation.required(f"{path}[{index}]")
        elif (name, request) in seen or (name, "") in seen:
            causes += validation.duplicate(f"{path}[{index}]", name)
        elif name not in known:
            causes += validation.not_found(f"{path}[{index}]", name)
        seen.add((name, request))
        if request:
            causes += validation.dns_label(request, f"{path}[{index}].request")
    return causes


def validate_pod(spec: Object, path: str) -> Causes:
    """spec.resources: of all containers together (KEP-2837)."""
    resources = spec["resources"]
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes: Causes = []
    if resources.get("claims"):
        causes += validation.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            at = f"{path}.{part}[{name}]"
            wrong = _name(name, at)
            if not wrong and name not in _OF_PODS and not name.startswith(HUGE_PAGES):
                wrong += validation.not_supported(at, name, (*_OF_PODS, HUGE_PAGES))
            causes += wrong + validation.non_negative_quantity(amount, at)
    causes += _compare(requests, limits, path) + _huge_pages(requests, limits, path)
    return causes + _within_pod(spec, requests, limits, path)


def _within_pod(spec: Object, requests: Object, limits: Object, path: str) -> Causes:
    """Containers request no more together, and none is limited to more alone, than the pod."""
    causes: Causes = []
    for name in (*_OF_PODS, *(each for each in requests if each.startswith(HUGE_PAGES))):
        total = quantity.parse("0")
        for container in spec.get("containers") or ():
            amount = ((container.get("resources") or {}).get("requests") or {}).get(name)
            total += quantity.parse(amount) if amount is not None else 0
        if total > quantity.parse(requests.get(name, "0")):
            why = f"must be greater than or equal to aggregate container requests of {total}"
            causes += validation.invalid(f"{path}.requests[{name}]", requests.get(name, "0"), why)
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
                why = f"must be less than or equal to pod limits of {limits[name]}"
                causes += validation.invalid(f"{path}.containers[{index}][{name}].limits", amount, why)
    return causes
