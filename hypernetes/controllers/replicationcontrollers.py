"""ReplicationControllers (v1): as ReplicaSets, with a selector of equalities that may be left to the template."""

from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.core_v1 import (
    ReplicationController,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)
from hypernetes.controllers.replicas import ReplicaController, ReplicaCounts, ReplicaSpec


class ReplicationControllers(ReplicaController[ReplicationController]):
    name = "replicationcontroller"
    model = ReplicationController

    def spec_of(self, owner: Any) -> ReplicaSpec | None:
        spec = owner.spec
        if spec.template is None:
            return None
        wanted = spec.selector or spec.template.metadata.labels
        replicas = 1 if spec.replicas is None else spec.replicas
        # An empty selector would be every pod of the namespace.
        selects = selectors.from_object({"matchLabels": wanted} if wanted else None)
        return ReplicaSpec(replicas, spec.min_ready_seconds or 0, selects, spec.template)

    def with_status(self, owner: Any, counts: ReplicaCounts, failure: str | None) -> ReplicationController:
        return with_status(owner, counts, failure)


def with_status(owner: ReplicationController, counts: ReplicaCounts, failure: str | None) -> ReplicationController:
    """`owner` itself where its status says all this already."""
    old = next((entry for entry in owner.status.conditions if entry.type == "ReplicaFailure"), None)
    conditions = [entry for entry in owner.status.conditions if entry.type != "ReplicaFailure"]
    if failure is not None:
        conditions.append(
            old.model_copy(update={"message": failure})
            if old is not None
            else ReplicationControllerCondition(
                type="ReplicaFailure", status="True", reason="FailedCreate", message=failure,
                last_transition_time=times.format_time(times.now()),
            )
        )  # fmt: skip
    status = ReplicationControllerStatus(
        replicas=counts.replicas,
        fully_labeled_replicas=counts.fully_labeled,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        observed_generation=owner.metadata.generation,
        conditions=conditions,
    )
    if _normal(status) == _normal(owner.status):
        return owner
    return owner.model_copy(update={"status": status})


def _normal(status: ReplicationControllerStatus) -> dict[str, Any]:
    """A count of 0 may be stored as no count."""
    return {name: value for name, value in status.to_dict().items() if value}
