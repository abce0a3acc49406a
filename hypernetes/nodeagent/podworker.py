"""One pod's life on this node: a durable state machine with named steps (`podrecord.Step`).

    claim address ─► plug network ─► boot ─► configure ─► services ─► volumes ─► containers ─► finished
                         ▲                                                          │              │
                         └──────────── the machine is lost (power cut) ◄────────────┘              │
    any step, when the pod is deleted ─► terminating ─► removed ◄──────────────────────────────────┘

The record says what is to be done next, and is saved before anything later may be done. A worker that starts finds
what was done: the claim in the record or by the pod's UID, the machine by adoption, containers by asking the machine.
Whatever a step does twice after a crash is idempotent. Images are pulled by `starting`, container by container.
"""

import asyncio
import contextlib
import errno
import math
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from hypernetes.api import tenancy, times
from hypernetes.api.models.core_v1 import Pod, PodStatus
from hypernetes.client import REQUEST_ERRORS, is_reason
from hypernetes.nodeagent import endings, hosts, lifecycle, podstatus, refusals, sizing
from hypernetes.nodeagent.addresses import AddressError
from hypernetes.nodeagent.broadcast import Broadcast
from hypernetes.nodeagent.containers import Phase, attempt_of, is_of, reconcile, run_of
from hypernetes.nodeagent.logs import PodLogs
from hypernetes.nodeagent.machineparts import MachineParts
from hypernetes.nodeagent.parts import Parts, PodVolumesOfNode
from hypernetes.nodeagent.podcontainers import DEFAULT_GRACE_SECONDS, Ended, PodContainers, remaining_grace
from hypernetes.nodeagent.podrecord import PodRecord, Step
from hypernetes.nodeagent.refusals import Refused
from hypernetes.nodeagent.runtime.base import (
    ContainerStatus,
    GuestConfig,
    GuestNetwork,
    Machine,
    MachineError,
    MachineSpec,
    Nic,
)
from hypernetes.nodeagent.session import Session
from hypernetes.nodeagent.starting import present_images
from hypernetes.nodeagent.statuswriter import StatusWriter
from hypernetes.nodeagent.storage.claims import is_persistent
from hypernetes.nodeagent.volumes import VolumeError
from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.volume import base as providers_volume

log = structlog.get_logger()

FIRST_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
# Of a machine that can't be made: what is lacking on the node seldom comes back at once.
MAX_PREPARE_RETRY_SECONDS = 300.0
# What a pod's volumes wait for (another pod's end, a claim) comes at any time.
MAX_VOLUME_RETRY_SECONDS = 15.0
SHUTDOWN_SECONDS = 5.0
# Of a machine that has to write out what its volumes' caches hold.
CLOSE_VOLUMES_SECONDS = 60.0
# For a pod that has gone from the API already: nobody waits for it, and its address may be wanted.
FORCED_GRACE_SECONDS = 1.0

# What a step may fail with and be tried again, and the event's reason for it.
_RETRIED = (
    Refused, AddressError, NetworkError, MachineError, VolumeError, providers_volume.VolumeError, OSError,
    *REQUEST_ERRORS,
)  # fmt: skip


class PodWorker:
    """`machine` is the adopted one, where there is one; with `gone` it has ended and only waits to be cleared away.
    `update` and `deleted` come from the informer."""

    def __init__(
        self, parts: Parts, pod: Pod, record: PodRecord, machine: Machine | None = None, *, gone: bool = False
    ) -> None:
        self._parts, self.record, self.machine, self._machine_gone = parts, record, machine, gone
        self.logs = PodLogs(parts.records.directory(record.uid) / "logs")
        self.session: Session | None = None
        self._session_task: asyncio.Task[None] | None = None
        record.admit(pod)
        self._status = StatusWriter(parts.client, pod, record.tenant, self._build_status)
        self._deletion = asyncio.Event()  # the pod is to end, or is gone from the API
        self._exits = Broadcast()
        self._metadata_changed = asyncio.Event()
        self._removed_from_api = False
        self._most_grace = math.inf
        self.given_back = asyncio.Event()  # it has nothing of the node any more, but its logs
        self._containers: PodContainers | None = None
        self._machine_parts: MachineParts | None = None
        self._storage: PodVolumesOfNode | None = None
        self._storage_task: asyncio.Task[None] | None = None
        if pod.metadata.deletion_timestamp:
            self._deletion.set()

    @property
    def pod(self) -> Pod:
        return self._status.pod

    def update(self, pod: Pod) -> None:
        """A newer version of the pod."""
        relabelled = pod.metadata.labels != self.pod.metadata.labels
        if relabelled or pod.metadata.annotations != self.pod.metadata.annotations:
            self._metadata_changed.set()
        self.record.admit(pod)
        self._status.update(pod)
        if relabelled:
            self._parts.views.network_changed(self.record.tenant)
        if pod.metadata.deletion_timestamp:
            self._deletion.set()
        if self._containers is not None:
            self._containers.wake()

    @property
    def can_end(self) -> bool:
        """Whether its containers are looked after now, so that `end` is heard."""
        ends = self.record.final_phase is not None or self.record.reason or self._deletion.is_set()
        return self._containers is not None and not ends

    def end(self, why: Ended) -> None:
        """For a reason of the node's."""
        if self._containers is not None:
            self._most_grace = why.most_grace
            self._containers.end(why)

    def deleted(self) -> None:
        """The pod is gone from the API."""
        self._removed_from_api = self._status.gone = True
        self._deletion.set()

    async def run(self) -> None:
        """The pod's life, to its end. Cancelled, it leaves everything as it is for the next agent; and so it does where
        something unexpected is raised, in any of its tasks: an ExceptionGroup then, and `again` makes its successor."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                writer = self._tasks.create_task(self._status.run())
                if self.record.step not in (Step.TERMINATING, Step.REMOVED) and not self._deletion.is_set():
                    await self._until_deletion(self._live())
                await self._terminate()
                await self._remove()
                writer.cancel()
        finally:
            await self._end_session()
            self.logs.close()

    async def pause(self, seconds: float) -> None:
        """Before `again`; a deletion that comes meanwhile doesn't wait."""
        if self._deletion.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deletion.wait()

    def again(self) -> "PodWorker":
        """A worker to go on after this one failed: from the record on disk, with the machine that it had."""
        record = self._parts.records.read(self.record.uid) or self.record
        gone = self.session is not None and self.session.gone is not None
        successor = PodWorker(self._parts, self.pod, record, self.machine, gone=gone)
        if self._removed_from_api:
            successor.deleted()
        return successor

    def running(self, container_id: str) -> bool:
        """Whether this attempt of a container runs; for those who follow its log."""
        return any(
            record.id == container_id and record.phase is Phase.RUNNING for record in self.record.containers.values()
        )

    async def _until_deletion(self, life: Awaitable[None]) -> None:
        living = asyncio.ensure_future(life)
        ending = asyncio.create_task(self._deletion.wait())
        try:
            await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
                await ending
        finally:
            for task in (living, ending):
                task.cancel()
            await asyncio.gather(living, ending, return_exceptions=True)

    async def _live(self) -> None:
        """Until the pod is finished."""
        if self.record.step is Step.FINISHED:
            await self._finish()
            return
        if not self.record.start_time:
            self.record.start_time = times.format_time(datetime.fromtimestamp(self._parts.clock(), UTC))
        await self._take_adopted()
        while True:
            self._status.notify()
            await self._prepare()
            if self.record.step is Step.CONTAINERS and await self._run_containers():
                break
            if not await self._machine_lost():
                break
        await self._finish()

    async def _take_adopted(self) -> None:
        """Sorts out, after the agent's start, what the record says and what is really there."""
        if self._machine_gone:
            await self._end_machine()
        if self.machine is not None:
            if not self.record.past(Step.BOOT):
                self._step(Step.CONFIGURE)
            self.record.boot_id = self.machine.boot_id
            await self._join(self.machine)
        elif self.record.past(Step.BOOT):
            self._lose_containers()

    async def _join(self, machine: Machine) -> None:
        await self._begin_session()
        try:
            found = await machine.containers()
            reconcile(self.record.containers, found, self._parts.clock(), self._parts.longest_restart_delay)
        except MachineError as error:
            log.warning("machine.adopted.silent", pod=self.record.uid, error=error.message)
        self._changed()

    async def _prepare(self) -> None:
        """The steps before the containers, each until it succeeds."""
        steps: dict[Step, Callable[[], Awaitable[Step]]] = {
            Step.CLAIM_ADDRESS: self._claim_address,
            Step.PLUG_NETWORK: self._boot,
            Step.BOOT: self._boot,
            Step.CONFIGURE: self._configure,
            Step.SERVICES: self._push_services,
            Step.VOLUMES: self._make_volumes,
        }
        delay = FIRST_RETRY_SECONDS
        while (act := steps.get(self.record.step)) is not None:
            try:
                following = await act()
            except _RETRIED as error:
                self._complain(self.record.step, error)
                if self.session is not None and self.session.gone is not None:
                    return
                await asyncio.sleep(delay)
                longest = MAX_VOLUME_RETRY_SECONDS if self.record.step is Step.VOLUMES else MAX_PREPARE_RETRY_SECONDS
                delay = min(delay * 2, longest)
            else:
                delay = FIRST_RETRY_SECONDS
                self._step(following)

    def _complain(self, step: Step, error: Exception) -> None:
        failed_mount = getattr(error, "event_reason", "FailedMount")
        reason = failed_mount if step is Step.VOLUMES else "FailedCreatePodSandBox"
        message = _plain_words(error)
        log.info("pod.step.failed", pod=self.record.uid, step=step.value, error=str(error))
        text = message if step is Step.VOLUMES else f"Failed to create the pod's machine ({step.value}): {message}"
        self._parts.events.event(self.pod, "Warning", reason, text, tenant=self.record.tenant)

    async def _claim_address(self) -> Step:
        refusals.check(self.pod)
        self.record.claim = await self._parts.addresses.claim(self.pod, self.record.tenant)
        self._open_storage()
        self._status.notify()
        return Step.PLUG_NETWORK

    async def _boot(self) -> Step:
        """Plugs and boots in one: the tap's file can't outlive the agent, so a crash in between plugs again."""
        claim = self.record.claim
        assert claim is not None
        self._step(Step.PLUG_NETWORK)
        port = await self._parts.addresses.bound(claim, self.record.tenant, self.record.uid)
        plugged = await self._parts.network.plug(port)
        self.record.mtu, self.record.images = plugged.mtu, []
        self._step(Step.BOOT)
        size = sizing.of(self.pod)
        self.record.machine_memory_bytes, self.record.machine_cpus = size.memory_bytes, size.cpus
        self.record.size_reason, self.record.size_message = size.reason, size.message
        spec = MachineSpec(
            id=self.record.uid,
            memory_bytes=self.record.machine_memory_bytes,
            cpus=self.record.machine_cpus,
            nic=Nic(plugged.tap_fd, claim.mac_address),
            scratch_bytes=sizing.scratch_bytes(self.pod),
            label=f"{self.record.tenant}/{self.record.namespace}/{self.record.name}",
            images=present_images(self._parts, self.record.tenant, self.pod),
        )
        try:
            self.machine = await self._parts.runtime.create(spec, self._parts.guest_access(self.record))
        finally:
            os.close(plugged.tap_fd)
        self.record.boot_id = self.machine.boot_id
        self._parts.events.event(self.pod, "Normal", "MachineSized", size.message, tenant=self.record.tenant)
        await self._begin_session()
        return Step.CONFIGURE

    def _open_storage(self) -> None:
        """While the machine boots. What fails is tried again, and told, in the step that needs it."""

        async def opened() -> None:
            with contextlib.suppress(*_RETRIED):
                await self._pod_storage().open(self.pod)

        self._storage_task = self._tasks.create_task(opened())

    def _pod_storage(self) -> PodVolumesOfNode:
        if self._storage is None:
            self._storage = self._parts.storage.of_pod(self.record)
        return self._storage

    async def _stop_opening(self) -> None:
        task, self._storage_task = self._storage_task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _configure(self) -> Step:
        machine, claim = self.machine, self.record.claim
        assert machine is not None
        assert claim is not None
        network = GuestNetwork(
            address=claim.interface,
            gateway=claim.subnet.gateway,
            mtu=self.record.mtu,
            service_cidr=claim.service_cidr,
            dns_address=tenancy.dns_address(claim.service_cidr),
            kubernetes_address=tenancy.kubernetes_address(claim.service_cidr),
        )
        context = self.pod.spec.security_context
        sysctls = {each.name: each.value for each in context.sysctls} if context else {}
        share = bool(self.pod.spec.share_process_namespace)
        await machine.configure(GuestConfig(hosts.machine_name(self.pod), network, share, sysctls))
        self._status.notify()
        return Step.SERVICES

    async def _push_services(self) -> Step:
        """The last step before anything of the pod runs: policies must be in force by then, too."""
        made = self._of_machine()
        await made.port.enforce()
        await made.pusher.push()
        return Step.VOLUMES

    async def _make_volumes(self) -> Step:
        made = self._of_machine()
        assert self.machine is not None
        await self._pod_storage().mount(self.pod, self.machine)
        await made.volumes.make(self.pod)
        await made.starter.bound(self.pod)
        return Step.CONTAINERS

    def _of_machine(self) -> "MachineParts":
        """What serves the present machine, made once for each."""
        assert self.machine is not None
        assert self.record.claim is not None
        if self._machine_parts is None:
            self._machine_parts = MachineParts.of(self._parts, self.record, self.machine, self.logs, lambda: self.pod)
        return self._machine_parts

    async def _run_containers(self) -> bool:
        """Until the pod is finished (True) or its machine lost."""
        made = self._of_machine()
        assert self.session is not None
        self._containers = PodContainers(
            self._parts, self.record, self.session, made.starter, made.pusher, made.port, made.volumes,
            lambda: self.pod, self._changed, self._exits, self._metadata_changed,
        )  # fmt: skip
        assert self.machine is not None
        growing = self._tasks.create_task(self._pod_storage().follow(self.pod, self.machine))
        try:
            phase = "Failed" if self.record.reason else await self._containers.run()
            if phase is None:
                return False
            if self.record.reason:
                # Ended by the node, which an agent that dies meanwhile leaves to the next: over when nothing runs.
                self._changed()
                await self._containers.stop_all(self.grace)
        finally:
            growing.cancel()
            await asyncio.wait({growing})
        self.record.final_phase = phase
        self._step(Step.FINISHED)
        return True

    async def _machine_lost(self) -> bool:
        """As after a power cut: all that ran is gone, the address stays. False where the pod ends by it."""
        gone = self.session.gone if self.session else None
        message = gone.message if gone else "the machine did not answer"
        log.warning("machine.lost", pod=self.record.uid, reason=gone.reason if gone else "", message=message)
        self._parts.events.event(
            self.pod, "Warning", "SandboxChanged", f"The pod's machine is gone and is started again: {message}",
            tenant=self.record.tenant,
        )  # fmt: skip
        await self._end_machine()
        self._lose_containers()
        return self.record.step is not Step.FINISHED

    def _lose_containers(self) -> None:
        """A pod whose containers mustn't run twice ends; all others begin again at the network, init containers too."""
        now = self._parts.clock()
        for record in self.record.containers.values():
            record.lost(now)
        started = any(self.record.containers[container.name].attempt >= 0 for container in self.pod.spec.containers)
        decision = lifecycle.decide(self.pod, self.record.containers, now)
        never = self.pod.spec.restart_policy == "Never" or bool(self.record.reason)
        if started and (decision.finished is not None or never):
            self.record.final_phase = "Failed" if self.record.reason else decision.finished or "Failed"
            self._step(Step.FINISHED)
            return
        for container in self.pod.spec.init_containers:
            self.record.containers[container.name].again()
        for container in self.pod.spec.containers:
            record = self.record.containers[container.name]
            if self.pod.spec.init_containers and lifecycle.waits_for_restart(self.pod, container, record):
                record.again()
        self._step(Step.PLUG_NETWORK if self.record.claim else Step.CLAIM_ADDRESS)

    async def _finish(self) -> None:
        """Gives back what a finished pod doesn't need; its status and logs stay until it is deleted."""
        self._changed()
        await self._give_back()
        self._changed()

    async def _terminate(self) -> None:
        """Stops what runs within the grace period, and gives everything back."""
        if self.record.step is Step.REMOVED:
            return
        was_running = self.record.step in (Step.CONTAINERS, Step.TERMINATING)
        self._step(Step.TERMINATING)
        if was_running and self.machine is not None and not self._machine_gone:
            if self.session is None:
                await self._join(self.machine)
            await self._stop_containers()
        await self._give_back()

    async def _stop_containers(self) -> None:
        made = self._of_machine()
        assert self.session is not None
        running = PodContainers(
            self._parts, self.record, self.session, made.starter, made.pusher, made.port, made.volumes,
            lambda: self.pod, self._changed, self._exits, self._metadata_changed,
        )  # fmt: skip
        await running.stop_all(self.grace)

    @property
    def grace(self) -> float:
        """Seconds that it may take to end."""
        if self._removed_from_api:
            return FORCED_GRACE_SECONDS
        own = self.pod.spec.termination_grace_period_seconds
        default = float(DEFAULT_GRACE_SECONDS if own is None else own)
        return min(remaining_grace(self.pod, self._parts.clock(), default), self._most_grace)

    async def _give_back(self) -> None:
        """Machine, port, address, in this order; each again until it succeeds."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._stop_opening()
                await self._end_machine()
                await self._parts.storage.give_back(self.record.uid)
                await self._parts.network.unplug(self.record.uid)
                if self.record.claim is not None:
                    await self._parts.addresses.release(self.record.claim, self.record.tenant, self.record.uid)
                self.given_back.set()
                return
            except _RETRIED as error:
                log.warning("pod.give_back.failed", pod=self.record.uid, error=str(error))
                self._status.notify()  # what has ended so far: this may take long
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)

    async def _remove(self) -> None:
        """The last status, then the object itself, then the record."""
        now = self._parts.clock()
        for record in self.record.containers.values():
            record.lost(now)
        self._step(Step.REMOVED)
        delay = FIRST_RETRY_SECONDS
        while not self._removed_from_api:
            try:
                self._status.notify()
                await self._status.flush()
                if not self._status.gone:
                    await self._parts.client.delete(
                        Pod, self.record.name, namespace=self.record.namespace, tenant=self.record.tenant,
                        grace_seconds=0, uid=self.record.uid,
                    )  # fmt: skip
                break
            except REQUEST_ERRORS as error:
                if is_reason(error, "NotFound", "Conflict"):
                    break
                log.warning("pod.delete.failed", pod=self.record.uid, error=str(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)
        self.logs.close()
        self._parts.records.remove(self.record.uid)

    async def _begin_session(self) -> None:
        assert self.machine is not None
        await self._end_session()
        self._machine_parts = None
        self.session = Session(
            self.machine, self.logs, self._on_exit, lambda container_id: is_of(self.record.containers, container_id)
        )
        self._session_task = self._tasks.create_task(self.session.run())

    async def _end_session(self) -> None:
        task, self._session_task = self._session_task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _end_machine(self) -> None:
        if self.machine is not None:
            volumes = any(is_persistent(volume) for volume in self.pod.spec.volumes)
            await self.machine.shutdown(CLOSE_VOLUMES_SECONDS if volumes else SHUTDOWN_SECONDS)
            await self._end_session()
            self.machine = self.session = self._machine_parts = self._containers = None

    def _on_exit(self, status: ContainerStatus) -> None:
        parsed = attempt_of(status.id)
        record = self.record.containers.get(parsed[0]) if parsed else None
        if parsed is None or record is None or parsed[1] < record.attempt:
            return
        now = self._parts.clock()
        if parsed[1] > record.attempt:
            record.running(parsed[1], status.started_at or now, self._parts.longest_restart_delay)
        if record.phase is Phase.RUNNING:
            run, warning = endings.explained(self.pod, parsed[0], run_of(status, now), self.logs)
            if warning:
                self._parts.events.event(self.pod, "Warning", "OutOfMemory", warning, tenant=self.record.tenant)
            record.exited(run)
        self._exits.notify()
        self.logs.notify()
        self._changed()
        if self._containers is not None:
            self._containers.wake()

    def _step(self, step: Step) -> None:
        if step is not self.record.step:
            log.info("pod.step", pod=self.record.uid, name=self.record.name, step=step.value)
        self.record.step = step
        self._changed()

    def _changed(self) -> None:
        """Record first, then status: what the API was told is never forgotten."""
        try:
            self._parts.records.save(self.record)
        except OSError as error:
            # The node's disk is full: what runs goes on, and the next change saves this one too.
            log.error("pod.record.save.failed", pod=self.record.uid, error=str(error))
        if not self._is_clearing():
            self._status.notify()

    def _is_clearing(self) -> bool:
        """Whether of a deleted pod only the machine is left to go: the last status, which comes then, says all."""
        phases = (record.phase for record in self.record.containers.values())
        return self.record.step is Step.TERMINATING and Phase.RUNNING not in phases

    def _build_status(self, pod: Pod) -> PodStatus:
        record = self.record
        machine_ready = self.machine is not None and record.past(Step.CONFIGURE) and record.final_phase is None
        state = podstatus.PodState(
            host_ip=self._parts.host_ip,
            pod_ip=record.claim.address if record.claim and record.boot_id else "",
            start_time=record.start_time,
            machine_ready=machine_ready,
            final_phase=record.final_phase or self._ended_phase(),
            reason=record.reason,
            message=record.message,
            infeasible=record.infeasible,
            disruption=record.disruption,
            size_reason=record.size_reason,
            size_message=record.size_message,
        )
        return podstatus.build(pod, record.containers, state, self._parts.clock())

    def _ended_phase(self) -> str | None:
        """Of a deleted pod whose containers have all ended: how, by their exit codes."""
        if self.record.step is not Step.REMOVED:
            return None
        codes = [
            run.exit_code if (run := self.record.containers[each.name].ended) else 0
            for each in self.pod.spec.containers
        ]
        return "Failed" if any(codes) else "Succeeded"


def _plain_words(error: Exception) -> str:
    """For the pod's owner: without the paths of this node."""
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return "the node's disk is full; the pod starts when there is space again"
        return error.strerror or type(error).__name__
    return getattr(error, "message", None) or str(error)
