"""A pod's containers from the first start to the last exit: starts what `lifecycle` says, probes what runs, keeps
tables and files fresh, and stops it all when the time has come."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Container, Pod, Probe
from hypernetes.client import REQUEST_ERRORS
from hypernetes.nodeagent import (
    actions,
    containerspec,
    lifecycle,
    podstatus,
    probes,
    resizing,
    stopping,
    storagelimits,
    volumes,
)
from hypernetes.nodeagent.broadcast import Broadcast
from hypernetes.nodeagent.containers import ContainerRecord, Phase, all_of
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.portkeeper import PortKeeper
from hypernetes.nodeagent.probes import Kind
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.servicepusher import ServicePusher
from hypernetes.nodeagent.session import Session
from hypernetes.nodeagent.starting import Starter
from hypernetes.nodeagent.volumes import PodVolumes, VolumeError

log = structlog.get_logger()

DEFAULT_GRACE_SECONDS = 30
RESIZE_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Why the node ends a pod. `disruption`: for the node's sake, not for what the pod did (KEP-3329)."""

    reason: str
    message: str
    disruption: bool = False
    most_grace: float = math.inf  # seconds; where the node can't wait for what the pod asks for


class PodContainers:
    """Of one machine. `pod` gives the newest version; `changed` is called when record and status must be written."""

    def __init__(
        self, parts: Parts, record: PodRecord, session: Session, starter: Starter, pusher: ServicePusher,
        port: PortKeeper, pod_volumes: PodVolumes, pod: Callable[[], Pod], changed: Callable[[], None],
        exits: Broadcast, metadata_changed: asyncio.Event,
    ) -> None:  # fmt: skip
        self._parts, self._record, self._session = parts, record, session
        self._starter, self._volumes = starter, pod_volumes
        self._pusher, self._port = pusher, port
        self._pod, self._changed, self._exits = pod, changed, exits
        self._metadata_changed = metadata_changed
        self._wake = asyncio.Event()
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._probing: dict[str, asyncio.Task[None]] = {}  # by container id
        self._stopping: set[str] = set()  # container ids
        self._resizing: set[str] = set()  # names
        self._end: Ended | None = None  # why the pod is to end
        self._tasks: asyncio.TaskGroup | None = None

    def end(self, why: Ended) -> None:
        """The pod fails, for a reason of the node's. The first one counts."""
        self._end = self._end or why
        self._wake.set()

    def wake(self) -> None:
        """Something has changed that decides what to do next."""
        self._wake.set()

    async def run(self) -> str | None:
        """The pod's final phase; None where the machine is lost."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            keepers = [
                tasks.create_task(self._pusher.run()),
                tasks.create_task(self._port.run()),
                tasks.create_task(self._keep_volumes()),
                tasks.create_task(self._watch_machine()),
                tasks.create_task(self._watch_storage()),
            ]
            try:
                return await self._steps(tasks)
            finally:
                self._tasks = None
                for task in (*keepers, *self._starting.values(), *self._probing.values()):
                    task.cancel()

    async def _steps(self, tasks: asyncio.TaskGroup) -> str | None:
        while True:
            self._wake.clear()
            if self._session.gone is not None:
                return None
            pod, now = self._pod(), self._parts.clock()
            if (deadline := self._deadline(pod)) is not None and now >= deadline:
                self._record.reason = "DeadlineExceeded"
                self._record.message = "Pod was active on the node longer than the specified deadline"
                return "Failed"
            if self._end is not None:
                self._record.reason, self._record.message = self._end.reason, self._end.message
                self._record.disruption = self._end.message if self._end.disruption else ""
                self._event("Warning", self._end.reason, self._end.message)
                return "Failed"
            decision = lifecycle.decide(pod, self._record.containers, now)
            if decision.finished is not None and not self._starting:
                return decision.finished
            for name in decision.start:
                if name not in self._starting:
                    container = next(each for each in all_of(pod) if each.name == name)
                    self._starting[name] = tasks.create_task(self._start(container))
            self._watch_probes(pod, tasks)
            self._resize(pod, tasks)
            self._changed()
            await self._wait([moment for moment in (decision.wake_at, deadline) if moment is not None])

    def _resize(self, pod: Pod, tasks: asyncio.TaskGroup) -> None:
        """Brings running containers to what the pod says now, all of them or none."""
        record = self._record
        wanted = list(resizing.changes(pod, record.containers))
        # The size of a machine that an older agent made isn't known: it is that of the pod's former spec or more.
        memory, cpus = record.machine_memory_bytes, record.machine_cpus
        why = resizing.infeasible(pod, memory, cpus) if wanted and memory else ""
        if why and why != record.infeasible:
            self._event("Warning", "ResizeInfeasible", why)
        record.infeasible = why
        for change in wanted if not why else ():
            name = change.container.name
            attempt = record.containers[name].id
            if name in self._resizing or name in self._starting or attempt in self._stopping:
                continue
            self._resizing.add(name)
            tasks.create_task(self._resize_one(change, attempt))

    async def _resize_one(self, change: resizing.Change, attempt: str) -> None:
        container = change.container
        record = self._record.containers[container.name]
        try:
            if change.means is resizing.Means.RESTART:
                why = f"Container {container.name} is restarted: its resources have changed"
                await self._kill(container, attempt, why, self._grace(None))
                return
            if change.means is resizing.Means.LIMIT:
                await self._starter.limit(container, attempt)
                await self._starter.bound(self._pod())
            if self._runs(attempt):
                record.resources = resizing.resources_of(container)
                self._event("Normal", "ResizeCompleted", f"Container {container.name} has its new resources")
        except MachineError as error:
            self._event("Warning", "ResizeError", f"Container {container.name}: {error.message}")
            await asyncio.sleep(RESIZE_RETRY_SECONDS)
        finally:
            self._resizing.discard(container.name)
            self._wake.set()

    async def _wait(self, moments: list[float]) -> None:
        timeout = max(min(moments) - self._parts.clock(), 0.0) if moments else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    def _deadline(self, pod: Pod) -> float | None:
        if pod.spec.active_deadline_seconds is None:
            return None
        return times.parse_time(self._record.start_time).timestamp() + pod.spec.active_deadline_seconds

    async def _watch_machine(self) -> None:
        await self._session.ended.wait()
        self._wake.set()

    async def _watch_storage(self) -> None:
        """Until the pod is beyond a limit."""
        while self._end is None:
            await asyncio.sleep(storagelimits.LOOK_SECONDS)
            pod = self._pod()
            if not storagelimits.limits(pod).any:
                continue
            try:
                excess = await storagelimits.first_excess(pod, self._record.containers, self._session.machine)
            except MachineError as error:
                log.info("pod.storage.unknown", pod=self._record.uid, error=error.message)
                continue
            if excess:
                self.end(Ended("Evicted", excess))

    async def _start(self, container: Container) -> None:
        try:
            record = self._record.containers[container.name]
            if record.phase is Phase.EXITED and record.delay > 0:
                message = podstatus.back_off_message(self._pod(), record)
                self._event("Warning", "BackOff", message)
            await self._starter.start(self._pod(), container)
            self._changed()
            if record.phase is Phase.RUNNING:
                attempt = record.id
                if not await self._starter.post_start(self._pod(), container) and self._runs(attempt):
                    await self._kill(container, attempt, "FailedPostStartHook", self._grace(None))
            else:
                await self._starter.show_back_off(self._pod(), container)
        finally:
            self._starting.pop(container.name, None)
            self._wake.set()

    def _watch_probes(self, pod: Pod, tasks: asyncio.TaskGroup) -> None:
        """One task per running attempt; those of attempts that ended are cancelled."""
        alive = set()
        for container in all_of(pod):
            record = self._record.containers[container.name]
            if record.phase is not Phase.RUNNING or container.name in self._starting:
                continue
            alive.add(record.id)
            if record.id not in self._probing:
                self._probing[record.id] = tasks.create_task(self._probe(container, record, tasks))
        for gone in set(self._probing) - alive:
            self._probing.pop(gone).cancel()

    async def _probe(self, container: Container, record: ContainerRecord, tasks: asyncio.TaskGroup) -> None:
        attempt = record.id
        target = self._starter.target(container)

        async def probe(spec: Probe) -> actions.Outcome:
            return await actions.act(target, spec, probes.timeout(spec))

        def report(kind: Kind, ok: bool) -> None:
            if not self._runs(attempt):
                return
            if kind is Kind.READINESS:
                record.ready = ok
            elif kind is Kind.STARTUP and ok:
                record.started = True
            else:
                grace = self._grace(container.liveness_probe if kind is Kind.LIVENESS else container.startup_probe)
                reason = f"Container {container.name} failed {kind.value.lower()} probe, will be restarted"
                tasks.create_task(self._kill(container, attempt, reason, grace))
            self._changed()
            self._wake.set()

        def complain(kind: Kind, message: str) -> None:
            self._event("Warning", "Unhealthy", f"{kind.value} probe failed: {message}")

        await probes.run(container, probe, report, complain)

    async def _kill(self, container: Container, attempt: str, why: str, grace: float) -> None:
        if attempt in self._stopping:
            return
        self._event("Normal", "Killing", why)
        await self._stop(container, grace)

    async def stop_all(self, grace: float) -> None:
        """All that runs, within `grace` seconds; with 0 at once."""
        running = [record.name for record in self._record.containers.values() if record.phase is Phase.RUNNING]
        for name in running:
            self._event("Normal", "Killing", f"Stopping container {name}")
        await stopping.stop_pod(self._pod(), running, grace, self._stop)

    async def _stop(self, container: Container, grace: float) -> None:
        record = self._record.containers[container.name]
        attempt = record.id
        self._stopping.add(attempt)
        image = self._parts.puller.stored(record.image_digest)
        number = containerspec.stop_signal(container, image.config.stop_signal if image else "")
        try:
            complaint = await stopping.stop_container(
                self._starter.target(container), number, grace, lambda: self._exit(attempt)
            )
            if complaint:
                self._event("Warning", "FailedPreStopHook", complaint)
        finally:
            self._stopping.discard(attempt)

    async def _exit(self, attempt: str) -> None:
        while self._runs(attempt) and self._session.gone is None:
            await self._exits.wait()

    def _runs(self, attempt: str) -> bool:
        return any(each.id == attempt and each.phase is Phase.RUNNING for each in self._record.containers.values())

    def _grace(self, probe: Probe | None) -> float:
        own = probe.termination_grace_period_seconds if probe else None
        pod = self._pod().spec.termination_grace_period_seconds
        return float(own if own is not None else DEFAULT_GRACE_SECONDS if pod is None else pod)

    async def _keep_volumes(self) -> None:
        if not self._volumes.needs_refresh:
            # After adoption nothing is known to be written; once, and then as the sources change.
            await self._refresh_volumes()
        while self._volumes.needs_refresh:
            await volumes.wait_for_refresh(self._metadata_changed)
            await self._refresh_volumes()

    async def _refresh_volumes(self) -> None:
        try:
            await self._volumes.refresh(self._pod())
        except (VolumeError, MachineError, *REQUEST_ERRORS) as error:
            log.info("volume.refresh.failed", pod=self._record.uid, error=str(error))
            if isinstance(error, VolumeError):
                self._event("Warning", "FailedMount", str(error))

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._parts.events.event(self._pod(), kind, reason, message, tenant=self._record.tenant)


def remaining_grace(pod: Pod, now: float, default: float) -> float:
    """Seconds until the time that the deletion promised; never more than the pod's own grace."""
    grace = pod.metadata.deletion_grace_period_seconds
    if not pod.metadata.deletion_timestamp or grace is None:
        return default
    deadline = times.parse_time(pod.metadata.deletion_timestamp).timestamp()
    return min(max(deadline - now, 0.0), float(grace)) if grace else 0.0
