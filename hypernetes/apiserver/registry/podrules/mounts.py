"""Where a container sees the pod's volumes: as directories (volumeMounts) or as devices (volumeDevices)."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import paths
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_BLOCK_SOURCES = ("persistentVolumeClaim", "ephemeral")


def validate(container: Object, volumes: Object, path: str) -> Causes:
    """All mounts and devices of a container; `volumes` are the pod's that are sound, by name."""
    mounts, devices = container.get("volumeMounts") or (), container.get("volumeDevices") or ()
    causes: Causes = []
    if mounts:
        causes += _mounts(mounts, devices, volumes, container, f"{path}.volumeMounts")
    if devices:
        causes += _devices(devices, mounts, volumes, f"{path}.volumeDevices")
    return causes


def _mounts(mounts: Any, devices: Any, volumes: Object, container: Object, path: str) -> Causes:
    causes: Causes = []
    device_names = {device.get("name") for device in devices}
    device_paths = {device.get("devicePath") for device in devices}
    places: set[str] = set()
    for index, mount in enumerate(mounts):
        at, name, place = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            causes += validation.required(f"{at}.name")
        if name not in volumes:
            causes += validation.not_found(f"{at}.name", name)
        if not place:
            causes += validation.required(f"{at}.mountPath")
        if place in places:
            causes += validation.invalid(f"{at}.mountPath", place, "must be unique")
        places.add(place)
        if name in device_names:
            causes += validation.invalid(f"{at}.name", name, "must not already exist in volumeDevices")
        if place in device_paths:
            why = "must not already exist as a path in volumeDevices"
            causes += validation.invalid(f"{at}.mountPath", place, why)
        if len(mount) > 2:
            causes += _options(mount, volumes.get(name) or {}, container, at, path)
    return causes


def _options(mount: Object, volume: Object, container: Object, path: str, parent: str) -> Causes:
    """What a mount may say besides its name and place. Most causes name the list, as upstream's do."""
    causes: Causes = []
    sub_path, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    if "image" in volume:
        for name, value in (("subPath", sub_path), ("subPathExpr", expression)):
            if value:
                causes += validation.invalid(f"{path}.{name}", value, "not allowed in image volume sources")
    if sub_path:
        causes += paths.descending(sub_path, f"{parent}.subPath")
    if expression:
        if sub_path:
            why = "subPathExpr and subPath are mutually exclusive"
            causes += validation.invalid(f"{path}.subPathExpr", expression, why)
        causes += paths.descending(expression, f"{parent}.subPathExpr")
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        at = f"{parent}.mountPropagation"
        if propagation not in _PROPAGATIONS:
            causes += validation.not_supported(at, propagation, _PROPAGATIONS)
        if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            why = "Bidirectional mount propagation is available only to privileged containers"
            causes += validation.forbidden(at, why)
    return causes + _recursive(mount, propagation, f"{parent}.recursiveReadOnly")


def _recursive(mount: Object, propagation: str | None, path: str) -> Causes:
    mode = mount.get("recursiveReadOnly")
    if mode is None or mode == "Disabled":
        return []
    if mode not in _RECURSIVE:
        return validation.not_supported(path, mode, _RECURSIVE)
    causes: Causes = []
    if not mount.get("readOnly"):
        causes += validation.forbidden(path, "may only be specified when readOnly is true")
    if propagation not in (None, "None"):
        causes += validation.forbidden(path, "may only be specified when mountPropagation is None or not specified")
    return causes


def _devices(devices: Any, mounts: Any, volumes: Object, path: str) -> Causes:
    causes: Causes = []
    mount_names, mount_paths = {m.get("name") for m in mounts}, {m.get("mountPath") for m in mounts}
    names: set[str] = set()
    places: set[str] = set()
    for index, device in enumerate(devices):
        at, name, place = f"{path}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        if not name:
            causes += validation.required(f"{at}.name")
        elif name in names:
            causes += validation.invalid(f"{at}.name", name, "must be unique")
        names.add(name)
        if name not in volumes:
            causes += validation.not_found(f"{at}.name", name)
        elif not any(source in volumes[name] for source in _BLOCK_SOURCES):
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            causes += validation.invalid(f"{at}.name", name, why)
        if not place:
            causes += validation.required(f"{at}.devicePath")
        if place in places:
            causes += validation.invalid(f"{at}.devicePath", place, "must be unique")
        if ".." in place.split("/"):
            causes += validation.invalid(f"{at}.devicePath", place, "can not contain backsteps ('..')")
        else:
            places.add(place)
        if name in mount_names:
            causes += validation.invalid(f"{at}.name", name, "must not already exist in volumeMounts")
        if place in mount_paths:
            causes += validation.invalid(f"{at}.devicePath", place, "must not already exist as a path in volumeMounts")
    return causes
