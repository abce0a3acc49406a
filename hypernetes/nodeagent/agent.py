"""The agent: follows the pods that are this node's, one worker for each, and finds again what an earlier agent left.

At start: records and pods are compared; `Runtime.adopt` is told which machines may go on (those of pods the API still
gives this node) and ends all others; ports of pods that are gone are swept. Then one worker per pod.
"""

import asyncio
from collections.abc import Mapping

import structlog

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import REQUEST_ERRORS, Informer, Key
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord, Step
from hypernetes.nodeagent.podworker import PodWorker
from hypernetes.nodeagent.runtime.base import GuestServices, Machine, MachineError
from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.volume.base import VolumeError

log = structlog.get_logger()

RETRY_SECONDS = 5.0
# Before a pod's worker that failed unexpectedly is followed by another.
FIRST_REVIVAL_SECONDS = 1.0
MAX_REVIVAL_SECONDS = 300.0


class Agent:
    """Owns the workers. `pods` is an informer of the pods whose spec.nodeName is this node."""

    def __init__(self, parts: Parts, pods: Informer[Pod]) -> None:
        self._parts, self._pods = parts, pods
        self._workers: dict[str, PodWorker] = {}  # by UID
        self.adopted = asyncio.Event()
        self.closing = False  # the node is being shut down: pods that come now are for the next agent

    def worker(self, key: Key, uid: str | None = None) -> PodWorker | None:
        """The worker of the pod of this name (the newest, where a deleted one still ends)."""
        found = [
            worker
            for worker in self._workers.values()
            if (worker.record.tenant, worker.record.namespace, worker.record.name) == tuple(key)
            and uid in (None, worker.record.uid)
        ]
        return next(
            (worker for worker in found if not worker.pod.metadata.deletion_timestamp), found[0] if found else None
        )

    def workers(self) -> list[PodWorker]:
        return list(self._workers.values())

    def images_in_use(self) -> frozenset[str]:
        """Digests that some pod's machine has as a disk."""
        return frozenset(digest for worker in self._workers.values() for digest in worker.record.images)

    async def run(self) -> None:
        """Until cancelled; the machines stay."""
        await self._pods.wait_synced()
        records = {record.uid: record for record in self._parts.records.load()}
        pods = {pod.metadata.uid or "": (key, pod) for key, pod in self._pods.items()}
        machines = await self._adopt(records, pods)
        await self._sweep(records)
        await self._parts.storage.adopt()
        async with asyncio.TaskGroup() as tasks:
            self._group = tasks
            for uid in self._parts.storage.pods() - records.keys():
                tasks.create_task(self._clear_storage(uid))
            for uid, record in records.items():
                if uid in pods:
                    self._begin(pods[uid][1], record, machines.get(uid))
                else:
                    tasks.create_task(self._clear(record))
            self._pods.on_change(self._changed)
            for key, pod in self._pods.items():
                self._changed(key, None, pod)
            self.adopted.set()
            await asyncio.Event().wait()

    async def _adopt(self, records: Mapping[str, PodRecord], pods: Mapping[str, object]) -> Mapping[str, Machine]:
        services: dict[str, GuestServices] = {
            uid: self._parts.guest_access(record)
            for uid, record in records.items()
            if uid in pods and record.claim is not None and record.step not in (Step.FINISHED, Step.REMOVED)
        }
        while True:
            try:
                machines = await self._parts.runtime.adopt(services)
            except MachineError as error:
                log.error("adopt.failed", error=error.message)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            log.info("agent.adopted", machines=len(machines), records=len(records))
            return machines

    async def _sweep(self, records: Mapping[str, PodRecord]) -> None:
        while True:
            try:
                await self._parts.network.open()
                await self._parts.network.sweep(frozenset(records))
                return
            except NetworkError as error:
                log.error("network.open.failed", error=error.message)
                await asyncio.sleep(RETRY_SECONDS)

    async def _clear(self, record: PodRecord) -> None:
        """What is left of a pod that the API doesn't have any more. Its machine is gone by adoption."""
        await self._clear_storage(record.uid)
        while True:
            try:
                await self._parts.network.unplug(record.uid)
                if record.claim is not None:
                    await self._parts.addresses.release(record.claim, record.tenant, record.uid)
                break
            except (NetworkError, *REQUEST_ERRORS) as error:
                log.warning("pod.clear.failed", pod=record.uid, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        self._parts.records.remove(record.uid)

    async def _clear_storage(self, pod_uid: str) -> None:
        """Of a pod whose machine is gone."""
        while True:
            try:
                await self._parts.storage.give_back(pod_uid)
                return
            except (VolumeError, OSError, *REQUEST_ERRORS) as error:
                log.warning("pod.clear.failed", pod=pod_uid, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        """Of the informer. A pod deleted and made again under its name has another UID, and a worker of its own."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            gone = self._workers.get(old.metadata.uid or "")
            if gone is not None:
                gone.deleted()
        if new is None:
            return
        worker = self._workers.get(new.metadata.uid or "")
        if worker is not None:
            worker.update(new)
        elif self.closing and not new.metadata.deletion_timestamp:
            log.info("pod.postponed", pod=new.metadata.uid, why="the node is being shut down")
        elif new.status.phase not in ("Succeeded", "Failed") or new.metadata.deletion_timestamp:
            self._begin(new, PodRecord.of(new, key.tenant), None)

    def _begin(self, pod: Pod, record: PodRecord, machine: Machine | None) -> None:
        worker = PodWorker(self._parts, pod, record, machine)
        self._workers[record.uid] = worker
        self._parts.views.follow(record.tenant)
        self._group.create_task(self._live(worker))

    async def _live(self, worker: PodWorker) -> None:
        """A worker that fails unexpectedly is followed by another, later each time; no other pod notices."""
        uid, delay = worker.record.uid, FIRST_REVIVAL_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await worker.run()
                break
            except Exception as error:
                log.exception("pod.worker.failed", pod=uid, name=worker.record.name, step=worker.record.step.value)
                self._tell_failure(worker, error)
            if loop.time() - began > MAX_REVIVAL_SECONDS:
                delay = FIRST_REVIVAL_SECONDS
            await worker.pause(delay)
            delay = min(delay * 2, MAX_REVIVAL_SECONDS)
            worker = self._workers[uid] = worker.again()
        self._workers.pop(uid, None)
        self._parts.views.leave(worker.record.tenant)

    def _tell_failure(self, worker: PodWorker, error: Exception) -> None:
        """The kind of the error only: its text may tell about the node, and it's the provider's to mend."""
        kind = type(error.exceptions[0] if isinstance(error, ExceptionGroup) else error).__name__
        message = (
            f"The node failed to look after the pod in the step {worker.record.step.value!r} and tries again: {kind}"
        )
        self._parts.events.event(worker.pod, "Warning", "FailedSync", message, tenant=worker.record.tenant)
