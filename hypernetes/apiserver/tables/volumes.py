"""Cells of volumes, claims, their classes, and what CSI drivers say of themselves."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of

Object = dict[str, Any]

_UNSET = "<unset>"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"  # how a class was named before there was a field
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class",
)  # fmt: skip
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
}  # fmt: skip


def volume(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    claim = spec.get("claimRef")
    return [
        obj["metadata"]["name"], (spec.get("capacity") or {}).get("storage", "0"), _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""), _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "", _class(obj),
        _or_unset(spec.get("volumeAttributesClassName")), status.get("reason", ""), age_of(obj, now),
        _or_unset(spec.get("volumeMode")),
    ]  # fmt: skip


def claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    bound = spec.get("volumeName", "")
    capacity = (status.get("capacity") or {}).get("storage", "0") if bound else ""
    return [
        obj["metadata"]["name"], _phase(obj), bound, capacity, _modes(status.get("accessModes")) if bound else "",
        _class(obj), _or_unset(spec.get("volumeAttributesClassName")), age_of(obj, now),
        _or_unset(spec.get("volumeMode")),
    ]  # fmt: skip


def storage_class(obj: Object, now: datetime) -> list[Any]:
    annotations = obj["metadata"].get("annotations") or {}
    default = any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)
    return [
        f"{obj['metadata']['name']} (default)" if default else obj["metadata"]["name"], obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate"),
        obj.get("allowVolumeExpansion", False), age_of(obj, now),
    ]  # fmt: skip


def attributes_class(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("driverName", ""), age_of(obj, now)]


def attachment(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    return [
        obj["metadata"]["name"], spec.get("attacher", ""), (spec.get("source") or {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""), obj.get("status", {}).get("attached", False), age_of(obj, now),
    ]  # fmt: skip


def csi_node(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("spec", {}).get("drivers") or ()), age_of(obj, now)]


def csi_driver(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    audiences = [request.get("audience", "") for request in spec.get("tokenRequests") or ()]
    return [
        obj["metadata"]["name"], spec.get("attachRequired", True), spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False), ",".join(audiences) if audiences else _UNSET,
        spec.get("requiresRepublish", False), ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
        age_of(obj, now),
    ]  # fmt: skip


def _phase(obj: Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(obj.get("status", {}).get("phase", ""))


def _class(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(_CLASS_ANNOTATION) or obj.get("spec", {}).get("storageClassName") or "")


def _modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in (modes or ()))


def _or_unset(value: str | None) -> str:
    return _UNSET if value is None else value
