"""Keeping a number of pods of one template: the core of ReplicaSets and ReplicationControllers.

`plan` decides; `ReplicaController` carries it out.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod, PodTemplateSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.object import Object
from hypernetes.api.selectors import Selector
from hypernetes.client import Key
from hypernetes.controllers import ownership, pods
from hypernetes.controllers.informers import namespace_index
from hypernetes.controllers.podcontroller import PodController, glimpses_of
from hypernetes.controllers.pods import AnyPod

T = TypeVar("T", bound=Object)

_BURST = 500  # pods created or deleted in one go for one owner (upstream's number)


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What ReplicaSets and ReplicationControllers have in common."""

    replicas: int
    min_ready_seconds: int
    selects: Selector
    template: PodTemplateSpec


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """The status of both kinds; `replicas` are the active ones."""

    replicas: int
    fully_labeled: int
    ready: int
    available: int
    terminating: int


@dataclass(slots=True)
class Plan:
    create: int = 0
    delete: list[AnyPod] = field(default_factory=list)


def plan(spec: ReplicaSpec, owned: Sequence[AnyPod], related: Sequence[AnyPod], now: datetime) -> Plan:
    """How many pods to create, or which to delete. `related`: all active pods of the same application, by which it is
    told where many of them share a node."""
    active = [pod for pod in owned if pods.is_active(pod)]
    missing = spec.replicas - len(active)
    if missing >= 0:
        return Plan(create=min(missing, _BURST))
    neighbours = Counter(pod.spec.node_name or "" for pod in related if pods.is_active(pod))
    ranked = sorted(active, key=lambda pod: pods.deletion_order(pod, neighbours, now))
    return Plan(delete=ranked[: min(-missing, _BURST)])


def count(spec: ReplicaSpec, owned: Sequence[AnyPod], now: datetime) -> ReplicaCounts:
    active = [pod for pod in owned if pods.is_active(pod)]
    wanted = spec.template.metadata.labels.items()
    return ReplicaCounts(
        replicas=len(active),
        fully_labeled=sum(wanted <= pod.metadata.labels.items() for pod in active),
        ready=sum(map(pods.is_ready, active)),
        available=sum(pods.available_in(pod, spec.min_ready_seconds, now) == 0 for pod in active),
        terminating=sum(pod.metadata.deletion_timestamp is not None and not pods.is_finished(pod) for pod in owned),
    )


def next_available(spec: ReplicaSpec, owned: Sequence[AnyPod], now: datetime) -> float | None:
    """Seconds until a ready pod becomes available, which no event will tell."""
    waits = [pods.available_in(pod, spec.min_ready_seconds, now) for pod in owned if pods.is_active(pod)]
    return min((wait for wait in waits if wait), default=None)


def new_pod(owner: Any, template: PodTemplateSpec) -> Pod:
    """A pod of the template, named by the server."""
    prefix = f"{owner.metadata.name}-"
    metadata = ObjectMeta(
        generate_name=prefix,
        namespace=owner.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations=dict(template.metadata.annotations),
        finalizers=list(template.metadata.finalizers),
        owner_references=[ownership.controller_reference(owner)],
    )
    return Pod(metadata=metadata, spec=template.spec.model_copy(deep=True))


class ReplicaController(PodController[T]):
    """The shell around `plan` and `count` for one kind of owner."""

    @abstractmethod
    def spec_of(self, owner: Any) -> ReplicaSpec | None:
        """None for an owner without a template, which has nothing to do."""

    @abstractmethod
    def with_status(self, owner: Any, counts: ReplicaCounts, failure: str | None) -> T:
        """The owner with this status; `failure` is why pods couldn't be created or deleted."""

    def known_pods(self, owner: Any) -> list[Any]:
        return glimpses_of(self.pods, owner)

    def orphans(self, key: Key) -> list[Any]:
        return self.pods.glimpses("orphan", namespace_index(key.tenant, key.namespace))

    def related_pods(self, owner: Any, owned: Sequence[AnyPod]) -> Sequence[AnyPod]:
        return owned

    def selects(self, owner: Any) -> Selector:
        spec = self.spec_of(owner)
        return spec.selects if spec is not None else lambda labels: False

    async def reconcile(self, key: Key) -> float | None:
        owner: Any = self.owners.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        spec = self.spec_of(owner)
        if spec is None:
            return None
        seen = self.expectations.met(key)  # of the pods that are read next, and not of later ones
        owned = await self.claim(key, owner)
        now = times.now()
        failure: Exception | None = None
        if owner.metadata.deletion_timestamp is None and seen:
            decided = plan(spec, owned, self.related_pods(owner, owned), now)
            made = [new_pod(owner, spec.template) for _ in range(decided.create)]
            failure = await self.change_pods(key, owner, decided.delete, made)
        changed = self.with_status(owner, count(spec, owned, now), str(failure) if failure else None)
        if changed is not owner:
            await self.client.update_status(changed, tenant=key.tenant)
        if failure is not None:
            raise failure
        return next_available(spec, owned, now)
