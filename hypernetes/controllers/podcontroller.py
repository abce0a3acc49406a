"""What the controllers that own pods do alike: adopt and release them, create and delete them, tell of it."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.object import Object, tenant_of
from hypernetes.api.selectors import Selector
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Informer, Key, is_reason, key_of
from hypernetes.controllers import ownership, pods
from hypernetes.controllers.controller import Controller, is_failure
from hypernetes.controllers.expectations import Expectations
from hypernetes.controllers.informers import Informers, namespace_index, uid_index
from hypernetes.controllers.writes import Create, Delete, Patch, Write, carry_out_one

T = TypeVar("T", bound=Object)


def batches(total: int) -> list[int]:
    """1, 2, 4, … and the rest: a template that can't work costs one refused request and not a thousand."""
    sizes, size = [], 1
    while total > 0:
        sizes.append(min(size, total))
        total -= sizes[-1]
        size *= 2
    return sizes


def pods_of(informer: Informer[Pod], owner: Any) -> list[Pod]:
    """All pods in the cache that `owner` controls. One of another namespace may only claim so."""
    found = informer.by_index("controller", uid_index(tenant_of(owner), owner.metadata.uid))
    return [pod for pod in found if pod.metadata.namespace == owner.metadata.namespace]


def glimpses_of(informer: Informer[Pod], owner: Any) -> list[Any]:
    """The same as glimpses: for owners of thousands."""
    found = informer.glimpses("controller", uid_index(tenant_of(owner), owner.metadata.uid))
    return [pod for pod in found if pod.metadata.namespace == owner.metadata.namespace]


class PodController(Controller, Generic[T]):
    """A controller of one kind of owner. Its keys are those of the owners; their pods' events lead to them."""

    model: type[T]

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.owners: Informer[T] = informers.of(self.model)
        self.pods = informers.of(Pod)
        self.expectations = Expectations(self.pods, lambda: asyncio.get_running_loop().time())
        self.owners.on_key(self.queue.add)
        self.pods.on_change(self._pod_changed)

    @abstractmethod
    def selects(self, owner: Any) -> Selector:
        """Which pods in its namespace are to be the owner's."""

    def adoption(self, owner: Any, pod: Pod) -> Patch:
        return ownership.adoption(owner, pod)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            reference = pod and ownership.controller_of(pod)
            if reference and reference.kind_ == self.model.KIND:
                self.queue.add(Key(key.tenant, key.namespace, reference.name))
        if new is not None and ownership.controller_of(new) is None:
            for candidate in self.owners.index_keys("namespace", namespace_index(key.tenant, key.namespace)):
                owner = self.owners.get(candidate)
                if owner is not None and self.selects(owner)(new.metadata.labels):
                    self.queue.add(candidate)

    def may_adopt(self, owner: Any, pod: Any) -> bool:
        """Whether a pod without a controller that its selector fits may become the owner's."""
        return True

    def known_pods(self, owner: Any) -> list[Any]:
        """What the cache has of its pods: those themselves, or as much of each as the controller needs."""
        return pods_of(self.pods, owner)

    def orphans(self, key: Key) -> list[Any]:
        return self.pods.by_index("orphan", namespace_index(key.tenant, key.namespace))

    async def claim(self, key: Key, owner: Any) -> list[Any]:
        """The owner's pods, with those it adopts now and without those it releases."""
        orphans = [pod for pod in self.orphans(key) if self.may_adopt(owner, pod)]
        candidates = [*self.known_pods(owner), *orphans]
        claimed = ownership.claim(owner, self.selects(owner), candidates)
        if claimed.adopt and await self._still_there(key, owner):
            for pod in claimed.adopt:
                if pods.is_active(pod):
                    claimed.owned.append(await carry_out_one(self.client, key.tenant, self.adoption(owner, pod)))
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

    async def change_pods(self, key: Key, owner: Any, delete: Sequence[Any], create: Sequence[Pod]) -> Exception | None:
        """Deletions, then creations, in batches that double while all goes well. Gives the first failure, after which
        nothing more was begun."""
        writes: list[Write] = [*map(Delete, delete), *map(Create, create)]
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
            everyday = is_reason(error, "NotFound", "Conflict") and not creating
            if not everyday and is_failure(error):
                self.recorder.event(
                    owner, "Warning", "FailedCreate" if creating else "FailedDelete", f"Error {verb}: {error}"
                )
            return error
        if isinstance(write, Create):
            self.expectations.created(key, result.metadata.resource_version)
            self.recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {result.metadata.name}")
        elif isinstance(write, Delete):
            pod: Any = write.obj
            self.expectations.deleted(key, key_of(pod), pod.metadata.uid)
            self.recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
        return None
