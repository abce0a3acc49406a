"""The StatefulSet controller: carries out what plan.py decides."""

import asyncio
from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.apps_v1 import ControllerRevision, StatefulSet
from hypernetes.api.models.core_v1 import PersistentVolumeClaim, Pod
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key, has_cause, is_reason, key_of
from hypernetes.controllers import history, ownership
from hypernetes.controllers.controller import NAMESPACE_TERMINATING, Controller
from hypernetes.controllers.expectations import Expectations
from hypernetes.controllers.history import History
from hypernetes.controllers.informers import Informers, namespace_index, uid_index
from hypernetes.controllers.replicas import pods_of
from hypernetes.controllers.statefulsets import identity, plan
from hypernetes.controllers.statefulsets.plan import Plan
from hypernetes.controllers.writes import Create, Delete, carry_out, carry_out_one


class StatefulSets(Controller):
    name = "statefulset"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.sets, self.pods = informers.of(StatefulSet), informers.of(Pod)
        self.claims, self.revisions = informers.of(PersistentVolumeClaim), informers.of(ControllerRevision)
        self._expectations = Expectations(self.pods, lambda: asyncio.get_running_loop().time())
        self.sets.on_key(self.queue.add)
        self.pods.on_change(self._pod_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            reference = pod and ownership.controller_of(pod)
            if reference and reference.kind_ == StatefulSet.KIND:
                self.queue.add(Key(key.tenant, key.namespace, reference.name))
        if new is not None and ownership.controller_of(new) is None:
            for candidate in self.sets.index_keys("namespace", namespace_index(key.tenant, key.namespace)):
                owner = self.sets.get(candidate)
                if owner is not None and identity.ordinal_of(owner, new) is not None:
                    self.queue.add(candidate)

    async def reconcile(self, key: Key) -> float | None:
        owner = self.sets.get(key)
        if owner is None:
            self._expectations.forget(key)
            return None
        await self._claim(key, owner)
        if not self._expectations.met(key):
            return None  # the pods' own events come
        owned = pods_of(self.pods, owner)
        revisions = self.revisions.by_index("controller", uid_index(key.tenant, owner.metadata.uid))
        past = await history.sync(self.client, key.tenant, owner, revisions)
        current = past.named(owner.status.current_revision) or past.present
        in_namespace = self.claims.by_index("namespace", namespace_index(key.tenant, key.namespace))
        claims = {claim.metadata.name or "": claim for claim in in_namespace}
        decided = plan.decide(owner, owned, claims, current, past.present, times.now())
        if decided.status.to_dict() != owner.status.to_dict():
            await self.client.update_status(owner.model_copy(update={"status": decided.status}), tenant=key.tenant)
        await self._carry_out(key, owner, decided)
        await self._truncate(key, owner, owned, past, decided)
        return decided.again

    async def _truncate(self, key: Key, owner: StatefulSet, owned: list[Pod], past: History, decided: Plan) -> None:
        live = {identity.revision_of(pod) for pod in owned}
        live |= {decided.status.current_revision or "", decided.status.update_revision or ""}
        await history.truncate(self.client, key.tenant, past, live, owner.spec.revision_history_limit)

    async def _claim(self, key: Key, owner: StatefulSet) -> None:
        """Adopts and releases, so that `pods_of` is right soon; the change comes back as an event."""
        named = [
            pod
            for pod in self.pods.by_index("namespace", namespace_index(key.tenant, key.namespace))
            if identity.ordinal_of(owner, pod) is not None or ownership.is_controlled_by(pod, owner)
        ]
        claimed = ownership.claim(owner, selectors.from_object(owner.spec.selector.to_dict()), named)
        if claimed.adopt and await self._still_there(key, owner):
            await carry_out(self.client, key.tenant, [ownership.adoption(owner, pod) for pod in claimed.adopt])
        for pod in claimed.release:
            try:
                await carry_out_one(self.client, key.tenant, ownership.release(owner, pod))
            except Exception as error:
                if not is_reason(error, "NotFound", "Conflict"):
                    raise

    async def _still_there(self, key: Key, owner: StatefulSet) -> bool:
        """Asked of the server: a set that was deleted meanwhile, orphaning its pods, must not take them back."""
        try:
            live = await self.client.get(StatefulSet, key.name, namespace=key.namespace, tenant=key.tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return False
            raise
        return live.metadata.uid == owner.metadata.uid and live.metadata.deletion_timestamp is None

    async def _carry_out(self, key: Key, owner: StatefulSet, decided: Plan) -> None:
        """Raises the first failure."""
        for claim in decided.claims:
            await self._create(key, owner, claim, f"Claim {claim.metadata.name}")
        await carry_out(self.client, key.tenant, decided.patches)
        for pod in decided.delete:
            await carry_out_one(self.client, key.tenant, Delete(pod))
            self._expectations.deleted(key, key_of(pod), pod.metadata.uid or "")
            self._tell(owner, "Normal", "SuccessfulDelete", f"delete Pod {pod.metadata.name}", "successful")
        for pod in decided.create:
            made = await self._create(key, owner, pod, f"Pod {pod.metadata.name}")
            self._expectations.created(key, made.metadata.resource_version)

    async def _create(self, key: Key, owner: StatefulSet, obj: Any, what: str) -> Any:
        try:
            made = await carry_out_one(self.client, key.tenant, Create(obj))
        except REQUEST_ERRORS as error:
            if not has_cause(error, NAMESPACE_TERMINATING) and not is_reason(error, "AlreadyExists"):
                self._tell(owner, "Warning", "FailedCreate", f"create {what}", f"failed error: {error}")
            if is_reason(error, "AlreadyExists") and isinstance(obj, PersistentVolumeClaim):
                return obj  # ours of another time, which the cache doesn't show yet: it is the pod's all the same
            raise
        self._tell(owner, "Normal", "SuccessfulCreate", f"create {what}", "successful")
        return made

    def _tell(self, owner: StatefulSet, kind: str, reason: str, what: str, outcome: str) -> None:
        self.recorder.event(owner, kind, reason, f"{what} in StatefulSet {owner.metadata.name} {outcome}")
