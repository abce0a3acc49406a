"""VolumeSnapshotContents: the snapshot is taken once its content is there, and deleted before that goes."""

from hypernetes.api import times
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.models.snapshot_v1 import (
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    VolumeSnapshotContentStatus,
    VolumeSnapshotError,
)
from hypernetes.api.volumes import names
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller, Unfinished
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import classes, faults
from hypernetes.controllers.volumes.providers import Providers, answer, owner_of
from hypernetes.controllers.volumes.provisioner import REFUSED_SECONDS
from hypernetes.controllers.volumes.snapshots import CONTENT_FINALIZER
from hypernetes.providers.volume.base import (
    Exhausted,
    Handle,
    Refused,
    Snapshot,
    SnapshotRequest,
    VolumeError,
    VolumeProvider,
)


def snapshot_name(content: VolumeSnapshotContent) -> str:
    """What the driver knows the request by."""
    return f"snapshot-{content.spec.volume_snapshot_ref.uid}"


class VolumeSnapshotContents(Controller):
    name = "volumesnapshotcontent"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, providers: Providers) -> None:
        super().__init__(client, informers, recorder)
        self._providers = providers
        self._contents = informers.of(VolumeSnapshotContent)
        self._classes = informers.of(VolumeSnapshotClass)
        self._tenants = informers.of(Tenant)
        self._contents.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        content = self._contents.get(key)
        if content is None:
            return None
        provider = self._providers.get(content.spec.driver)
        if provider is None:
            return None
        try:
            if content.metadata.deletion_timestamp is not None:
                await self._end(key, content, provider)
            elif not content.status.ready_to_use and content.spec.volume_snapshot_ref.uid:
                await self._take(key, content, provider)
        except VolumeError as error:
            reason = "SnapshotDeleteError" if content.metadata.deletion_timestamp else "SnapshotCreationFailed"
            self.recorder.event(content, "Warning", reason, f"{error.reason}: {error}")
            await self._fail(key, content, error)
            if isinstance(error, Refused):
                return REFUSED_SECONDS
            raise Unfinished(str(error)) from error
        return None

    async def _take(self, key: Key, content: VolumeSnapshotContent, provider: VolumeProvider) -> None:
        if content.spec.source.snapshot_handle:
            status = VolumeSnapshotContentStatus(ready_to_use=True, snapshot_handle=content.spec.source.snapshot_handle)
        else:
            taken = await self._snapshot(key, content, provider)
            faults.passed(faults.SNAPSHOT_TAKEN)
            if taken.topology.node is not None:
                kept = content.model_copy(deep=True)
                kept.metadata.annotations[names.SOURCE_NODE] = taken.topology.node
                content = await self.client.update(kept, tenant=key.tenant)
            status = VolumeSnapshotContentStatus(
                creation_time=int(taken.created * 1e9),
                ready_to_use=True,
                restore_size=taken.size_bytes,
                snapshot_handle=taken.id,
            )
        await self._write(key, content, status)

    async def _snapshot(self, key: Key, content: VolumeSnapshotContent, provider: VolumeProvider) -> Snapshot:
        """The one that there is, if an earlier attempt has taken it. Raises VolumeError."""
        found = classes.find(self._classes, key.tenant, content.spec.volume_snapshot_class_name)
        parameters = dict(found.parameters) if found is not None else {}
        if found is not None and not classes.is_providers(found):
            others = sorted(set(parameters) - provider.permitted_parameters)
            if others and content.metadata.deletion_timestamp is None:
                message = f"only the provider's classes may have the parameters {', '.join(others)}"
                raise Refused("ParameterNotPermitted", message)
        owner = owner_of(self._tenants, key.tenant)
        source = Handle(owner, content.spec.source.volume_handle or "")
        return await answer(provider.snapshot(SnapshotRequest(snapshot_name(content), source, parameters)))

    async def _end(self, key: Key, content: VolumeSnapshotContent, provider: VolumeProvider) -> None:
        if CONTENT_FINALIZER not in content.metadata.finalizers:
            return
        if content.spec.deletion_policy == "Delete":
            handle = content.status.snapshot_handle or content.spec.source.snapshot_handle
            if not handle:
                try:
                    handle = (await self._snapshot(key, content, provider)).id
                except (Refused, Exhausted):
                    handle = None  # what can't be taken isn't there
            if handle:
                await answer(provider.delete_snapshot(Handle(owner_of(self._tenants, key.tenant), handle)))
            faults.passed(faults.SNAPSHOT_DELETED)
        freed = content.model_copy(deep=True)
        freed.metadata.finalizers.remove(CONTENT_FINALIZER)
        await self.client.update(freed, tenant=key.tenant)

    async def _fail(self, key: Key, content: VolumeSnapshotContent, error: VolumeError) -> None:
        message = f"{error.reason}: {error}"
        if content.status.error is not None and content.status.error.message == message:
            return
        told = VolumeSnapshotError(message=message, time=times.format_time(times.now()))
        await self._write(key, content, content.status.model_copy(update={"error": told, "ready_to_use": False}))

    async def _write(
        self, key: Key, content: VolumeSnapshotContent, status: VolumeSnapshotContentStatus
    ) -> None:  # fmt: skip
        try:
            await self.client.update_status(content.model_copy(update={"status": status}), tenant=key.tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
