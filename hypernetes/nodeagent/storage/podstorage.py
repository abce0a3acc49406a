"""A pod's persistent volumes, from its claims to mounts in its machine, and back.

    claims bound ─► said to be in use ─► attached ─► storage process ─► plugged and mounted ─► grown …
    machine has ended ─► storage process ended ─► not in use any more

The first part runs while the machine boots. Every step may be done again after a crash.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

import structlog

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.volumes.names import READ_ONLY
from hypernetes.client import REQUEST_ERRORS, Client
from hypernetes.nodeagent.runtime.base import Machine, MachineError, NfsVolume, VolumeDisk
from hypernetes.nodeagent.storage import daemon
from hypernetes.nodeagent.storage.claims import Claims, Disk, Share, is_persistent
from hypernetes.nodeagent.storage.nodestorage import NodeStorage, unique_name
from hypernetes.nodeagent.storage.processes import Key, Opened
from hypernetes.nodeagent.volumes import VolumeError
from hypernetes.providers.volume import base

log = structlog.get_logger()

# How often the size of PersistentVolumes is looked at; of those that this node keeps, when they grow.
SIZE_SECONDS = 10.0
Resolve = Callable[[str], Awaitable[str]]  # a server's name → an address; raises VolumeError


class PodStorage:
    """Of one pod. Methods raise VolumeError (the node's or a provider's), MachineError, OSError, StatusError and
    TransportError."""

    def __init__(
        self, client: Client, storage: NodeStorage, owner: base.Owner, namespace: str, pod_uid: str, resolve: Resolve
    ) -> None:
        self._storage, self._owner, self._pod_uid, self._resolve = storage, owner, pod_uid, resolve
        self._claims = Claims(client, owner.tenant, namespace)
        self._wanted: list[Disk | Share] | None = None
        self._grown: dict[str, int] = {}  # the size in bytes that the machine knows, by volume; unknown after a restart
        self._opening = asyncio.Lock()

    async def open(self, pod: Pod) -> None:
        """Until a storage process exports each volume."""
        if not any(is_persistent(volume) for volume in pod.spec.volumes):
            return
        async with self._opening:
            wanted = await self._claims.wanted(pod)
            self._wanted = wanted
            await asyncio.gather(*(self._open(each) for each in wanted if isinstance(each, Disk)))

    async def mount(self, pod: Pod, machine: Machine) -> None:
        """Opens what isn't open, and mounts it all in the machine."""
        await self.open(pod)
        await asyncio.gather(*(self._mount(each, pod, machine) for each in self._wanted or ()))

    async def follow(self, pod: Pod, machine: Machine) -> None:
        """Grows what grows, until cancelled or nothing can."""
        if not any(is_persistent(volume) for volume in pod.spec.volumes):
            return
        disks = [each for each in await self._known(pod) if isinstance(each, Disk) and not each.read_only]
        seen = self._storage.growth()
        while disks:
            for disk in disks:
                try:
                    await self._grow(disk, machine)
                except (VolumeError, base.VolumeError, MachineError, OSError, *REQUEST_ERRORS) as error:
                    log.warning("storage.grow.failed", pod=self._pod_uid, volume=disk.volume, error=str(error))
            try:
                async with asyncio.timeout(SIZE_SECONDS):
                    await self._storage.wait_growth(seen)
            except TimeoutError:
                continue
            finally:
                seen = self._storage.growth()

    async def _known(self, pod: Pod) -> list[Disk | Share]:
        """What it is that is mounted: after the agent's start it is read again."""
        while self._wanted is None:
            try:
                self._wanted = await self._claims.wanted(pod)
            except (VolumeError, *REQUEST_ERRORS) as error:
                log.info("storage.claims.unknown", pod=self._pod_uid, error=str(error))
                await asyncio.sleep(SIZE_SECONDS)
        return self._wanted

    async def _open(self, disk: Disk) -> None:
        tenant, name = self._owner.tenant, unique_name(self._owner.tenant, disk)
        key = Key(self._pod_uid, disk.volume)
        present = next((each for each in self._storage.processes.opened(self._pod_uid) if each.key == key), None)
        if present is not None:
            await self._storage.use(key, name)
            await self._storage.processes.open(present)
            return
        await self._storage.attached(tenant, disk)
        try:
            await self._storage.use(key, name)
            attachment = await self._storage.still_attached(tenant, disk)
            if attachment.metadata.annotations.get(READ_ONLY) == "true" and not disk.read_only:
                raise VolumeError(f'volume "{disk.volume}" is attached to this node for pods that only read it')
            await self._storage.processes.open(
                Opened(
                    self._pod_uid, disk.volume, disk.driver, self._owner, disk.handle,
                    dict(attachment.status.attachment_metadata), disk.read_only,
                )
            )  # fmt: skip
        except BaseException:
            await asyncio.shield(self._left(key))
            raise

    async def _left(self, key: Key) -> None:
        """What couldn't be opened isn't in use, unless it couldn't be closed either."""
        try:
            await self._storage.leave([key])
        except REQUEST_ERRORS as error:
            log.warning("storage.in_use.failed", pod=self._pod_uid, volume=key.volume, error=str(error))

    async def _mount(self, wanted: Disk | Share, pod: Pod, machine: Machine) -> None:
        if isinstance(wanted, Share):
            address = await self._resolve(wanted.server)
            shown = f"[{wanted.server}]" if ":" in wanted.server else wanted.server
            await machine.mount_nfs(
                NfsVolume(wanted.volume, f"{shown}:{wanted.path}", address, wanted.read_only, wanted.mount_options)
            )
            return
        key, context = Key(self._pod_uid, wanted.volume), pod.spec.security_context
        await self._storage.processes.grant(key, machine.uid)
        await machine.attach_volume(
            VolumeDisk(
                wanted.volume, self._storage.processes.socket(key), daemon.EXPORT, wanted.read_only, wanted.block,
                wanted.file_system, wanted.mount_options, context.fs_group if context else None,
                bool(context and context.fs_group_change_policy == "OnRootMismatch"),
            )
        )  # fmt: skip
        if not wanted.read_only:
            size = self._grown[wanted.volume] = await self._storage.processes.size(key)
            if not wanted.block:
                await self._storage.tell_size(self._owner.tenant, wanted, size)

    async def _grow(self, disk: Disk, machine: Machine) -> None:
        said = await self._claims.capacity(disk)
        key = Key(self._pod_uid, disk.volume)
        if said is None:
            return
        present = await self._storage.processes.size(key)
        size = max(quantity.whole(said), present)
        if self._grown.get(disk.volume) != size:
            if size > present:
                await self._storage.processes.resize(key, size)
            # Also where the volume has that size: an earlier attempt may have got no further.
            await machine.grow_volume(disk.volume, size)
            self._grown[disk.volume] = size
            log.info("storage.grown", pod=self._pod_uid, volume=disk.volume, bytes=size)
        if not disk.block:
            await self._storage.tell_size(self._owner.tenant, disk, size)


async def give_back(storage: NodeStorage, pod_uid: str) -> None:
    """What a pod whose machine has ended had open. Idempotent. Raises VolumeError, OSError, StatusError,
    TransportError."""
    for opened in storage.processes.opened(pod_uid):
        await storage.processes.close(opened.key)
    await storage.leave_pod(pod_uid)


async def no_names(server: str) -> str:
    """For where there is nobody to ask: addresses only."""
    try:
        return str(ipaddress.ip_address(server))
    except ValueError:
        raise VolumeError(f"the NFS server {server!r} must be an address") from None
