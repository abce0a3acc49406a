"""Attaches volumes to the nodes of the pods that use them, and detaches them: a VolumeAttachment for each.

    recorded ─► provider.attach ─► status.attached ─► … ─► to end ─► (node lets go, or is fenced) ─► provider.detach

All that happens to one volume happens one after another, so keys are volumes: (tenant, driver, handle).

A node says in its status which volumes it has in use before it looks whether it may open one, and we say that an
attachment is to end before we look what the node has in use: so one of the two sees the other. A node that can't say
any more is fenced, but only once somebody has declared it out of service, or it is gone.
"""

from collections.abc import Iterable

from hypernetes.api import times, volumenames
from hypernetes.api.models.core_v1 import (
    CSIPersistentVolumeSource,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    Pod,
)
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.models.storage_v1 import (
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
    VolumeAttachmentStatus,
)
from hypernetes.api.models.storage_v1 import (
    VolumeError as AttachError,
)
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.api.volumes import names
from hypernetes.api.volumes.names import Storage
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import pods as podfacts
from hypernetes.controllers import taints
from hypernetes.controllers.controller import Controller, Unfinished
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import attachplan, faults
from hypernetes.controllers.volumes.attachplan import Plan, Use
from hypernetes.controllers.volumes.providers import Providers, answer, owner_of
from hypernetes.controllers.writes import Delete, carry_out_one
from hypernetes.providers.volume.base import IO_LIMITS, Handle, VolumeError, VolumeProvider

_LOOK_AGAIN_SECONDS = 10.0  # at a node that has the volume in use, if nothing is heard of it


def storage_of_key(key: Key) -> Storage:
    return Storage(key.tenant, key.namespace, key.name)


class VolumeAttachments(Controller):
    name = "attachdetach"
    workers = 16

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, providers: Providers) -> None:
        super().__init__(client, informers, recorder)
        self._providers = providers
        self._pods = informers.of(Pod)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._attachments = informers.of(VolumeAttachment)
        self._nodes = informers.of(Node)
        self._tenants = informers.of(Tenant)
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._attachments.on_change(self._attachment_changed)
        self._nodes.on_change(self._node_changed)

    # Which volumes a change is about

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and _situation(old) == _situation(new):
            return
        for pod in (old, new):
            if pod is not None:
                for storage in self._storage_of(key.tenant, pod):
                    self._add(storage)

    def _claim_changed(
        self, key: Key, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:  # fmt: skip
        for claim in (old, new):
            if claim is not None:
                self._add(self._storage_of_claim(key.tenant, claim))

    def _volume_changed(self, key: Key, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        for volume in (old, new):
            if volume is not None:
                self._add(names.storage_of(key.tenant, volume.spec))

    def _attachment_changed(self, key: Key, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        found = new or old
        if found is not None:
            self._add(names.attached_storage(found))

    def _node_changed(self, key: Key, old: Node | None, new: Node | None) -> None:
        if key.tenant == SYSTEM_TENANT and (old is None or new is None or _says(old) != _says(new)):
            for attachment in self._attachments.by_index("node", key.name):
                if attachment.metadata.deletion_timestamp is not None:
                    self._add(names.attached_storage(attachment))

    def _add(self, storage: Storage | None) -> None:
        if storage is not None and self._providers.get(storage.driver) is not None:
            self.queue.add(Key(*storage))

    def _storage_of(self, tenant: str, pod: Pod) -> Iterable[Storage]:
        yield from names.inline_storage(pod).values()
        for name in names.claims_of(pod).values():
            claim = self._claims.get(Key(tenant, pod.metadata.namespace or "", name))
            storage = self._storage_of_claim(tenant, claim) if claim is not None else None
            if storage is not None:
                yield storage

    def _storage_of_claim(self, tenant: str, claim: PersistentVolumeClaim) -> Storage | None:
        volume = self._volumes.get(Key(tenant, "", claim.spec.volume_name)) if claim.spec.volume_name else None
        return names.storage_of(tenant, volume.spec) if volume is not None else None

    # What is the case

    def _uses(self, storage: Storage) -> tuple[list[Use], list[PersistentVolume]]:
        """By pods that have a node and haven't ended, through claims that are bound to the volume, or in line."""
        index = names.storage_index(storage)
        volumes = sorted(self._volumes.by_index("storage", index), key=lambda volume: volume.metadata.name or "")
        found: dict[str, Use] = {}
        for volume in volumes:
            reference = volume.spec.claim_ref
            if reference is None or volume.status.phase != "Bound":
                continue
            claim = self._claims.get(Key(storage.tenant, reference.namespace or "", reference.name or ""))
            if claim is None or claim.metadata.uid != reference.uid or claim.spec.volume_name != volume.metadata.name:
                continue
            where = names.claim_index(storage.tenant, reference.namespace, reference.name)
            for pod in self._pods.by_index("claim", where):
                for use in _uses_of_claim(pod, reference.name or ""):
                    found.setdefault(pod.metadata.uid or "", use)
        for pod in self._pods.by_index("storage", index):
            for use in _uses_in_line(pod, storage):
                found.setdefault(pod.metadata.uid or "", use)
        return list(found.values()), volumes

    async def reconcile(self, key: Key) -> float | None:
        storage = storage_of_key(key)
        provider = self._providers.get(storage.driver)
        if provider is None:
            return None
        uses, volumes = self._uses(storage)
        spec = _spec(storage, uses, volumes)
        present = self._attachments.by_index("storage", names.storage_index(storage))
        plan = attachplan.decide(spec, uses, present)
        for use, node in plan.waiting:
            self._say_taken(use, node, volumes, storage)
        again = await self._let_go(storage, plan, provider)
        failures = []
        for node, read_only in plan.attach:
            assert spec is not None
            made = await self.client.create(_recorded(storage, node, volumes, spec, read_only), tenant=storage.tenant)
            faults.passed(faults.ATTACHMENT_RECORDED)
            plan.make.append(made)
        for attachment in plan.make:
            error = await self._attach(storage, attachment, provider, uses, volumes)
            if error is not None:
                failures.append(error)
        if failures:
            raise Unfinished(str(failures[0])) from failures[0]
        return again

    # Attaching

    async def _attach(
        self, storage: Storage, attachment: VolumeAttachment, provider: VolumeProvider, uses: list[Use],
        volumes: list[PersistentVolume],
    ) -> VolumeError | None:  # fmt: skip
        """The error, which has been told, if there is one."""
        node = attachment.spec.node_name
        pods = [use.pod for use in uses if use.node == node]
        name = volumes[0].metadata.name if volumes else storage.handle
        try:
            handle = Handle(owner_of(self._tenants, storage.tenant), storage.handle)
            read_only = attachplan.is_read_only(attachment)
            metadata = await answer(provider.attach(handle, node, read_only=read_only))
        except VolumeError as error:
            said = f'AttachVolume.Attach failed for volume "{name}" : {error.reason}: {error}'
            for pod in pods:
                self.recorder.event(pod, "Warning", "FailedAttachVolume", said)
            status = VolumeAttachmentStatus(attached=False, attach_error=_told(error, attachment.status.attach_error))
            await self._write(storage, attachment, status)
            return error
        faults.passed(faults.ATTACHED)
        limits = _limits(volumes)
        status = VolumeAttachmentStatus(attached=True, attachment_metadata={**limits, **metadata})
        await self._write(storage, attachment, status)
        for pod in pods:
            message = f'AttachVolume.Attach succeeded for volume "{name}"'
            self.recorder.event(pod, "Normal", "SuccessfulAttachVolume", message)
        return None

    async def _write(self, storage: Storage, attachment: VolumeAttachment, status: VolumeAttachmentStatus) -> None:
        if status != attachment.status:
            await self.client.update_status(attachment.model_copy(update={"status": status}), tenant=storage.tenant)

    def _say_taken(self, use: Use, node: str, volumes: list[PersistentVolume], storage: Storage) -> None:
        name = volumes[0].metadata.name if volumes else storage.handle
        if node == use.node:
            return
        message = (
            f'Multi-Attach error for volume "{name}" Volume is already exclusively attached to one node and can\'t be '
            "attached to another; what several nodes are to write must be a file system on the network (nfs)"
        )
        self.recorder.event(use.pod, "Warning", "FailedAttachVolume", message)

    # Detaching

    async def _let_go(self, storage: Storage, plan: Plan, provider: VolumeProvider) -> float | None:
        """Seconds after which to look again."""
        for attachment in plan.end:
            await carry_out_one(self.client, storage.tenant, Delete(attachment))
            faults.passed(faults.ATTACHMENT_ENDING)
        again = None
        for attachment in plan.release:
            if names.attachment_finalizer(storage.driver) not in attachment.metadata.finalizers:
                continue
            if not await self._release(storage, attachment, provider):
                again = _LOOK_AGAIN_SECONDS
        return again

    async def _release(self, storage: Storage, attachment: VolumeAttachment, provider: VolumeProvider) -> bool:
        """False while the node has it in use, or was made again and hasn't said yet. Raises Unfinished."""
        name = attachment.spec.node_name
        node = await self._node(name)
        lost = node is None or taints.is_out_of_service(node)
        if not lost and node is not None:
            said = node.status
            if said.node_info is None or volumenames.unique(*storage) in said.volumes_in_use:
                return False
        try:
            handle = Handle(owner_of(self._tenants, storage.tenant), storage.handle)
            if lost:
                await answer(provider.fence(handle, name))
                faults.passed(faults.FENCED)
            await answer(provider.detach(handle, name))
        except VolumeError as error:
            told = _told(error, attachment.status.detach_error)
            status = attachment.status.model_copy(update={"detach_error": told})
            await self._write(storage, attachment, status)
            for volume in self._volumes.by_index("storage", names.storage_index(storage)):
                message = f'DetachVolume.Detach failed for volume "{volume.metadata.name}" : {error.reason}: {error}'
                self.recorder.event(volume, "Warning", "FailedDetachVolume", message)
            raise Unfinished(str(error)) from error
        faults.passed(faults.DETACHED)
        freed = attachment.model_copy(deep=True)
        freed.metadata.finalizers.remove(names.attachment_finalizer(storage.driver))
        try:
            await self.client.update(freed, tenant=storage.tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
        return True

    async def _node(self, name: str) -> Node | None:
        """As it is now, not as the cache has it: what it has in use counts. None: it is gone."""
        try:
            return await self.client.get(Node, name, tenant=SYSTEM_TENANT)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            return None


def _situation(pod: Pod) -> tuple[str | None, bool]:
    return pod.spec.node_name, podfacts.is_finished(pod)


def _says(node: Node) -> tuple[bool, bool, list[str]]:
    return taints.is_out_of_service(node), node.status.node_info is None, node.status.volumes_in_use


def _uses_of_claim(pod: Pod, claim: str) -> Iterable[Use]:
    if not pod.spec.node_name or podfacts.is_finished(pod):
        return
    mine = [volume for volume in pod.spec.volumes if names.claims_of(pod).get(volume.name) == claim]
    sources = [volume.persistent_volume_claim for volume in mine]
    if mine:
        yield Use(pod, pod.spec.node_name, all(source is not None and bool(source.read_only) for source in sources))


def _uses_in_line(pod: Pod, storage: Storage) -> Iterable[Use]:
    if not pod.spec.node_name or podfacts.is_finished(pod):
        return
    mine = [
        volume.cinder for volume in pod.spec.volumes
        if volume.cinder is not None and names.inline_storage(pod)[volume.name] == storage
    ]  # fmt: skip
    if mine:
        yield Use(pod, pod.spec.node_name, all(bool(source.read_only) for source in mine))


def _spec(storage: Storage, uses: list[Use], volumes: list[PersistentVolume]) -> PersistentVolumeSpec | None:
    """What is known of the volume: by the PersistentVolume that is bound, or by the pod that names it in line."""
    for volume in volumes:
        if volume.status.phase == "Bound":
            return volume.spec
    if not uses:
        return None
    modes = ["ReadOnlyMany"] if all(use.read_only for use in uses) else ["ReadWriteOnce"]
    source = CSIPersistentVolumeSource(driver=storage.driver, volume_handle=storage.handle)
    return PersistentVolumeSpec(csi=source, access_modes=modes)


def _recorded(
    storage: Storage, node: str, volumes: list[PersistentVolume], spec: PersistentVolumeSpec, read_only: bool
) -> VolumeAttachment:
    bound = [volume for volume in volumes if volume.status.phase == "Bound"]
    if bound:
        source = VolumeAttachmentSource(persistent_volume_name=bound[0].metadata.name)
    else:
        source = VolumeAttachmentSource(inline_volume_spec=spec)
    return VolumeAttachment(
        metadata=ObjectMeta(
            name=names.attachment_name(storage.driver, storage.handle, node),
            annotations={names.HANDLE: storage.handle, **({names.READ_ONLY: "true"} if read_only else {})},
            finalizers=[names.attachment_finalizer(storage.driver)],
        ),
        spec=VolumeAttachmentSpec(attacher=storage.driver, node_name=node, source=source),
    )


def _limits(volumes: list[PersistentVolume]) -> dict[str, str]:
    """What the class says of the volume's I/O. What the driver says counts before it, since tenants write
    PersistentVolumes too; of several for one volume the one that a claim is bound to."""
    bound = [volume for volume in volumes if volume.status.phase == "Bound"]
    attributes = bound[0].spec.csi.volume_attributes if bound and bound[0].spec.csi is not None else {}
    return {key: value for key, value in attributes.items() if key in IO_LIMITS and value.isdecimal()}


def _told(error: VolumeError, former: AttachError | None) -> AttachError:
    """The time is that of the first such error, so that a repetition writes nothing."""
    message = f"{error.reason}: {error}"
    if former is not None and former.message == message:
        return former
    return AttachError(message=message, time=times.format_time(times.now()))
