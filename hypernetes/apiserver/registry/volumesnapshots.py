"""snapshot.storage.k8s.io: snapshots of claims' volumes, what they are bound to, and how they are taken.

Rules: https://github.com/kubernetes-csi/external-snapshotter/tree/master/client/config/crd
"""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import csinames, parameters
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_POLICIES = ("Delete", "Retain")
_MODES = ("Block", "Filesystem")


def validate_snapshot(snapshot: Object) -> Causes:
    spec = snapshot.get("spec") or {}
    source = spec.get("source") or {}
    causes = _one_of(source, "spec.source", "persistentVolumeClaimName", "volumeSnapshotContentName")
    for name in ("persistentVolumeClaimName", "volumeSnapshotContentName"):
        if source.get(name):
            causes += validation.dns_subdomain(source[name], f"spec.source.{name}")
    return causes + _class_name(spec)


def validate_snapshot_update(new: Object, old: Object) -> Causes:
    return _source_stays(new, old)


def validate_content(content: Object) -> Causes:
    spec = content.get("spec") or {}
    causes = _one_of(spec.get("source") or {}, "spec.source", "snapshotHandle", "volumeHandle")
    causes += csinames.driver(spec.get("driver") or "", "spec.driver") + _policy(spec, "spec.deletionPolicy")
    reference = spec.get("volumeSnapshotRef") or {}
    if not reference.get("name") or not reference.get("namespace"):
        causes += validation.invalid("spec.volumeSnapshotRef", reference, "both name and namespace must be set")
    mode = spec.get("sourceVolumeMode")
    if mode is not None and mode not in _MODES:
        causes += validation.not_supported("spec.sourceVolumeMode", mode, _MODES)
    return causes + _class_name(spec)


def validate_content_update(new: Object, old: Object) -> Causes:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    causes = _source_stays(new, old)
    for name in ("driver", "sourceVolumeMode"):
        if before.get(name) is not None and spec.get(name) != before[name]:
            causes += validation.invalid(f"spec.{name}", spec.get(name), f"{name} is immutable once set")
    reference, former = (each.get("volumeSnapshotRef") or {} for each in (spec, before))
    same = all(reference.get(name) == former.get(name) for name in ("name", "namespace"))
    if not same or (former.get("uid") and reference.get("uid") != former["uid"]):
        causes += validation.invalid("spec.volumeSnapshotRef", reference, "volumeSnapshotRef is immutable once set")
    return causes


def validate_class(snapshot_class: Object) -> Causes:
    causes = csinames.driver(snapshot_class.get("driver") or "", "driver") + _policy(snapshot_class, "deletionPolicy")
    return causes + parameters.validate(snapshot_class.get("parameters") or {}, "parameters")


def _one_of(source: Object, path: str, *names: str) -> Causes:
    given = [name for name in names if source.get(name)]
    if len(given) == 1:
        return []
    return validation.invalid(path, given, f"exactly one of {' or '.join(names)} must be set")


def _policy(spec: Object, path: str) -> Causes:
    policy = spec.get("deletionPolicy") or ""
    if not policy:
        return validation.required(path)
    return [] if policy in _POLICIES else validation.not_supported(path, policy, _POLICIES)


def _class_name(spec: Object) -> Causes:
    name = spec.get("volumeSnapshotClassName")
    return validation.dns_subdomain(name, "spec.volumeSnapshotClassName") if name else []


def _source_stays(new: Object, old: Object) -> Causes:
    source, before = ((each.get("spec") or {}).get("source") or {} for each in (new, old))
    changed = [name for name in sorted({*source, *before}) if source.get(name) != before.get(name)]
    return [
        cause
        for name in changed
        for cause in validation.invalid(f"spec.source.{name}", source.get(name), f"{name} is immutable")
    ]


SNAPSHOTS = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    returns_deleted=True,
    validate=validate_snapshot,
    validate_update=validate_snapshot_update,
)
CONTENTS = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    returns_deleted=True,
    validate=validate_content,
    validate_update=validate_content_update,
)
CLASSES = Strategy(complete=True, generation=True, returns_deleted=True, validate=validate_class)
