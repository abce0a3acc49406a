"""Starting one container: its image, its environment, its files, its command; and how each of these fails."""

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from hypernetes.api import quantity, tenancy
from hypernetes.api.models.core_v1 import Container, Pod
from hypernetes.client import REQUEST_ERRORS
from hypernetes.nodeagent import actions, environment, fieldrefs, hosts, refusals, resizing, sizing
from hypernetes.nodeagent.addresses import Claim
from hypernetes.nodeagent.containers import START_ERROR, START_ERROR_CODE, ContainerRecord, Run, is_ephemeral
from hypernetes.nodeagent.containerspec import container_spec, disk_id
from hypernetes.nodeagent.environment import ConfigError
from hypernetes.nodeagent.images import pullsecrets, references
from hypernetes.nodeagent.images.manifests import ImageError
from hypernetes.nodeagent.images.puller import Pulled
from hypernetes.nodeagent.logs import PodLogs
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.runtime.base import ContainerSpec, Machine, MachineError
from hypernetes.nodeagent.sources import PodSources
from hypernetes.nodeagent.volumes import VolumeError

log = structlog.get_logger()

# How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff.
SHOW_ERROR_SECONDS = 1.0
HOOK_SECONDS = 120.0
MAX_VARIABLES_BYTES = 64 << 10  # of a file that variables are read from
# The machine's reasons for a command that can't run, as against a machine that can't do it now.
_COMMAND_REASONS = frozenset({"NoSuchCommand", "NotExecutable"})


Tell = Callable[[str, str, str], None]  # an Event: type, reason, message


class Failure(Exception):
    """A container that couldn't be started; `reason` is the word that its waiting state shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def present_images(parts: Parts, tenant: str, pod: Pod) -> dict[str, Path]:
    """Of the images that the pod's containers name those that the tenant has here already, by the ids of their disks.
    A pull may show that a name stands for another one by now."""
    found = {}
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        try:
            present = parts.puller.present(tenant, container.image or "")
        except references.InvalidReference:
            continue  # its start will say so
        if present is not None:
            found[disk_id(present.image.digest)] = present.image.disk
    return found


class Starter:
    """Starts the containers of one pod in its machine. Changes their records; the caller saves and shows them."""

    def __init__(
        self, parts: Parts, record: PodRecord, claim: Claim, machine: Machine, logs: PodLogs, facts: fieldrefs.PodFacts
    ) -> None:
        self._parts, self._record, self._claim = parts, record, claim
        self._machine, self._logs, self._facts = machine, logs, facts
        self._sources = PodSources(parts.client, record.tenant, record.namespace)
        self._disks = asyncio.Lock()

    async def start(self, pod: Pod, container: Container) -> None:
        """One attempt. What fails is in the record afterwards, and an Event. Only cancellation gets out."""
        record = self._record.containers[container.name]
        attempt = record.attempt + 1
        try:
            if is_ephemeral(pod, container.name):
                refusals.check_container(container)
            tell = functools.partial(self._event, pod, container)
            pulled = await self._image(pod, container.image or "", container.image_pull_policy, tell)
            record.image_id, record.image_digest = pulled.image_id, pulled.image.digest
            spec = await self._spec(pod, container, pulled, f"{record.name}.{attempt}")
            await self._attach(pulled)
            await self._replace(record)
            self._event(pod, container, "Normal", "Created", "Container created")
            await self._machine.start_container(spec)
            record.resources = resizing.resources_of(container)
        except MachineError as error:
            if error.reason in _COMMAND_REASONS:
                self._command_failed(pod, container, error)
            else:
                self._failed(pod, container, Failure("CreateContainerError", error.message))
        except (ConfigError, refusals.Refused) as error:
            self._failed(pod, container, Failure("CreateContainerConfigError", str(error)))
        except Failure as failure:
            self._failed(pod, container, failure)
        except REQUEST_ERRORS as error:
            self._failed(pod, container, Failure("CreateContainerConfigError", str(error)))
        except OSError as error:
            self._failed(pod, container, Failure("CreateContainerError", error.strerror or str(error)))
        else:
            # Its exit may have come before the answer to its start.
            if record.attempt < attempt:
                record.running(attempt, self._parts.clock(), self._parts.longest_restart_delay)
            self._event(pod, container, "Normal", "Started", "Container started")

    async def show_back_off(self, pod: Pod, container: Container) -> None:
        """A pull that failed shows its error for a moment, then that it is waited for."""
        record = self._record.containers[container.name]
        if record.waiting_reason != "ErrImagePull":
            return
        await asyncio.sleep(SHOW_ERROR_SECONDS)
        message = f'Back-off pulling image "{container.image}": ErrImagePull: {record.waiting_message}'
        record.waiting_reason, record.waiting_message = "ImagePullBackOff", message
        self._event(pod, container, "Normal", "BackOff", f'Back-off pulling image "{container.image}"')

    async def post_start(self, pod: Pod, container: Container) -> bool:
        """The postStart hook; False where it failed and the container must go."""
        hook = container.lifecycle.post_start if container.lifecycle else None
        if hook is None:
            return True
        outcome = await actions.act(self.target(container), hook, HOOK_SECONDS)
        if not outcome.ok:
            self._event(pod, container, "Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.message}")
        return outcome.ok

    def target(self, container: Container) -> actions.Target:
        record = self._record.containers[container.name]
        return actions.Target(self._machine, container, record.id, self._claim.address)

    async def attach_image(self, pod: Pod, name: str, policy: str | None) -> str:
        """The disk of an image that is a volume. Raises VolumeError, MachineError, StatusError, TransportError."""

        def tell(kind: str, reason: str, message: str) -> None:
            self._parts.events.event(pod, kind, reason, message, tenant=self._record.tenant)

        try:
            pulled = await self._image(pod, name, policy, tell)
        except Failure as failure:
            raise VolumeError(f"image {name!r}: {failure.reason}: {failure.message}") from failure
        await self._attach(pulled)
        return disk_id(pulled.image.digest)

    async def limit(self, container: Container, attempt: str) -> None:
        """New limits of a running attempt. Raises MachineError, also where it uses more memory than it would have."""
        memory = sizing.memory_limit(container)
        used = (await self._machine.usage()).containers.get(attempt)
        if memory is not None and used is not None and used.memory_bytes > memory:
            text = f"it uses {used.memory_bytes >> 20} MiB of memory, more than its new limit; its limits stay for now"
            raise MachineError("MemoryInUse", text)
        await self._machine.limit(attempt, memory, sizing.cpu_limit(container))

    async def bound(self, pod: Pod) -> None:
        """What all containers together may use: in the guest what the pod's own limits say, on the host the processor's
        exact share. Raises MachineError."""
        limits = [sizing.pod_limit(pod, name) for name in ("memory", "cpu")]
        if any(limits):
            memory, cpu = limits
            await self._machine.limit(
                None, None if memory is None else quantity.whole(memory), None if cpu is None else quantity.milli(cpu)
            )
        await self._machine.throttle(sizing.throttle_millis(pod))

    async def _image(self, pod: Pod, name: str, policy: str | None, tell: Tell) -> Pulled:
        try:
            reference = references.parse(name)
        except references.InvalidReference as error:
            raise Failure("InvalidImageName", str(error)) from error
        always = reference.digest is None and reference.tag == "latest"
        policy = policy or ("Always" if always else "IfNotPresent")
        present = self._parts.puller.present(self._record.tenant, name)
        if policy != "Always" and present is not None:
            tell("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return present
        if policy == "Never":
            raise Failure("ErrImageNeverPull", f'Container image "{name}" is not present with pull policy of Never')
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        credential = pullsecrets.credential(await self._sources.pull_secrets(pod), reference)
        started = time.monotonic()
        try:
            pulled = await self._parts.puller.pull(self._record.tenant, name, credential)
        except ImageError as error:
            tell("Warning", "Failed", f'Failed to pull image "{name}": {error}')
            raise Failure("ErrImagePull", str(error)) from error
        took = f"{time.monotonic() - started:.3f}s"
        message = f'Successfully pulled image "{name}" in {took} ({took} including waiting).'
        size = f"Image size: {pulled.image.size_bytes} bytes."
        tell("Normal", "Pulled", f"{message} {size}")
        return pulled

    async def _spec(self, pod: Pod, container: Container, pulled: Pulled, attempt_id: str) -> ContainerSpec:
        found = await self._sources.read(*environment.references(container))
        found = replace(found, files={each: await self._file(*each) for each in environment.files(container)})
        await self._parts.views.wait_synced(self._record.tenant)
        links = self._parts.views.services(self._record.tenant)
        variables = environment.environment(pod, container, found, links, self._facts)
        dns_address = tenancy.dns_address(self._claim.service_cidr)
        files = hosts.files(pod, self._claim.address, dns_address, self._parts.resolver)
        return container_spec(
            pod, container, pulled.image, attempt_id, variables, files, hosts.machine_name(pod), self._parts.seccomp,
            self._processes_of(pod, container),
        )  # fmt: skip

    async def _file(self, volume: str, path: str) -> bytes | None:
        """Of variables. None where there is none (yet)."""
        try:
            return await self._machine.read_file(volume, path, MAX_VARIABLES_BYTES)
        except MachineError as error:
            if error.reason == "NoSuchFile":
                return None
            if error.reason == "FileTooLarge":
                raise ConfigError(error.message) from error
            raise

    def _processes_of(self, pod: Pod, container: Container) -> str:
        """The running attempt of an ephemeral container's target, whose processes it sees; "" for no target."""
        found = next((each for each in pod.spec.ephemeral_containers if each.name == container.name), None)
        if found is None or not found.target_container_name or pod.spec.share_process_namespace:
            return ""
        target = self._record.containers.get(found.target_container_name)
        if target is None:
            raise ConfigError(f"the target container {found.target_container_name!r} is not in the pod")
        return target.id

    async def _attach(self, pulled: Pulled) -> None:
        """The image's disk, once per machine however many containers use it."""
        async with self._disks:
            digest = pulled.image.digest
            if digest not in self._record.images:
                try:
                    await self._machine.attach_disk(disk_id(digest), pulled.image.disk, read_only=True)
                except MachineError as error:
                    # Attached by an agent that died before it could write so down.
                    if error.reason != "DiskExists":
                        raise
                self._record.images.append(digest)
                self._parts.records.save(self._record)

    async def _replace(self, record: ContainerRecord) -> None:
        """Forgets the attempt that ended, and the output of the one before it."""
        if record.in_machine:
            await self._machine.remove_container(record.id)
            record.in_machine = False
        if record.attempt >= 1:
            self._logs.remove(f"{record.name}.{record.attempt - 1}")

    def _command_failed(self, pod: Pod, container: Container, error: MachineError) -> None:
        """A command that isn't in the image: an attempt that ended at once, so that restartPolicy applies to it."""
        record = self._record.containers[container.name]
        now = self._parts.clock()
        record.running(record.attempt + 1, now, self._parts.longest_restart_delay)
        record.exited(Run(record.id, START_ERROR_CODE, START_ERROR, error.message, now, now))
        record.in_machine = False
        self._event(pod, container, "Warning", "Failed", f"Error: {error.message}")

    def _failed(self, pod: Pod, container: Container, failure: Failure) -> None:
        record = self._record.containers[container.name]
        record.start_failed(failure.reason, failure.message, self._parts.clock())
        log.info("container.start.failed", pod=str(pod.metadata.uid), container=container.name, reason=failure.reason)
        if failure.reason == "ErrImagePull":
            self._event(pod, container, "Warning", "Failed", "Error: ErrImagePull")
        else:
            self._event(pod, container, "Warning", "Failed", f"Error: {failure.message}")

    def _event(self, pod: Pod, container: Container, kind: str, reason: str, message: str) -> None:
        if is_ephemeral(pod, container.name):
            part = "ephemeralContainers"
        else:
            part = "initContainers" if container in pod.spec.init_containers else "containers"
        field_path = f"spec.{part}{{{container.name}}}"
        self._parts.events.event(pod, kind, reason, message, tenant=self._record.tenant, field_path=field_path)
