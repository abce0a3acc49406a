"""A node under pressure: which pod has to go, and its end.

As upstream's node-pressure eviction (https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/),
but that the node is shared: the tenant whose pods are the most over their requests, all together, gives one; of its
pods first those over their requests, then by priority, then by how much they are over. One pod at a time, with its
preStop hooks and its grace period, until the pressure is gone. What a pod takes is what the node has measured: a guest
has no say in it. Pods end for no lack of process ids: a machine has few threads, whatever runs in it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent.node import MachineFacts, under_pressure
from hypernetes.nodeagent.podcontainers import Ended
from hypernetes.nodeagent.podworker import PodWorker
from hypernetes.nodeagent.runtime.base import Footprint

log = structlog.get_logger()

LOOK_SECONDS = 10.0
MOST_GRACE_SECONDS = 30.0  # whatever an evicted pod asks for: others wait for what it has
# A pod that ends gives back what it takes within its grace; this long no other is taken for the same lack.
SETTLE_SECONDS = 30.0

MEMORY, DISK = "memory", "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Bytes of the resource that is short."""

    uid: str
    tenant: str
    priority: int
    used: int
    requested: int

    @property
    def over(self) -> int:
        return self.used - self.requested


def victim(candidates: Iterable[Candidate]) -> Candidate | None:
    """Who goes next."""
    pods = list(candidates)
    by_tenant: Counter[str] = Counter()
    for pod in pods:
        by_tenant[pod.tenant] += pod.over
    return max(
        pods,
        key=lambda pod: (by_tenant[pod.tenant], pod.tenant, pod.over > 0, -pod.priority, pod.over, pod.uid),
        default=None,
    )


def requested(pod: Pod, resource: str) -> int:
    """By its containers that run all the time."""
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    texts = [each.resources.requests.get(resource, "0") for each in (*pod.spec.containers, *sidecars) if each.resources]
    return sum(map(quantity.whole, texts))


class PressureKeeper:
    """`facts` and `footprint` (by a pod's UID) are asked in a thread. Raise OSError."""

    def __init__(
        self, workers: Callable[[], list[PodWorker]], facts: Callable[[], MachineFacts],
        footprint: Callable[[str], Footprint],
    ) -> None:  # fmt: skip
        self._workers, self._facts, self._footprint = workers, facts, footprint

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                evicted = await self.look()
            except OSError as error:
                log.warning("pressure.unknown", error=str(error))
                continue
            if evicted is not None:
                await self._settle(evicted)

    async def look(self) -> PodWorker | None:
        """The pod that had to go, if any had to."""
        facts = await asyncio.to_thread(self._facts)
        short = under_pressure(facts)
        resource = MEMORY if short.memory else DISK if short.disk else None
        if resource is None:
            return None
        workers = {worker.record.uid: worker for worker in self._workers() if worker.can_end}
        found = [await asyncio.to_thread(self._candidate, worker, resource) for worker in workers.values()]
        chosen = victim(found)
        if chosen is None:
            log.warning("pressure.unrelieved", resource=resource, why="no pod runs that could be evicted")
            return None
        worker = workers[chosen.uid]
        log.warning(
            "pod.evicted", pod=chosen.uid, tenant=chosen.tenant, resource=resource, used=chosen.used,
            requested=chosen.requested,
        )  # fmt: skip
        message = (
            f"The node was low on resource: {resource}. The pod was using {chosen.used // 1024}Ki, "
            f"request is {chosen.requested // 1024}Ki. "
        )
        worker.end(Ended("Evicted", message, disruption=True, most_grace=MOST_GRACE_SECONDS))
        return worker

    def _candidate(self, worker: PodWorker, resource: str) -> Candidate:
        record, footprint = worker.record, self._footprint(worker.record.uid)
        used = footprint.memory_bytes if resource == MEMORY else footprint.disk_bytes
        return Candidate(
            record.uid, record.tenant, worker.pod.spec.priority or 0, used, requested(worker.pod, resource)
        )

    async def _settle(self, worker: PodWorker) -> None:
        """Until the pod has given everything back, or has had its time for it."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS + worker.grace):
                await worker.given_back.wait()
        except TimeoutError:
            log.warning("pod.evicted.still_there", pod=worker.record.uid)
