"""Keeping a number of pods of one template: the core of ReplicaSets and ReplicationControllers.

`plan` decides; `ReplicaController` carries it out. Pods are created in batches that double while all goes well, so that
a template that can't work costs one refused request and not a thousand.
"""

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod, PodTemplateSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.object import Object, tenant_of
from hypernetes.api.selectors import Selector
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Informer, Key, has_cause, is_reason, key_of
from hypernetes.controllers import ownership, pods
from hypernetes.controllers.controller import NAMESPACE_TERMINATING, Controller
from hypernetes.controllers.expectations import Expectations
from hypernetes.controllers.informers import Informers, namespace_index
from hypernetes.controllers.writes import Create, Delete, Write, carry_out_one

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
    delete: list[Pod] = field(default_factory=list)


def plan(spec: ReplicaSpec, owned: Sequence[Pod], related: Sequence[Pod], now: datetime) -> Plan:
    """How many pods to create, or which to delete. `related`: all active pods of the same application, by which it is
    told where many of them share a node."""
    active = [pod for pod in owned if pods.is_active(pod)]
    missing = spec.replicas - len(active)
    if missing >= 0:
        return Plan(create=min(missing, _BURST))
    neighbours = Counter(pod.spec.node_name or "" for pod in related if pods.is_active(pod))
    ranked = sorted(active, key=lambda pod: pods.deletion_order(pod, neighbours, now))
    return Plan(delete=ranked[: min(-missing, _BURST)])


def count(spec: ReplicaSpec, owned: Sequence[Pod], now: datetime) -> ReplicaCounts:
    active = [pod for pod in owned if pods.is_active(pod)]
    wanted = spec.template.metadata.labels.items()
    return ReplicaCounts(
        replicas=len(active),
        fully_labeled=sum(wanted <= pod.metadata.labels.items() for pod in active),
        ready=sum(map(pods.is_ready, active)),
        available=sum(pods.available_in(pod, spec.min_ready_seconds, now) == 0 for pod in active),
        terminating=sum(pod.metadata.deletion_timestamp is not None and not pods.is_finished(pod) for pod in owned),
    )


def next_available(spec: ReplicaSpec, owned: Sequence[Pod], now: datetime) -> float | None:
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


def batches(total: int) -> list[int]:
    """1, 2, 4, … and the rest."""
    sizes, size = [], 1
    while total > 0:
        sizes.append(min(size, total))
        total -= sizes[-1]
        size *= 2
    return sizes


class ReplicaController(Controller, Generic[T]):
    """The shell around `plan` and `count` for one kind of owner."""

    model: type[T]

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.owners: Informer[T] = informers.of(self.model)
        self.pods = informers.of(Pod)
        self._expectations = Expectations(self.pods, lambda: asyncio.get_running_loop().time())
        self.owners.on_key(self.queue.add)
        self.pods.on_change(self._pod_changed)

    @abstractmethod
    def spec_of(self, owner: Any) -> ReplicaSpec | None:
        """None for an owner without a template, which has nothing to do."""

    @abstractmethod
    def with_status(self, owner: Any, counts: ReplicaCounts, failure: str | None) -> T:
        """The owner with this status; `failure` is why pods couldn't be created or deleted."""

    def related_pods(self, owner: Any, owned: Sequence[Pod]) -> Sequence[Pod]:
        return owned

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            reference = pod and ownership.controller_of(pod)
            if reference and reference.kind_ == self.model.KIND:
                self.queue.add(Key(key.tenant, key.namespace, reference.name))
        if new is not None and ownership.controller_of(new) is None:
            for candidate in self.owners.index_keys("namespace", namespace_index(key.tenant, key.namespace)):
                owner: Any = self.owners.get(candidate)
                spec = self.spec_of(owner)
                if spec is not None and spec.selects(new.metadata.labels):
                    self.queue.add(candidate)

    async def reconcile(self, key: Key) -> float | None:
        owner: Any = self.owners.get(key)
        if owner is None:
            self._expectations.forget(key)
            return None
        spec = self.spec_of(owner)
        if spec is None:
            return None
        owned = await self._claim(key, owner, spec)
        now = times.now()
        failure: Exception | None = None
        if owner.metadata.deletion_timestamp is None and self._expectations.met(key):
            decided = plan(spec, owned, self.related_pods(owner, owned), now)
            failure = await self._carry_out(key, owner, spec, decided)
        changed = self.with_status(owner, count(spec, owned, now), str(failure) if failure else None)
        if changed is not owner:
            await self.client.update_status(changed, tenant=key.tenant)
        if failure is not None:
            raise failure
        return next_available(spec, owned, now)

    async def _claim(self, key: Key, owner: Any, spec: ReplicaSpec) -> list[Pod]:
        candidates = self.pods.by_index("namespace", namespace_index(key.tenant, key.namespace))
        claimed = ownership.claim(owner, spec.selects, candidates)
        if claimed.adopt and await self._still_there(key, owner):
            for pod in claimed.adopt:
                if pods.is_active(pod):
                    claimed.owned.append(await carry_out_one(self.client, key.tenant, ownership.adoption(owner, pod)))
        for pod in claimed.release:
            try:
                await carry_out_one(self.client, key.tenant, ownership.release(owner, pod))
            except Exception as error:
                if not is_reason(error, "NotFound", "Conflict", "Invalid"):
                    raise
        return claimed.owned

    async def _still_there(self, key: Key, owner: Any) -> bool:
        """Asked of the server, not of the cache: an owner that was deleted meanwhile, orphaning its pods, must not
        take them back."""
        try:
            live: Any = await self.client.get(self.model, key.name, namespace=key.namespace, tenant=key.tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return False
            raise
        return live.metadata.uid == owner.metadata.uid and live.metadata.deletion_timestamp is None

    async def _carry_out(self, key: Key, owner: Any, spec: ReplicaSpec, decided: Plan) -> Exception | None:
        """The first failure, after which nothing more was begun."""
        writes: list[Write] = [Create(new_pod(owner, spec.template)) for _ in range(decided.create)]
        writes += [Delete(pod) for pod in decided.delete]
        position = 0
        for size in batches(len(writes)):
            batch = writes[position : position + size]
            position += size
            results = await asyncio.gather(*(self._write(key, owner, write) for write in batch))
            failure = next((result for result in results if result is not None), None)
            if failure is not None:
                return failure
        return None

    async def _write(self, key: Key, owner: Any, write: Write) -> Exception | None:
        creating = isinstance(write, Create)
        try:
            result = await carry_out_one(self.client, key.tenant, write)
        except REQUEST_ERRORS as error:
            verb = "creating" if creating else "deleting"
            already_gone = is_reason(error, "NotFound") and not creating
            if not already_gone and not has_cause(error, NAMESPACE_TERMINATING):
                self.recorder.event(
                    owner, "Warning", "FailedCreate" if creating else "FailedDelete", f"Error {verb}: {error}"
                )
            return error
        if isinstance(write, Create):
            self._expectations.created(key, result.metadata.resource_version)
            self.recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {result.metadata.name}")
        elif isinstance(write, Delete):
            pod: Any = write.obj
            self._expectations.deleted(key, key_of(pod), pod.metadata.uid)
            self.recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
        return None


def pods_of(informer: Informer[Pod], owner: Any) -> list[Pod]:
    """All pods in the cache that `owner` controls."""
    return informer.by_index("controller", f"{tenant_of(owner)}/{owner.metadata.uid}")
