"""A pod's persistent volumes: what its spec, its claims and their PersistentVolumes ask for. Pure, but for `Claims`,
which reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import (
    NFSVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    Pod,
    Volume,
)
from hypernetes.client import Client, is_reason
from hypernetes.nodeagent.containers import all_of
from hypernetes.nodeagent.volumes import VolumeError

CINDER = "cinder.csi.openstack.org"  # what `cinder:` means
DEFAULT_FILE_SYSTEM = "ext4"


class AttachError(VolumeError):
    """A volume isn't attached to this node (yet)."""

    event_reason = "FailedAttachVolume"


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume of a driver."""

    volume: str  # its name in the pod
    driver: str
    handle: str
    title: str  # what people call it: the PersistentVolume's name
    read_only: bool = False
    block: bool = False
    file_system: str = DEFAULT_FILE_SYSTEM
    mount_options: tuple[str, ...] = ()
    persistent_volume: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A file system on the network."""

    volume: str
    server: str
    path: str
    read_only: bool = False
    mount_options: tuple[str, ...] = ()


def is_persistent(volume: Volume) -> bool:
    sources = (volume.persistent_volume_claim, volume.ephemeral, volume.nfs, volume.cinder)
    return any(source is not None for source in sources)


def claim_name(pod: Pod, volume: Volume) -> str | None:
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else None


def in_line(volume: Volume) -> Disk | Share | None:
    """What the pod names without a claim."""
    if volume.cinder is not None:
        source = volume.cinder
        return Disk(
            volume.name, CINDER, source.volume_id, source.volume_id, bool(source.read_only),
            file_system=source.fs_type or DEFAULT_FILE_SYSTEM,
        )  # fmt: skip
    if volume.nfs is not None:
        return _share(volume.name, volume.nfs, bool(volume.nfs.read_only), ())
    return None


def check_claim(pod: Pod, volume: Volume, claim: PersistentVolumeClaim) -> str:
    """The name of the claim's PersistentVolume. Raises VolumeError while it has none, or isn't the pod's."""
    name = claim.metadata.name
    if volume.ephemeral is not None and not any(
        owner.uid == pod.metadata.uid and owner.controller for owner in claim.metadata.owner_references
    ):
        raise VolumeError(f'PVC "{name}" was not created for the pod (the pod is not its owner)')
    if claim.metadata.deletion_timestamp is not None:
        raise VolumeError(f'persistentvolumeclaim "{name}" is being deleted')
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        raise VolumeError(f'persistentvolumeclaim "{name}" is not bound')
    return claim.spec.volume_name


def of_volume(volume: Volume, claim: PersistentVolumeClaim, found: PersistentVolume) -> Disk | Share:
    """Raises VolumeError for what a node can't have."""
    spec, title = found.spec, found.metadata.name or ""
    if spec.claim_ref is None or spec.claim_ref.uid != claim.metadata.uid:
        raise VolumeError(f'persistentvolume "{title}" is not bound to the claim "{claim.metadata.name}"')
    source = volume.persistent_volume_claim
    read_only = bool(source is not None and source.read_only) or set(spec.access_modes) == {"ReadOnlyMany"}
    if spec.nfs is not None:
        return _share(volume.name, spec.nfs, read_only or bool(spec.nfs.read_only), tuple(spec.mount_options))
    driver, handle, file_system, only_reads = _storage(spec, title)
    return Disk(
        volume.name, driver, handle, title, read_only or only_reads, spec.volume_mode == "Block",
        file_system or DEFAULT_FILE_SYSTEM, tuple(spec.mount_options), title,
    )  # fmt: skip


def _storage(spec: PersistentVolumeSpec, title: str) -> tuple[str, str, str | None, bool]:
    if spec.csi is not None:
        return spec.csi.driver, spec.csi.volume_handle, spec.csi.fs_type, bool(spec.csi.read_only)
    if spec.cinder is not None:
        return CINDER, spec.cinder.volume_id, spec.cinder.fs_type, bool(spec.cinder.read_only)
    raise VolumeError(f'persistentvolume "{title}" is of a kind that nodes don\'t have: use csi or nfs')


def _share(name: str, source: NFSVolumeSource, read_only: bool, options: tuple[str, ...]) -> Share:
    return Share(name, source.server, source.path, read_only, options)


def check_uses(pod: Pod, disks: Iterator[Disk]) -> None:
    """A device is used as one, and a file system too. Raises VolumeError."""
    block = {disk.volume for disk in disks if disk.block}
    persistent = {volume.name for volume in pod.spec.volumes if is_persistent(volume)}
    for container in all_of(pod):
        for mount in container.volume_mounts:
            if mount.name in block:
                text = f"volume {mount.name} has volumeMode Block, but is specified in volumeMounts"
                raise VolumeError(f"container {container.name}: {text}")
        for device in container.volume_devices:
            if device.name in persistent - block:
                text = f"volume {device.name} has volumeMode Filesystem, but is specified in volumeDevices"
                raise VolumeError(f"container {container.name}: {text}")


class Claims:
    """Reads the claims of one pod. All calls raise VolumeError, StatusError, TransportError."""

    def __init__(self, client: Client, tenant: str, namespace: str) -> None:
        self._client, self._tenant, self._namespace = client, tenant, namespace

    async def wanted(self, pod: Pod) -> list[Disk | Share]:
        found = [await self._of(pod, volume) for volume in pod.spec.volumes if is_persistent(volume)]
        check_uses(pod, (each for each in found if isinstance(each, Disk)))
        return found

    async def capacity(self, disk: Disk) -> str | None:
        """How large its PersistentVolume is said to be; None for what has none, or is gone."""
        if disk.persistent_volume is None:
            return None
        try:
            found = await self._client.get(PersistentVolume, disk.persistent_volume, tenant=self._tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return None
            raise
        return found.spec.capacity.get("storage")

    async def _of(self, pod: Pod, volume: Volume) -> Disk | Share:
        plain = in_line(volume)
        if plain is not None:
            return plain
        name = claim_name(pod, volume) or ""
        try:
            claim = await self._client.get(
                PersistentVolumeClaim, name, namespace=self._namespace, tenant=self._tenant
            )  # fmt: skip
        except Exception as error:
            if is_reason(error, "NotFound"):
                raise VolumeError(f'persistentvolumeclaim "{name}" not found') from error
            raise
        bound_to = check_claim(pod, volume, claim)
        try:
            found = await self._client.get(PersistentVolume, bound_to, tenant=self._tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                raise VolumeError(f'persistentvolume "{bound_to}" not found') from error
            raise
        return of_volume(volume, claim, found)
