"""The StatefulSet controller: carries out what plan.py decides."""

from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.apps_v1 import ControllerRevision, StatefulSet
from hypernetes.api.models.core_v1 import PersistentVolumeClaim, Pod
from hypernetes.api.selectors import Selector
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key, is_reason, key_of
from hypernetes.controllers import history
from hypernetes.controllers.controller import is_failure
from hypernetes.controllers.history import History
from hypernetes.controllers.informers import Informers, namespace_index, uid_index
from hypernetes.controllers.podcontroller import PodController
from hypernetes.controllers.statefulsets import identity, plan
from hypernetes.controllers.statefulsets.plan import Plan
from hypernetes.controllers.writes import Create, Delete, carry_out, carry_out_one


class StatefulSets(PodController[StatefulSet]):
    name = "statefulset"
    model = StatefulSet

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.claims, self.revisions = informers.of(PersistentVolumeClaim), informers.of(ControllerRevision)

    def selects(self, owner: StatefulSet) -> Selector:
        return selectors.from_object(owner.spec.selector.to_dict())

    def may_adopt(self, owner: StatefulSet, pod: Pod) -> bool:
        """None of another's name, whatever its labels."""
        return identity.ordinal_of(owner, pod) is not None

    async def reconcile(self, key: Key) -> float | None:
        owner = self.owners.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        if not self.expectations.met(key):
            return None  # the pods' own events come
        owned = await self.claim(key, owner)
        revisions = self.revisions.by_index("controller", uid_index(key.tenant, owner.metadata.uid))
        past = await history.sync(self.client, key.tenant, owner, revisions)
        current = past.named(owner.status.current_revision) or past.present
        claims = self.claims.by_index("namespace", namespace_index(key.tenant, key.namespace))
        by_name = {claim.metadata.name or "": claim for claim in claims}
        decided = plan.decide(owner, owned, by_name, current, past.present, times.now())
        if decided.status.to_dict() != owner.status.to_dict():
            await self.client.update_status(owner.model_copy(update={"status": decided.status}), tenant=key.tenant)
        await self._carry_out(key, owner, decided)
        await self._truncate(key, owner, owned, past, decided)
        return decided.again

    async def _truncate(self, key: Key, owner: StatefulSet, owned: list[Pod], past: History, decided: Plan) -> None:
        live = {identity.revision_of(pod) for pod in owned}
        live |= {decided.status.current_revision or "", decided.status.update_revision or ""}
        await history.truncate(self.client, key.tenant, past, live, owner.spec.revision_history_limit)

    async def _carry_out(self, key: Key, owner: StatefulSet, decided: Plan) -> None:
        """Raises the first failure."""
        for claim in decided.claims:
            await self._create(key, owner, claim, f"Claim {claim.metadata.name}")
        await carry_out(self.client, key.tenant, decided.patches)
        for pod in decided.delete:
            await carry_out_one(self.client, key.tenant, Delete(pod))
            self.expectations.deleted(key, key_of(pod), pod.metadata.uid or "")
            self._tell(owner, "Normal", "SuccessfulDelete", f"delete Pod {pod.metadata.name}", "successful")
        for pod in decided.create:
            made = await self._create(key, owner, pod, f"Pod {pod.metadata.name}")
            self.expectations.created(key, made.metadata.resource_version)

    async def _create(self, key: Key, owner: StatefulSet, obj: Any, what: str) -> Any:
        try:
            made = await carry_out_one(self.client, key.tenant, Create(obj))
        except REQUEST_ERRORS as error:
            if is_failure(error) and not is_reason(error, "AlreadyExists"):
                self._tell(owner, "Warning", "FailedCreate", f"create {what}", f"failed error: {error}")
            if is_reason(error, "AlreadyExists") and isinstance(obj, PersistentVolumeClaim):
                return obj  # ours of another time, which the cache doesn't show yet: it is the pod's all the same
            raise
        self._tell(owner, "Normal", "SuccessfulCreate", f"create {what}", "successful")
        return made

    def _tell(self, owner: StatefulSet, kind: str, reason: str, what: str, outcome: str) -> None:
        self.recorder.event(owner, kind, reason, f"{what} in StatefulSet {owner.metadata.name} {outcome}")
