"""What a whole tenant may hold, over all its namespaces: `spec.quota` of a Tenant (pure).

The names are those of ResourceQuota, of cluster-scoped kinds too (`count/networks.hypernetes.io`), and some that say
the same for short. A container that has no limit counts with what it asks for: its machine gives it no more.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hypernetes.api.scheme import Resource
from hypernetes.apiserver import amounts
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.quota import usage
from hypernetes.apiserver.quota.ledger import Refused

Object = dict[str, Any]

# What other providers bring has its names here: each is an amount of what ResourceQuota can count.
SHORT = {
    "storage": "requests.storage",
    "volumes": "persistentvolumeclaims",
    "loadBalancers": "services.loadbalancers",
}
FLOATING_IPS = "floatingIPs"  # addresses outside of the tenant that its services have
_PODS, _SERVICES = ("", "pods"), ("", "services")


def names(resource: Resource, bounded: Iterable[str]) -> list[str]:
    """Those of a quota's names that objects of this resource count for."""
    own = f"count/{resource.group_resource}"
    counted = {} if not resource.namespaced else {name: SHORT.get(name, name) for name in bounded}
    known = set(usage.names(resource, counted.values()))
    return [
        name
        for name in bounded
        if name == own
        or counted.get(name) in known
        or (name == FLOATING_IPS and (resource.group, resource.name) == _SERVICES)
    ]


def used_by(resource: Resource, obj: Object | None, wanted: Iterable[str]) -> Amounts:
    """How much of the wanted names an object uses."""
    if obj is None:
        return {}
    key = (resource.group, resource.name)
    found = usage.of(resource, {**obj, "spec": _limited(obj["spec"])} if key == _PODS else obj)
    if key == _SERVICES:
        found[FLOATING_IPS] = str(_floating(obj["spec"]))
    every = {name: found.get(SHORT.get(name, name)) for name in wanted}
    return {name: amount for name, amount in every.items() if amount is not None}


def change(resource: Resource, wanted: Iterable[str], new: Object | None, old: Object | None) -> Amounts:
    """By how much the use of the wanted names changes with a write; nothing where it doesn't."""
    before, after = (used_by(resource, obj, wanted) for obj in (old, new))
    return amounts.without_zeros(amounts.subtract(after, before))


def charged(hard: Mapping[str, str], used: Amounts, changed: Amounts, *, free: bool = False) -> Amounts:
    """What is used after a change. One that is `free` (of a status) is counted, but not refused. Raises Refused."""
    sums = {name: amounts.plus(used.get(name, amounts.ZERO), amount) for name, amount in changed.items()}
    grown = [name for name, amount in changed.items() if amounts.value(amount) > 0]
    over = [name for name in grown if amounts.value(sums[name]) > amounts.value(hard[name])]
    if over and not free:
        asked, have, most = (amounts.shown({name: of[name] for name in over}) for of in (changed, used, hard))
        raise Refused(f"exceeded quota of the tenant, requested: {asked}, used: {have}, limited: {most}")
    return {**used, **{name: text if amounts.value(text) > 0 else amounts.ZERO for name, text in sums.items()}}


def check_stated(pod: Object, bounded: Iterable[str]) -> None:
    """A pod must say how much it wants of what is bounded (spec.podDefaults says it for it). Raises Refused."""
    missing = usage.unstated({**pod, "spec": _limited(pod["spec"])}, bounded)
    if missing:
        texts = "; ".join(f"{what} for: {','.join(containers)}" for what, containers in missing.items())
        raise Refused(f"quota of the tenant: must specify {texts}")


def counted(resource: Resource, wanted: Iterable[str], objects: Iterable[Object]) -> Amounts:
    """What objects that are there use."""
    return amounts.total(used_by(resource, obj, wanted) for obj in objects)


def _limited(spec: Object) -> Object:
    return {**spec, **{kind: list(map(_with_limits, spec[kind])) for kind in _CONTAINERS if spec.get(kind)}}


def _with_limits(container: Object) -> Object:
    resources = container.get("resources") or {}
    limits = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return {**container, "resources": {**resources, "limits": limits}}


def _floating(service: Object) -> int:
    if service.get("type") == "NetworkProvider":
        return len(service.get("externalIPs") or ())
    return int(service.get("type") == "LoadBalancer")


_CONTAINERS = ("containers", "initContainers")
