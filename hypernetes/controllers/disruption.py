"""PodDisruptionBudgets: their status says how many pods may be evicted now; the API server's eviction goes by it."""

from collections.abc import Sequence
from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.apps_v1 import Deployment, ReplicaSet, StatefulSet
from hypernetes.api.models.core_v1 import Pod, ReplicationController
from hypernetes.api.models.meta_v1 import OwnerReference
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.client import Client, EventRecorder, Informer, Key
from hypernetes.controllers import disruptionbudgets, ownership
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.disruptionbudgets import NotExpectable
from hypernetes.controllers.informers import Informers, labelled, namespace_index


class Disruption(Controller):
    name = "disruption"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._budgets = informers.of(PodDisruptionBudget)
        self._pods = informers.of(Pod)
        self._owners: dict[str, Informer[Any]] = {
            model.KIND: informers.of(model) for model in (Deployment, ReplicaSet, ReplicationController, StatefulSet)
        }
        self._budgets.on_key(self.queue.add)
        self._pods.on_change(self._pod_changed)
        for owners in self._owners.values():
            owners.on_change(self._owner_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        for budget_key, budget in self._budgets_in(key):
            selects = selectors.from_object(_selector(budget))
            if any(pod is not None and selects(pod.metadata.labels) for pod in (old, new)):
                self.queue.add(budget_key)

    def _owner_changed(self, key: Key, old: Any, new: Any) -> None:
        """Its scale may have changed: rare enough to look at every budget of the namespace."""
        if old is None or new is None or old.spec.replicas != new.spec.replicas:
            for budget_key, _ in self._budgets_in(key):
                self.queue.add(budget_key)

    def _budgets_in(self, key: Key) -> list[tuple[Key, PodDisruptionBudget]]:
        budgets = self._budgets.by_index("namespace", namespace_index(key.tenant, key.namespace))
        return [(Key(key.tenant, key.namespace, budget.metadata.name or ""), budget) for budget in budgets]

    async def reconcile(self, key: Key) -> float | None:
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp is not None:
            return None
        selects = selectors.from_object(_selector(budget))
        selector = budget.spec.selector
        found = labelled(self._pods, key.tenant, key.namespace, selector.match_labels if selector is not None else {})
        pods = [pod for pod in found if selects(pod.metadata.labels)]
        now = times.now()
        going, again = disruptionbudgets.disrupted(budget, pods, now)
        try:
            wanted = disruptionbudgets.expected(budget, pods, self._scale(key, pods))
        except NotExpectable as error:
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed",
                                f"Failed to calculate the number of expected pods: {error}")  # fmt: skip
            status = disruptionbudgets.failed(budget, str(error), now)
        else:
            if not pods:
                self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
            current = disruptionbudgets.healthy(pods, going)
            status = disruptionbudgets.status(budget, wanted, current, going, now)
        if status != budget.status:
            await self.client.update_status(budget.model_copy(update={"status": status}), tenant=key.tenant)
        return again

    def _scale(self, key: Key, pods: Sequence[Pod]) -> int | None:
        """The replicas of all that own these pods; None where one of them is nothing that has replicas.

        Pods without a controller count for nothing here, as upstream: nothing says how many there should be.
        """
        found: dict[str, int] = {}
        for pod in pods:
            reference = ownership.controller_of(pod)
            if reference is None or reference.uid in found:
                continue
            replicas = self._replicas(key, reference)
            if replicas is None:
                return None
            found[replicas[0]] = replicas[1]
        return sum(found.values())

    def _replicas(self, key: Key, reference: OwnerReference) -> tuple[str, int] | None:
        """(UID, replicas) of an owner; a Deployment's for its ReplicaSets."""
        owners = self._owners.get(reference.kind_ or "")
        owner = None if owners is None else owners.get(Key(key.tenant, key.namespace, reference.name or ""))
        if owner is None or owner.metadata.uid != reference.uid:
            return None
        parent = ownership.controller_of(owner)
        if parent is not None and parent.kind_ == Deployment.KIND:
            return self._replicas(key, parent)
        return reference.uid or "", 1 if owner.spec.replicas is None else owner.spec.replicas


def _selector(budget: PodDisruptionBudget) -> dict[str, Any] | None:
    """None selects nothing, {} everything."""
    return None if budget.spec.selector is None else budget.spec.selector.to_dict()
