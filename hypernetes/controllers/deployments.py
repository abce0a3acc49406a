"""Deployments: one ReplicaSet per template, and the way from one to the next.

    template changes ─► new ReplicaSet, or an earlier one with that template ─► rollout.py moves the pods ─► history

Every step is decided from the ReplicaSets as they are; the next event asks again. Nothing is remembered in between.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.apps_v1 import Deployment, ReplicaSet
from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import conditions, ownership, pods, revisions, rollout
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.expectations import Expectations
from hypernetes.controllers.informers import Informers, namespace_index, uid_index
from hypernetes.controllers.podcontroller import pods_of
from hypernetes.controllers.writes import Create, Delete, Update, Write, carry_out_one


@dataclass(slots=True)
class Plan:
    """The writes of one step, and what the status is computed from."""

    new: ReplicaSet | None
    old: list[ReplicaSet]
    writes: list[Write] = field(default_factory=list)
    scaled: list[tuple[ReplicaSet, int]] = field(default_factory=list)  # and from how many


def plan(deployment: Deployment, owned: list[ReplicaSet], *, old_pods_left: bool) -> Plan:
    """What to do next. `old_pods_left`: pods of earlier templates are still running (matters for Recreate)."""
    new = revisions.find_new(deployment, owned)
    old = [entry for entry in owned if entry is not new]
    result = Plan(new, old)
    if deployment.metadata.deletion_timestamp is not None:
        return result
    if new is not None:
        refreshed = revisions.refreshed(deployment, new, old)
        if refreshed is not new:
            result.writes.append(Update(refreshed))
            return result
    if deployment.spec.paused or rollout.was_scaled(deployment, owned):
        _resize(deployment, result, rollout.scale(deployment, new, old), annotate=True)
        if deployment.spec.paused:
            _clean_up(deployment, result)
        return result
    if rollout.is_rolling(deployment):
        if new is None:
            _create(deployment, result, rollout.initial_size(deployment, old))
            return result
        _resize(deployment, result, rollout.roll(deployment, new, old))
    else:
        sizes = rollout.recreate(deployment, new, old, old_pods_left)
        if new is None and not sizes and not old_pods_left:
            _create(deployment, result, revisions.desired(deployment))
            return result
        _resize(deployment, result, sizes)
    if not result.writes and new is not None and conditions.is_complete(deployment, deployment.status):
        _clean_up(deployment, result)
    return result


def _create(deployment: Deployment, result: Plan, replicas: int) -> None:
    most = rollout.most(deployment)
    result.writes.append(Create(revisions.new_replica_set(deployment, result.old, replicas, most)))


def _resize(deployment: Deployment, result: Plan, sizes: rollout.Sizes, *, annotate: bool = False) -> None:
    wanted = revisions.size_annotations(deployment, rollout.most(deployment))
    for entry in [*result.old, *([result.new] if result.new is not None else [])]:
        before = rollout.size(entry)
        after = sizes.get(entry.metadata.name or "", before)
        stale = annotate and after and not wanted.items() <= entry.metadata.annotations.items()
        if after == before and not stale:
            continue
        metadata = entry.metadata.model_copy(update={"annotations": {**entry.metadata.annotations, **wanted}})
        resized = entry.model_copy(
            update={"metadata": metadata, "spec": entry.spec.model_copy(update={"replicas": after})}
        )
        result.writes.append(Update(resized))
        if after != before:
            result.scaled.append((resized, before))


def _clean_up(deployment: Deployment, result: Plan) -> None:
    result.writes += [Delete(entry) for entry in revisions.superfluous(deployment, result.old)]


class Deployments(Controller):
    name = "deployment"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._deployments = informers.of(Deployment)
        self._replica_sets = informers.of(ReplicaSet)
        self._pods = informers.of(Pod)
        # Sizes that we have written and the cache doesn't show yet would be given to another ReplicaSet once more.
        self._expectations = Expectations(self._replica_sets, lambda: asyncio.get_running_loop().time())
        self._deployments.on_key(self.queue.add)
        self._replica_sets.on_change(self._replica_set_changed)
        self._pods.on_change(self._pod_changed)

    def _replica_set_changed(self, key: Key, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for entry in (old, new):
            reference = entry and ownership.controller_of(entry)
            if reference and reference.kind_ == Deployment.KIND:
                self.queue.add(Key(key.tenant, key.namespace, reference.name))
        if new is not None and ownership.controller_of(new) is None:
            for candidate in self._deployments.index_keys("namespace", namespace_index(key.tenant, key.namespace)):
                deployment = self._deployments.get(candidate)
                if deployment is not None and _selects(deployment)(new.metadata.labels):
                    self.queue.add(candidate)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        """Only the last old pod's end matters here (Recreate); all else shows in the ReplicaSets' status."""
        if old is None or (new is not None and not pods.is_finished(new)):
            return
        reference = ownership.controller_of(old)
        if reference is None or reference.kind_ != ReplicaSet.KIND:
            return
        for replica_set in self._replica_sets.by_index("uid", uid_index(key.tenant, reference.uid)):
            owner = ownership.controller_of(replica_set)
            if owner is not None and owner.kind_ == Deployment.KIND:
                self.queue.add(Key(key.tenant, key.namespace, owner.name))

    async def reconcile(self, key: Key) -> float | None:
        deployment = self._deployments.get(key)
        if deployment is None:
            self._expectations.forget(key)
            return None
        if not self._expectations.met(key):
            return None  # the ReplicaSets' own events come
        now = times.now()
        owned = await self._claim(key, deployment)
        left = self._old_pods_left(deployment, owned)
        decided = plan(deployment, owned, old_pods_left=left)
        found = decided.new is not None and decided.new in owned
        for write in decided.writes:
            await self._write(key, deployment, write, decided)
        await self._write_status(key, deployment, decided, now, found=found)
        return conditions.deadline_in(deployment, now)

    async def _claim(self, key: Key, deployment: Deployment) -> list[ReplicaSet]:
        candidates = self._replica_sets.by_index("namespace", namespace_index(key.tenant, key.namespace))
        claimed = ownership.claim(deployment, _selects(deployment), candidates)
        if claimed.adopt and await self._still_there(key, deployment):
            for entry in claimed.adopt:
                adopted = await carry_out_one(self.client, key.tenant, ownership.adoption(deployment, entry))
                claimed.owned.append(adopted)
        for entry in claimed.release:
            await carry_out_one(self.client, key.tenant, ownership.release(deployment, entry))
        return claimed.owned

    async def _still_there(self, key: Key, deployment: Deployment) -> bool:
        live = await self.client.get(Deployment, key.name, namespace=key.namespace, tenant=key.tenant)
        return live.metadata.uid == deployment.metadata.uid and live.metadata.deletion_timestamp is None

    def _old_pods_left(self, deployment: Deployment, owned: list[ReplicaSet]) -> bool:
        new = revisions.find_new(deployment, owned)
        old = [entry for entry in owned if entry is not new]
        return any(not pods.is_finished(pod) for entry in old for pod in pods_of(self._pods, entry))

    async def _write(self, key: Key, deployment: Deployment, write: Write, decided: Plan) -> None:
        if isinstance(write, Create):
            await self._create(key, deployment, write, decided)
            return
        stored: Any = await carry_out_one(self.client, key.tenant, write)
        if isinstance(write, Update):
            self._expectations.created(key, stored.metadata.resource_version)
            for resized, before in decided.scaled:
                if resized is write.obj:
                    self._tell_scaled(deployment, stored, before)

    async def _create(self, key: Key, deployment: Deployment, write: Create, decided: Plan) -> None:
        try:
            created = await carry_out_one(self.client, key.tenant, write)
        except Exception as error:
            if not is_reason(error, "AlreadyExists"):
                raise
            created = await self._resolve_collision(key, deployment, write)
            if created is None:
                return
        else:
            self._expectations.created(key, created.metadata.resource_version)
            self._tell_scaled(deployment, created, 0)
        decided.new = created

    async def _resolve_collision(self, key: Key, deployment: Deployment, write: Create) -> ReplicaSet | None:
        """The name is taken: by our own earlier write that the cache hasn't seen, or by something else that happens
        to have the same hash. Then the next hash is another."""
        wanted: Any = write.obj
        there = await self.client.get(ReplicaSet, wanted.metadata.name, namespace=key.namespace, tenant=key.tenant)
        if ownership.is_controlled_by(there, deployment) and revisions.same_template(there, deployment):
            return there
        collisions = (deployment.status.collision_count or 0) + 1
        status = deployment.status.model_copy(update={"collision_count": collisions})
        await self.client.update_status(deployment.model_copy(update={"status": status}), tenant=key.tenant)
        self.queue.add_rate_limited(key)
        return None

    def _tell_scaled(self, deployment: Deployment, replica_set: ReplicaSet, before: int) -> None:
        after = rollout.size(replica_set)
        if after != before:
            direction = "up" if after > before else "down"
            name = replica_set.metadata.name
            message = f"Scaled {direction} replica set {name} from {before} to {after}"
            self.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _write_status(
        self, key: Key, deployment: Deployment, decided: Plan, now: datetime, *, found: bool
    ) -> None:
        current = deployment
        revision = decided.new and decided.new.metadata.annotations.get(revisions.REVISION)
        if revision and deployment.metadata.annotations.get(revisions.REVISION) != revision:
            annotations = {**deployment.metadata.annotations, revisions.REVISION: revision}
            metadata = deployment.metadata.model_copy(update={"annotations": annotations})
            current = await self.client.update(deployment.model_copy(update={"metadata": metadata}), tenant=key.tenant)
        wanted = conditions.status(current, decided.new, decided.old, now, found=found)
        if conditions.differs(current, wanted):
            await self.client.update_status(current.model_copy(update={"status": wanted}), tenant=key.tenant)


def _selects(deployment: Deployment) -> selectors.Selector:
    return selectors.from_object(deployment.spec.selector.to_dict())
