"""Cells of volume snapshots, their contents and classes: as the columns that upstream's definitions ask for."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of, since

Object = dict[str, Any]


def snapshot(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    source = spec.get("source") or {}
    created = status.get("creationTime")
    return [
        obj["metadata"]["name"], status.get("readyToUse"), source.get("persistentVolumeClaimName"),
        source.get("volumeSnapshotContentName"), status.get("restoreSize"), spec.get("volumeSnapshotClassName"),
        status.get("boundVolumeSnapshotContentName"), since(created, now) if created else None, age_of(obj, now),
    ]  # fmt: skip


def content(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    reference = spec.get("volumeSnapshotRef") or {}
    return [
        obj["metadata"]["name"], status.get("readyToUse"), status.get("restoreSize"), spec.get("deletionPolicy"),
        spec.get("driver"), spec.get("volumeSnapshotClassName"), reference.get("name"), reference.get("namespace"),
        age_of(obj, now),
    ]  # fmt: skip


def snapshot_class(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("driver"), obj.get("deletionPolicy"), age_of(obj, now)]
