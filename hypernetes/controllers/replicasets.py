"""ReplicaSets (apps/v1)."""

from collections.abc import Sequence
from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from hypernetes.api.object import tenant_of
from hypernetes.controllers import ownership
from hypernetes.controllers.informers import uid_index
from hypernetes.controllers.podcontroller import glimpses_of
from hypernetes.controllers.pods import AnyPod
from hypernetes.controllers.replicas import ReplicaController, ReplicaCounts, ReplicaSpec


class ReplicaSets(ReplicaController[ReplicaSet]):
    name = "replicaset"
    model = ReplicaSet

    def spec_of(self, owner: Any) -> ReplicaSpec | None:
        spec = owner.spec
        if spec.template is None:
            return None
        replicas = 1 if spec.replicas is None else spec.replicas
        return ReplicaSpec(
            replicas, spec.min_ready_seconds or 0, selectors.from_object(spec.selector.to_dict()), spec.template
        )

    def with_status(self, owner: Any, counts: ReplicaCounts, failure: str | None) -> ReplicaSet:
        return with_status(owner, counts, failure)

    def related_pods(self, owner: Any, owned: Sequence[AnyPod]) -> Sequence[AnyPod]:
        """A Deployment's ReplicaSets are one application: all their pods count as neighbours."""
        parent = ownership.controller_of(owner)
        if parent is None:
            return owned
        siblings = self.owners.by_index("controller", uid_index(tenant_of(owner), parent.uid))
        return [pod for sibling in siblings for pod in glimpses_of(self.pods, sibling)]


def with_status(owner: ReplicaSet, counts: ReplicaCounts, failure: str | None) -> ReplicaSet:
    """`owner` itself where its status says all this already."""
    conditions = [entry for entry in owner.status.conditions if entry.type != "ReplicaFailure"]
    if failure is not None:
        conditions.append(_failure(owner, counts, failure))
    status = ReplicaSetStatus(
        replicas=counts.replicas,
        fully_labeled_replicas=counts.fully_labeled,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        terminating_replicas=counts.terminating,
        observed_generation=owner.metadata.generation,
        conditions=conditions,
    )
    if _normal(status) == _normal(owner.status):
        return owner
    return owner.model_copy(update={"status": status})


def _failure(owner: ReplicaSet, counts: ReplicaCounts, message: str) -> ReplicaSetCondition:
    old = next((entry for entry in owner.status.conditions if entry.type == "ReplicaFailure"), None)
    if old is not None:
        return old.model_copy(update={"message": message})
    creating = counts.replicas < (1 if owner.spec.replicas is None else owner.spec.replicas)
    return ReplicaSetCondition(
        type="ReplicaFailure",
        status="True",
        reason="FailedCreate" if creating else "FailedDelete",
        message=message,
        last_transition_time=times.format_time(times.now()),
    )


def _normal(status: ReplicaSetStatus) -> dict[str, Any]:
    """A count of 0 may be stored as no count."""
    return {name: value for name, value in status.to_dict().items() if value}
