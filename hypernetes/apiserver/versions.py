"""Two versions or groups of the same stored objects: how an object is shown by the one that isn't stored.

What there is of them, and which is stored, the scheme says (`Resource.stored`).
"""

from collections.abc import Callable
from typing import Any

from hypernetes.api.scheme import Resource
from hypernetes.apiserver.registry import autoscalerversions, events

Object = dict[str, Any]
Convert = Callable[[Object], Object]

# (apiVersion, resource) -> from the stored form, and to it; others differ by their apiVersion alone
_CONVERSIONS: dict[tuple[str, str], tuple[Convert, Convert]] = {
    ("autoscaling/v1", "horizontalpodautoscalers"): (autoscalerversions.from_v2, autoscalerversions.to_v2),
    ("events.k8s.io/v1", "events"): (events.from_core, events.to_core),
}


def differs(resource: Resource) -> bool:
    """Whether the resource shows more than another apiVersion than what is stored."""
    return (resource.api_version, resource.name) in _CONVERSIONS


def served(resource: Resource, obj: Object) -> Object:
    """A stored object as the resource shows it."""
    if resource.stored is resource:
        return obj
    if differs(resource):
        return _CONVERSIONS[resource.api_version, resource.name][0](obj)
    return {**obj, "apiVersion": resource.api_version}


def stored(resource: Resource, obj: Object) -> Object:
    """An object of the resource in the form it is stored in."""
    if resource.stored is resource:
        return obj
    if differs(resource):
        return _CONVERSIONS[resource.api_version, resource.name][1](obj)
    return {**obj, "apiVersion": resource.stored.api_version}
