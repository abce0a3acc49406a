"""What a pod's volume is made from: the fields that its source needs, and the modes of its files."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MAX_MODE = 0o777
_REQUIRED = {
    "awsElasticBlockStore": ("volumeID",), "configMap": ("name",), "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"), "hostPath": ("path",), "image": ("reference",), "nfs": ("server", "path"),
    "persistentVolumeClaim": ("claimName",), "secret": ("secretName",),
}  # fmt: skip
_PULL = ("Always", "IfNotPresent", "Never")


def validate(volume: Object, path: str) -> Causes:
    """What is wrong with the sources of a volume at `path`."""
    causes: Causes = []
    for source, names in _REQUIRED.items():
        for name in names if source in volume else ():
            if not volume[source].get(name):
                causes += validation.required(f"{path}.{source}.{name}")
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if source in volume:
            causes += _mode(volume[source].get("defaultMode"), f"{path}.{source}.defaultMode")
    for source in ("configMap", "secret"):
        if source in volume:
            causes += _items(volume[source].get("items") or (), f"{path}.{source}.items")
    for source in ("hostPath", "nfs"):
        causes += _path(volume.get(source) or {}, f"{path}.{source}", absolute=source == "nfs")
    policy = (volume.get("image") or {}).get("pullPolicy")
    if policy and policy not in _PULL:
        causes += validation.not_supported(f"{path}.image.pullPolicy", policy, _PULL)
    return causes


def _mode(mode: int | None, path: str) -> Causes:
    if mode is None or 0 <= mode <= _MAX_MODE:
        return []
    return validation.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _items(items: Any, path: str) -> Causes:
    causes: Causes = []
    for index, item in enumerate(items):
        at, place = f"{path}[{index}]", item.get("path") or ""
        if not item.get("key"):
            causes += validation.required(f"{at}.key")
        if not place:
            causes += validation.required(f"{at}.path")
        elif place.startswith("/"):
            causes += validation.invalid(f"{at}.path", place, "must be a relative path")
        elif ".." in place.split("/"):
            causes += validation.invalid(f"{at}.path", place, "must not contain '..'")
        causes += _mode(item.get("mode"), f"{at}.mode")
    return causes


def _path(source: Object, path: str, *, absolute: bool) -> Causes:
    place = source.get("path") or ""
    if ".." in place.split("/"):
        return validation.invalid(f"{path}.path", place, "must not contain '..'")
    if absolute and place and not place.startswith("/"):
        return validation.invalid(f"{path}.path", place, "must be an absolute path")
    return []
