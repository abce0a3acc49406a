"""The end of a tenant, in an order that strands nothing; the tenant's conditions say what is left.

    pods ─► networks, once the ports of their machines are gone ─► other objects ─► namespaces and the range of keys

Pods are stopped with their grace period, and finalizers are waited for; disruption budgets are not. Whoever of the
tenant holds something back does so until the grace of the tenant's deletion is over; then what is left goes without
them. The finalizers of networks, volumes, snapshots and attachments are always waited for: what they stand for is
outside of the store.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import structlog

from hypernetes.api import scheme, times
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import deletion, registry
from hypernetes.apiserver.handlers.options import DeleteOptions
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Entry, Mirror
from hypernetes.apiserver.objects import Decide, Decision, Objects, Place, Put, Remove, missing
from hypernetes.apiserver.registry import addresses, tenants
from hypernetes.apiserver.storage.base import RevisionMismatch, Store, Unavailable

Object = dict[str, Any]

_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")
_PODS = scheme.by_name("v1", "pods")
_NAMESPACES = scheme.by_name("v1", "namespaces")
_NETWORKS = scheme.by_name("hypernetes.io/v1", "networks")
_PORTS = scheme.by_name("hypernetes.io/v1", "ports")
_INTERNAL_KINDS = ("nodeports", "quotas", "tokenkeys", "users")  # that have a tenant below them
_DEADLINE_SECONDS = 10.0  # for the mirror to follow the store
_LOOKED_AT_BYTES = 1024 * 1024  # between two looks at what else there is to do
# By resource, finalizers of controllers that stand for something outside of the store: only they let go of it.
_OUTSIDE = {
    "networks.hypernetes.io": "hypernetes.io/network",
    "nodevolumes.hypernetes.io": "hypernetes.io/node-volume",  # a file of a node
    "persistentvolumeclaims": "hypernetes.io/volume-provisioning",  # a volume that is being made
    "persistentvolumes": "external-provisioner.volume.kubernetes.io/finalizer",  # one that is to be deleted
    "volumeattachments.storage.k8s.io": "external-attacher/",  # + driver
    "volumesnapshotcontents.snapshot.storage.k8s.io": (
        "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
    ),
}

CONTENT, FINALIZERS = "ContentRemaining", "FinalizersRemaining"  # conditions
PODS_STOPPING, NETWORKS_ENDING, OBJECTS_ENDING = "PodsStopping", "NetworksEnding", "ObjectsEnding"  # their reasons

log = structlog.get_logger()


def patience_ends(tenant: Object) -> datetime:
    """When the tenant's own finalizers stop to count."""
    grace = tenant["spec"].get("deletionGracePeriodSeconds", tenants.DELETION_GRACE_SECONDS)
    return times.parse_time(tenant["metadata"]["deletionTimestamp"]) + timedelta(seconds=grace)


def ended(place: Place, obj: Object | None, now: datetime, *, past: bool = False) -> Decision:
    """An object that is told to end, or ends. Once patience is `past`, only those finalizers count that stand for
    something outside of the store.

    Raises StatusError 404.
    """
    if obj is None:
        raise missing(place)
    strategy = registry.of(place.resource)
    if past:
        finalizers = [name for name in obj["metadata"].get("finalizers") or () if _is_outside(place.resource, name)]
        obj = {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}}
        if not finalizers:
            return Remove()
    decision = deletion.decide(place, strategy, obj, DeleteOptions(propagation="Background"), now)
    if isinstance(decision, Put) and deletion.finished(decision.obj, strategy):
        return Remove()
    return decision


def told(tenant: Object, reason: str, counts: Mapping[str, int], held: Mapping[str, int], now: datetime) -> Object:
    """The tenant with its conditions: what is left by kind, and which finalizers in how many objects."""
    left = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    told = tenants.with_condition(tenant, (CONTENT, "True", reason, f"left: {left}"), now)
    if not held:
        none = (FINALIZERS, "False", "ContentHasNoFinalizers", "no finalizer is waited for")
        return tenants.with_condition(told, none, now)
    shown = ", ".join(f"{name} in {number} objects" for name, number in sorted(held.items()))
    until = times.format_time(patience_ends(tenant))
    message = f"waits for {shown}; those of the tenant count until {until}"
    return tenants.with_condition(told, (FINALIZERS, "True", "SomeFinalizersRemain", message), now)


class Teardown:
    """Removes what a tenant has. Any part may be interrupted and is done again."""

    def __init__(self, store: Store, mirror: Mirror, keys: Keys, objects: Objects, clock: Any) -> None:
        self._store, self._mirror, self._keys, self._objects = store, mirror, keys, objects
        self._clock = clock

    async def remove(self, tenant: Object) -> bool:
        """Removes everything a tenant has, and then the tenant; False while others have to do something first."""
        name, past = tenant["metadata"]["name"], self._clock() >= patience_ends(tenant)
        others = [each for each in _stored() if each not in (_PODS, _NETWORKS, _PORTS, _NAMESPACES)]
        for reason, resources in (
            (PODS_STOPPING, [_PODS]), (NETWORKS_ENDING, [_NETWORKS]), (OBJECTS_ENDING, [*others, _NAMESPACES]),
        ):  # fmt: skip
            if await self._end(name, resources, past=past):
                await self._tell(name, reason)
                return False
        await self.sweep(name)
        await self._objects.change(Place(_TENANTS, SYSTEM_TENANT, "", name), _released)
        await self.sweep(name)  # what was being written as it ended
        log.info("tenant removed", tenant=name)
        return True

    async def sweep(self, tenant: str, *, before: int | None = None) -> None:
        """Removes all keys of a tenant, whatever they say, or those that were written before a revision."""
        while entries := [each for each in self._everything(tenant) if before is None or each.revision < before]:
            await self._delete(entries)

    async def _end(self, tenant: str, resources: Sequence[Resource], *, past: bool) -> bool:
        """Whether something is left of these resources. Namespaces stay until the end, unless they are waited for."""
        left, plain = False, []
        for resource in resources:
            for entry in list(self._of(resource, tenant)):
                assert entry.name is not None
                held = _is_held(resource, entry)
                if not held and resource != _NAMESPACES:
                    plain.append(entry)
                elif held and not (past and resource == _NAMESPACES):
                    place = Place(resource, tenant, entry.name.namespace, entry.name.name)
                    if past or not _is_ending(entry):
                        decide = partial(ended, place, now=self._clock(), past=past)
                        left = await self._change(place, decide) or left
                    else:
                        left = True
        await self._delete(plain)
        return left

    async def _change(self, place: Place, decide: Decide) -> bool:
        """Whether the object is still there afterwards."""
        try:
            return not (await self._objects.change(place, decide)).removed
        except StatusError as error:
            if error.reason != "NotFound":  # somebody else was faster
                raise
            return False

    async def _tell(self, tenant: str, reason: str) -> None:
        """Writes the conditions, if they change."""
        counts = {resource.group_resource: sum(1 for _ in self._of(resource, tenant)) for resource in _stored()}
        counts = {kind: number for kind, number in counts.items() if number}
        held: Counter[str] = Counter()
        looked_at = 0
        for entry in list(self._everything(tenant)):
            held.update(_finalizers(entry))
            looked_at += len(entry.data)
            if looked_at > _LOOKED_AT_BYTES:  # others are waiting
                looked_at = 0
                await asyncio.sleep(0)

        def decide(old: Object | None) -> Put:
            if old is None:
                raise StatusError("NotFound", f"tenant {tenant} is gone")
            return Put(told(old, reason, counts, held, self._clock()))

        await self._objects.change(Place(_TENANTS, SYSTEM_TENANT, "", tenant), decide)

    async def _delete(self, entries: Iterable[Entry]) -> None:
        """Removes keys as they are known, and returns when the mirror has heard of it."""
        for entry in entries:
            with suppress(RevisionMismatch):  # it changed meanwhile: the next round takes it
                await self._store.delete(entry.key, entry.revision)
        await reached(self._mirror, await self._store.revision())

    def _everything(self, tenant: str) -> Iterator[Entry]:
        for resource in _stored():
            yield from self._of(resource, tenant)
        for kind in _INTERNAL_KINDS:
            yield from self._mirror.range(self._keys.internal(kind, tenant, ""))

    def _of(self, resource: Resource, tenant: str) -> Iterator[Entry]:
        """What is stored; what it implies goes with it."""
        return (entry for entry in self._mirror.range(self._keys.range(resource, tenant)) if entry.stored)


async def reached(mirror: Mirror, revision: int) -> None:
    """Returns when the mirror knows of everything up to `revision`. Raises Unavailable."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await mirror.wait_for(revision)
    except TimeoutError as error:
        raise Unavailable("the mirror falls behind") from error


def _stored() -> list[Resource]:
    return [resource for resource in scheme.served() if resource.stored is resource]


def _is_outside(resource: Resource, finalizer: str) -> bool:
    own = _OUTSIDE.get(resource.group_resource)
    return own is not None and (finalizer == own or (own.endswith("/") and finalizer.startswith(own)))


def _is_held(resource: Resource, entry: Entry) -> bool:
    """Whether its end takes more than the removal of its key: pods have machines, and finalizers are somebody's."""
    return resource in (_PODS, _NETWORKS) or bool(_finalizers(entry))


def _is_ending(entry: Entry) -> bool:
    if b'"deletionTimestamp"' not in entry.data:
        return False
    obj = orjson.loads(entry.data)
    assert entry.name is not None
    resource = scheme.by_kind(obj["apiVersion"], obj["kind"])
    return "deletionTimestamp" in obj["metadata"] and not deletion.finished(obj, registry.of(resource))


def _finalizers(entry: Entry) -> list[str]:
    if b'"finalizers"' not in entry.data or entry.name is None:
        return []
    named = orjson.loads(entry.data)["metadata"].get("finalizers") or []
    return [name for name in named if name != addresses.FINALIZER]  # the addresses of a range end with it


def _released(tenant: Object | None) -> Put | Remove:
    """A tenant that has nothing any more; the provider may have finalizers of its own."""
    if tenant is None:
        raise StatusError("NotFound", "the tenant is gone")
    kept = [name for name in tenant["metadata"].get("finalizers") or () if name != tenants.FINALIZER]
    if not kept:
        return Remove()
    return Put({**tenant, "metadata": {**tenant["metadata"], "finalizers": kept}})
