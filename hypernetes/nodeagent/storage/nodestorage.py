"""What all pods of a node share: the storage processes, what is attached to the node, and what it says is in use.

A node says that it has a volume in use before it looks whether the volume is attached to it, and the attach controller
says that an attachment is to end before it looks what the node has in use: one of the two sees the other.
"""

import asyncio
from collections.abc import Iterable

import structlog

from hypernetes.api import tenancy, volumenames
from hypernetes.api.models.core_v1 import Node
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.client import REQUEST_ERRORS, Client, Informer
from hypernetes.nodeagent.changes import Changes
from hypernetes.nodeagent.storage.claims import AttachError, Disk
from hypernetes.nodeagent.storage.processes import Key, StorageProcesses

log = structlog.get_logger()

HANDLE = "hypernetes.io/volume-handle"  # annotation of a VolumeAttachment: what is attached
FILE_SYSTEM_BYTES = "hypernetes.io/file-system-bytes"  # the same: how large the agent has made the file system
# A look is over after this time, says why it waits, and comes again.
ATTACH_SECONDS = 15.0
RETRY_SECONDS = 1.0
_ANY = ""


class NodeStorage:
    def __init__(
        self, client: Client, node: str, processes: StorageProcesses, attachments: Informer[VolumeAttachment]
    ) -> None:
        self.processes = processes
        self._client, self._node, self._attachments = client, node, attachments
        self._used: dict[Key, str] = {}  # unique names
        self._adopted = False
        self._writing = asyncio.Lock()
        self._changed, self._told = 0, -1  # counts of changes of what is used: all, and those that the server knows
        self._changes = Changes()
        self._grown = Changes()
        attachments.on_key(lambda key: self._changes.tell(_ANY))

    async def adopt(self) -> None:
        """What an earlier agent had open is in use. Until it could be said, nothing is opened."""
        await self.processes.adopt()
        self._used.update((each.key, each.unique_name) for each in self.processes.opened())
        self._adopted = True
        while True:
            try:
                await self._tell()
                return
            except REQUEST_ERRORS as error:
                log.warning("storage.in_use.failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def in_use(self) -> list[str] | None:
        """What the Node says, whoever writes its status. None while it isn't known what an earlier agent had open."""
        return sorted(set(self._used.values())) if self._adopted else None

    async def use(self, key: Key, name: str) -> None:
        """Once it returns the server knows. Raises StatusError, TransportError; whether it counts is then unknown,
        until `leave`."""
        if self._used.get(key) != name:
            self._used[key] = name
            self._changed += 1
        await self._tell()

    async def leave(self, keys: Iterable[Key]) -> None:
        """What isn't open any more; what still is stays in use. Idempotent. Raises StatusError, TransportError: then it
        is said at the next call, or with the Node's status."""
        open_ = {each.key for each in self.processes.opened()}
        for key in set(keys) & self._used.keys() - open_:
            del self._used[key]
            self._changed += 1
        await self._tell()

    async def leave_pod(self, pod_uid: str) -> None:
        """The same of all that a pod had."""
        await self.leave([key for key in self._used if key.pod_uid == pod_uid])

    async def attached(self, tenant: str, disk: Disk) -> VolumeAttachment:
        """The attachment of a volume to this node, once it is there. Raises AttachError after a while."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ATTACH_SECONDS
        while True:
            seen = self._changes.generation(_ANY)
            found = self._find(tenant, disk)
            if found is not None and found.status.attached and found.metadata.deletion_timestamp is None:
                return found
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changes.after(_ANY, seen)
            except TimeoutError:
                raise AttachError(_why(disk, found)) from None

    async def still_attached(self, tenant: str, disk: Disk) -> VolumeAttachment:
        """As the server has it now, and not this node's cache. Raises AttachError, StatusError, TransportError."""
        listed = await self._client.list(
            VolumeAttachment, tenant=tenant, field_selector=f"spec.nodeName={self._node}"
        )  # fmt: skip
        for each in listed.items:
            if _is_of(each, disk) and each.status.attached and each.metadata.deletion_timestamp is None:
                return each
        raise AttachError(f'volume "{disk.title}" is not attached to this node any more')

    async def tell_size(self, tenant: str, disk: Disk, size_bytes: int) -> None:
        """How large the file system is now. Raises StatusError, TransportError."""
        found = self._find(tenant, disk)
        if found is not None and found.metadata.annotations.get(FILE_SYSTEM_BYTES) != str(size_bytes):
            body = {"metadata": {"annotations": {FILE_SYSTEM_BYTES: str(size_bytes)}}}
            await self._client.patch(VolumeAttachment, found.metadata.name or "", body, tenant=tenant)

    def has_grown(self) -> None:
        """Some volume that this node keeps has."""
        self._grown.tell(_ANY)

    def growth(self) -> int:
        return self._grown.generation(_ANY)

    async def wait_growth(self, seen: int) -> None:
        await self._grown.after(_ANY, seen)

    def _find(self, tenant: str, disk: Disk) -> VolumeAttachment | None:
        for key, each in self._attachments.items():
            if key.tenant == tenant and _is_of(each, disk):
                return each
        return None

    async def _tell(self) -> None:
        async with self._writing:
            changes = self._changed
            if self._told == changes:
                return
            self._told = -1  # a request that fails may have been heard
            body = {"status": {"volumesInUse": self.in_use() or None}}
            await self._client.patch(
                Node, self._node, body, tenant=tenancy.SYSTEM_TENANT, subresource="status"
            )  # fmt: skip
            self._told = changes


def unique_name(tenant: str, disk: Disk) -> str:
    return volumenames.unique(tenant, disk.driver, disk.handle)


def _is_of(attachment: VolumeAttachment, disk: Disk) -> bool:
    return attachment.spec.attacher == disk.driver and attachment.metadata.annotations.get(HANDLE) == disk.handle


def _why(disk: Disk, found: VolumeAttachment | None) -> str:
    if found is None:
        return f'volume "{disk.title}" waits to be attached to this node'
    if found.metadata.deletion_timestamp is not None:
        return f'volume "{disk.title}" is being detached from this node; it is attached again after that'
    error = found.status.attach_error
    return f'volume "{disk.title}" can\'t be attached: {error.message if error else "not done yet"}'
