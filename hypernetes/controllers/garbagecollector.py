"""Deletes what nobody owns any more: objects all of whose owners are gone.

    owner gone (or being deleted in the foreground) ─► its dependents are looked at
      some owner is there          ─► references to the absent ones are taken away
      owners wait for dependents   ─► the dependent goes, in the foreground too if it has dependents itself
      all owners are absent        ─► the dependent goes
    owner with finalizer `foregroundDeletion` ─► freed when no dependent blocks it
    owner with finalizer `orphan`             ─► its dependents lose the reference, then it is freed

A cache can't prove an absence, so an owner that isn't in it is asked of the server before anything is deleted.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.models.core_v1 import ObjectReference
from hypernetes.api.models.meta_v1 import ObjectMeta, OwnerReference
from hypernetes.api.scheme import Resource
from hypernetes.client import Client, EventRecorder, Key, WorkQueue, is_reason
from hypernetes.client.informer import Following
from hypernetes.client.metadata import Item
from hypernetes.client.rest import delete_options
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, uid_index

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_ABSENT = 512  # owners known to be gone; upstream's number


@dataclass(frozen=True, slots=True)
class Owners:
    """An object's owners by what they mean for it."""

    solid: tuple[OwnerReference, ...]  # there, and staying
    waiting: tuple[OwnerReference, ...]  # being deleted, and waiting for their dependents
    absent: tuple[OwnerReference, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a dependent: references to drop, or a deletion with this propagation."""

    drop: frozenset[str] = frozenset()  # owner UIDs
    propagation: str | None = None


def judge(metadata: ObjectMeta, owners: Owners, *, has_dependents: bool) -> Verdict | None:
    """None: it stays as it is."""
    if owners.solid:
        gone = frozenset(owner.uid for owner in (*owners.waiting, *owners.absent))
        return Verdict(drop=gone) if gone else None
    if not owners.waiting and not owners.absent:
        return None
    if metadata.deletion_timestamp is not None:
        return None
    if owners.waiting and has_dependents:
        return Verdict(propagation="Foreground")
    if ORPHAN in metadata.finalizers:
        return Verdict(propagation="Orphan")
    return Verdict(propagation="Foreground" if FOREGROUND in metadata.finalizers else "Background")


def blocks(dependent: ObjectMeta, owner_uid: str) -> bool:
    return any(entry.uid == owner_uid and entry.block_owner_deletion for entry in dependent.owner_references)


class GarbageCollector(Controller):
    name = "garbagecollector"
    workers = 8

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.queue: WorkQueue[Any] = WorkQueue(self.name)  # of Items: a key alone doesn't say the kind
        self._objects = informers.metadata()
        self._objects.on_change(self._changed)
        # Owners that the server didn't have: no UID comes back, so one question is enough for all its dependents.
        self._absent: OrderedDict[tuple[Resource, Key, str], None] = OrderedDict()

    def needs(self) -> list[Following[Any, Any]]:
        return [self._objects]

    def _changed(self, item: Item, old: Any, new: Any) -> None:
        if new is None or (old is not None and old.metadata.uid != new.metadata.uid):
            uid = old.metadata.uid
            self._enqueue(dependent for dependent, _ in self._dependents(item.key.tenant, uid))
            # Its own owner may have waited for it.
            self._enqueue(self._owners_in_cache(item.key.tenant, old.metadata))
            if new is None:
                return
        metadata = new.metadata
        references_changed = old is None or old.metadata.owner_references != metadata.owner_references
        if metadata.owner_references and references_changed:
            self.queue.add(item)
        if metadata.deletion_timestamp is not None and {FOREGROUND, ORPHAN} & set(metadata.finalizers):
            self.queue.add(item)

    def _enqueue(self, items: Iterable[Item]) -> None:
        for item in items:
            self.queue.add(item)

    def _dependents(self, tenant: str, uid: str | None) -> list[tuple[Item, ObjectMeta]]:
        index = uid_index(tenant, uid)
        return [
            (item, obj.metadata)
            for item in self._objects.index_keys("owner", index)
            if (obj := self._objects.get(item)) is not None
        ]

    def _owners_in_cache(self, tenant: str, metadata: ObjectMeta) -> list[Item]:
        return [
            item
            for owner in metadata.owner_references
            for item in self._objects.index_keys("uid", uid_index(tenant, owner.uid))
        ]

    async def reconcile(self, item: Any) -> float | None:
        obj = self._objects.get(item)
        if obj is None:
            return None
        metadata: ObjectMeta = obj.metadata
        if metadata.deletion_timestamp is not None:
            if ORPHAN in metadata.finalizers:
                await self._orphan_dependents(item, metadata)
                return None
            if FOREGROUND in metadata.finalizers:
                await self._delete_dependents(item, metadata)
            elif metadata.owner_references:
                return None  # it goes anyway, and a pod of a namespace that ends is one of thousands
        if metadata.owner_references and not self._surely_owned(item, metadata):
            await self._attend(item)
        return None

    def _surely_owned(self, item: Item, metadata: ObjectMeta) -> bool:
        """By the caches alone: spares a request for each object there is when a process starts."""
        owners = [self._cached_owner(item, reference) for reference in metadata.owner_references]
        return all(owner is not None and owner.deletion_timestamp is None for owner in owners)

    def _cached_owner(self, item: Item, reference: OwnerReference) -> ObjectMeta | None:
        resource = self._owner_resource(reference)
        if resource is None:
            return None
        cached = self._objects.get(Item(resource, _owner_key(item, resource, reference)))
        return cached.metadata if cached is not None and cached.metadata.uid == reference.uid else None

    def _owner_resource(self, reference: OwnerReference) -> Resource | None:
        """None for a kind that isn't built in, and of which nothing was ever seen."""
        try:
            return scheme.by_kind(reference.api_version_, reference.kind_).stored
        except KeyError:
            return self._objects.kind(reference.api_version_, reference.kind_)

    async def _attend(self, item: Item) -> None:
        """Judges one dependent, by its live state: the cached references may have changed."""
        live = await self._live(item.resource, item.key)
        if live is None:
            return
        owners = await self._classify(item, live)
        has_dependents = bool(self._dependents(item.key.tenant, live.uid))
        verdict = judge(live, owners, has_dependents=has_dependents)
        if verdict is None:
            return
        if verdict.drop:
            await self._drop_references(item, live, verdict.drop)
            return
        options = delete_options(uid=live.uid, resource_version=live.resource_version, propagation=verdict.propagation)
        await self._change("DELETE", item, options)

    async def _classify(self, item: Item, metadata: ObjectMeta) -> Owners:
        solid, waiting, absent = [], [], []
        for reference in metadata.owner_references:
            owner = await self._owner(item, metadata, reference)
            if owner is None:
                absent.append(reference)
            elif owner.deletion_timestamp is not None and FOREGROUND in owner.finalizers:
                waiting.append(reference)
            else:
                solid.append(reference)
        return Owners(tuple(solid), tuple(waiting), tuple(absent))

    async def _owner(self, item: Item, metadata: ObjectMeta, reference: OwnerReference) -> ObjectMeta | None:
        """None where the server says that this very owner doesn't exist."""
        resource = self._owner_resource(reference)
        if resource is None:
            # Of a kind that we can't look up; an owner we know nothing of is presumed there.
            return ObjectMeta(uid=reference.uid)
        cached = self._cached_owner(item, reference)
        if cached is not None:
            return cached
        if resource.namespaced and not item.key.namespace:
            # A cluster-scoped object can't be owned by a namespaced one. That can't be resolved, and deletes nothing.
            self._tell_of_mistake(item, metadata, reference, "is of a kind that lies in namespaces")
            return ObjectMeta(uid=reference.uid)
        if resource.namespaced and self._is_elsewhere(item, reference):
            self._tell_of_mistake(item, metadata, reference, f'does not exist in namespace "{item.key.namespace}"')
        key = _owner_key(item, resource, reference)
        absent = (resource, key, reference.uid)
        if absent in self._absent:
            return None
        live = await self._live(resource, key)
        if live is not None and live.uid == reference.uid:
            return live
        self._absent[absent] = None
        if len(self._absent) > _ABSENT:
            self._absent.popitem(last=False)
        return None

    def _is_elsewhere(self, item: Item, reference: OwnerReference) -> bool:
        """Whether the owner is of another namespace, which makes it none."""
        known = self._objects.index_keys("uid", uid_index(item.key.tenant, reference.uid))
        return any(each.key.namespace != item.key.namespace for each in known)

    def _tell_of_mistake(self, item: Item, metadata: ObjectMeta, reference: OwnerReference, why: str) -> None:
        dependent = ObjectReference(
            api_version_=item.resource.api_version, kind_=item.resource.kind, name=item.key.name,
            namespace=item.key.namespace or None, uid=metadata.uid,
        )  # fmt: skip
        owner = f"{reference.api_version_}/{reference.kind_}, {reference.name}, uid: {reference.uid}"
        message = f"ownerRef [{owner}] {why}"
        self.recorder.event(dependent, "Warning", "OwnerRefInvalidNamespace", message, tenant=item.key.tenant)

    async def _live(self, resource: Resource, key: Key) -> ObjectMeta | None:
        try:
            found = await self.client.request("GET", resource.path(key.tenant, key.namespace, key.name))
        except Exception as error:
            if is_reason(error, "NotFound"):
                return None
            raise
        return ObjectMeta.from_dict(found["metadata"])

    async def _delete_dependents(self, item: Item, metadata: ObjectMeta) -> None:
        blocking = [
            (dependent, entry)
            for dependent, entry in self._dependents(item.key.tenant, metadata.uid)
            if blocks(entry, metadata.uid or "") and entry.uid != metadata.uid
        ]
        circle = [each for each in blocking if self._waits_for(each[1], metadata.uid or "", item.key.tenant)]
        for dependent, entry in circle:
            await self._unblock(dependent, entry, metadata.uid or "")
        if len(blocking) > len(circle):
            self._enqueue(dependent for dependent, _ in blocking)
            return
        self._enqueue(dependent for dependent, _ in self._dependents(item.key.tenant, metadata.uid))
        await self._remove_finalizer(item, FOREGROUND)

    def _waits_for(self, waiting: ObjectMeta, uid: str, tenant: str) -> bool:
        """Whether an object that is deleted in the foreground waits, through others perhaps, for this one: then they
        are in a circle, and none would ever go."""
        seen: set[str | None] = set()
        left = [waiting]
        while left:
            each = left.pop()
            if each.uid in seen or each.deletion_timestamp is None or FOREGROUND not in each.finalizers:
                continue
            seen.add(each.uid)
            for _, dependent in self._dependents(tenant, each.uid):
                if blocks(dependent, each.uid or ""):
                    if dependent.uid == uid:
                        return True
                    left.append(dependent)
        return False

    async def _unblock(self, item: Item, metadata: ObjectMeta, owner_uid: str) -> None:
        """The owner needn't wait for this dependent any more."""
        references = [entry.to_dict() for entry in metadata.owner_references]
        for reference in references:
            if reference["uid"] == owner_uid:
                reference["blockOwnerDeletion"] = False
        await self._patch(item, metadata, {"ownerReferences": references})

    async def _orphan_dependents(self, item: Item, metadata: ObjectMeta) -> None:
        for dependent, entry in self._dependents(item.key.tenant, metadata.uid):
            await self._drop_references(dependent, entry, frozenset({metadata.uid or ""}))
        await self._remove_finalizer(item, ORPHAN)

    async def _drop_references(self, item: Item, metadata: ObjectMeta, uids: frozenset[str]) -> None:
        kept = [entry.to_dict() for entry in metadata.owner_references if entry.uid not in uids]
        await self._patch(item, metadata, {"ownerReferences": kept or None})

    async def _remove_finalizer(self, item: Item, finalizer: str) -> None:
        live = await self._live(item.resource, item.key)
        if live is not None and finalizer in live.finalizers:
            kept = [entry for entry in live.finalizers if entry != finalizer]
            await self._patch(item, live, {"finalizers": kept or None})

    async def _patch(self, item: Item, metadata: ObjectMeta, change: dict[str, Any]) -> None:
        """Of exactly the version that was judged: a merge patch replaces whole lists."""
        identity = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        await self._change("PATCH", item, {"metadata": {**identity, **change}})

    async def _change(self, method: str, item: Item, body: dict[str, Any]) -> None:
        key = item.key
        path = item.resource.path(key.tenant, key.namespace, key.name)
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            await self.client.request(method, path, json=body, content_type=content_type)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise


def _owner_key(item: Item, resource: Resource, reference: OwnerReference) -> Key:
    return Key(item.key.tenant, item.key.namespace if resource.namespaced else "", reference.name)
