"""Names of resources that have amounts (`cpu`, `requests.storage`, `example.com/gpu`): which may stand where."""

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_OBJECTS = frozenset(
    {
        "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets",
        "services", "services.loadbalancers", "services.nodeports",
    }
)  # fmt: skip
_QUOTA = (
    _OBJECTS
    | {*_COMPUTE, *(f"requests.{name}" for name in _COMPUTE), *(f"limits.{name}" for name in _COMPUTE)}
    | {"requests.storage"}
)
_STANDARD = _QUOTA | {"storage"}
_HUGE_PAGES = "hugepages-"
_NATIVE_DOMAIN = "kubernetes.io/"


def of_quota(name: str, path: str) -> Causes:
    causes = standard(name, path)
    if "/" not in name and name not in _QUOTA and not _is_huge_pages(name):
        causes += validation.invalid(path, name, "must be a standard resource for quota")
    return causes


def of_container(name: str, path: str) -> Causes:
    causes = standard(name, path)
    if "/" not in name:
        if name not in _COMPUTE and not name.startswith(_HUGE_PAGES):
            causes += validation.invalid(path, name, "must be a standard resource for containers")
    elif not is_extended(name) and _NATIVE_DOMAIN not in name:
        causes += validation.invalid(path, name, "doesn't follow extended resource name standard")
    return causes


def standard(name: str, path: str) -> Causes:
    """A name of Kubernetes' own, or a qualified one."""
    causes = validation.qualified_name(name, path)
    if not causes and "/" not in name and name not in _STANDARD and not _is_huge_pages(name):
        causes += validation.invalid(path, name, "must be a standard resource type or fully qualified")
    return causes


def _is_huge_pages(name: str) -> bool:
    return name.startswith((_HUGE_PAGES, f"requests.{_HUGE_PAGES}"))


def is_huge_pages(name: str) -> bool:
    """Of a container."""
    return name.startswith(_HUGE_PAGES)


def is_extended(name: str) -> bool:
    """A resource that somebody else than Kubernetes counts, such as `example.com/gpu`."""
    if "/" not in name or _NATIVE_DOMAIN in name or name.startswith("requests."):
        return False
    return not validation.qualified_name(f"requests.{name}", "")


def amount(name: str, value: str, path: str) -> Causes:
    """What may be had of the resource: nothing below zero, and of what is counted no parts."""
    causes = validation.non_negative_quantity(value, path)
    if causes or not (name in _OBJECTS or is_extended(name)):
        return causes
    number = quantity.parse(value)
    return [] if number == number.to_integral_value() else validation.invalid(path, value, "must be an integer")
