"""What a claim's volume is to be filled with: another claim's volume, or a snapshot."""

from hypernetes.api.models.core_v1 import PersistentVolume, PersistentVolumeClaim
from hypernetes.api.models.snapshot_v1 import VolumeSnapshot, VolumeSnapshotContent
from hypernetes.api.volumes import names
from hypernetes.client import Key
from hypernetes.controllers.informers import Informers
from hypernetes.providers.volume.base import Refused, Source, Unavailable

SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
MODE_CHANGE = "snapshot.storage.kubernetes.io/allow-volume-mode-change"


def points_back(content: VolumeSnapshotContent, snapshot: VolumeSnapshot) -> bool:
    """Whether a content is this snapshot's, by its own word."""
    reference = content.spec.volume_snapshot_ref
    return (reference.namespace, reference.name, reference.uid) == (
        snapshot.metadata.namespace, snapshot.metadata.name, snapshot.metadata.uid,
    )  # fmt: skip


class Sources:
    def __init__(self, informers: Informers) -> None:
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._snapshots = informers.of(VolumeSnapshot)
        self._contents = informers.of(VolumeSnapshotContent)

    def of(self, tenant: str, claim: PersistentVolumeClaim, driver: str) -> Source | None:
        """Raises Refused, and Unavailable while the source isn't ready."""
        named = claim.spec.data_source_ref or claim.spec.data_source
        if named is None:
            return None
        key = Key(tenant, claim.metadata.namespace or "", named.name)
        if (named.api_group or "", named.kind_) == ("", "PersistentVolumeClaim"):
            return self._claim(key, claim, driver)
        if (named.api_group or "", named.kind_) == (SNAPSHOT_GROUP, "VolumeSnapshot"):
            return self._snapshot(key, claim, driver)
        raise Refused("UnknownSource", f"a volume can't be made from a {named.kind_} of {named.api_group}")

    def node(self, tenant: str, claim: PersistentVolumeClaim) -> str | None:
        """The node that keeps the source, where one does, as far as is known."""
        named = claim.spec.data_source_ref or claim.spec.data_source
        if named is None:
            return None
        key = Key(tenant, claim.metadata.namespace or "", named.name)
        if named.kind_ == "PersistentVolumeClaim":
            source = self._claims.get(key)
            name = source.spec.volume_name if source is not None else None
            volume = self._volumes.get(Key(tenant, "", name)) if name else None
            return names.node_of(volume) if volume is not None else None
        snapshot = self._snapshots.get(key)
        bound = snapshot.status.bound_volume_snapshot_content_name if snapshot is not None else None
        content = self._contents.get(Key(tenant, "", bound)) if bound else None
        return content.metadata.annotations.get(names.SOURCE_NODE) if content is not None else None

    def _claim(self, key: Key, claim: PersistentVolumeClaim, driver: str) -> Source:
        source = self._claims.get(key)
        if source is None or source.status.phase != "Bound":
            raise Unavailable("SourceNotReady", f"claim {key.name}, which is to be cloned, is not there or not bound")
        if source.metadata.deletion_timestamp is not None:
            raise Refused("SourceEnding", f"claim {key.name}, which is to be cloned, is being deleted")
        volume = self._volumes.get(Key(key.tenant, "", source.spec.volume_name or ""))
        storage = names.storage_of(key.tenant, volume.spec) if volume is not None else None
        if volume is None or storage is None or storage.driver != driver:
            raise Refused("OtherDriver", f"the volume of claim {key.name} is of another driver")
        if (volume.spec.volume_mode or "Filesystem") != (claim.spec.volume_mode or "Filesystem"):
            raise Refused("OtherVolumeMode", f"the volume of claim {key.name} has another volumeMode")
        _check_size(claim, names.capacity_bytes(volume), f"claim {key.name}")
        return Source(volume=storage.handle)

    def _snapshot(self, key: Key, claim: PersistentVolumeClaim, driver: str) -> Source:
        snapshot = self._snapshots.get(key)
        if snapshot is None or not snapshot.status.ready_to_use:
            raise Unavailable("SourceNotReady", f"snapshot {key.name} is not there or not ready")
        if snapshot.metadata.deletion_timestamp is not None:
            raise Refused("SourceEnding", f"snapshot {key.name} is being deleted")
        content = self._contents.get(Key(key.tenant, "", snapshot.status.bound_volume_snapshot_content_name or ""))
        if content is None or not points_back(content, snapshot):
            raise Unavailable("SourceNotReady", f"snapshot {key.name} is not bound to a content")
        if content.spec.driver != driver:
            raise Refused("OtherDriver", f"snapshot {key.name} is of another driver")
        mode, wanted = content.spec.source_volume_mode, claim.spec.volume_mode or "Filesystem"
        if mode and mode != wanted and content.metadata.annotations.get(MODE_CHANGE) != "true":
            raise Refused("OtherVolumeMode", f"snapshot {key.name} is of a volume of volumeMode {mode}")
        _check_size(claim, content.status.restore_size or 0, f"snapshot {key.name}")
        handle = content.status.snapshot_handle
        if not handle:
            raise Unavailable("SourceNotReady", f"snapshot {key.name} has no handle yet")
        return Source(snapshot=handle)


def _check_size(claim: PersistentVolumeClaim, least: int, what: str) -> None:
    wanted = names.requested_bytes(claim)
    if wanted < least:
        raise Refused("TooSmall", f"{what} has {least} bytes, more than the {wanted} that are requested")
