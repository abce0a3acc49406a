"""What a persistent volume is made from: one source, with what that needs. (Those of a pod's volumes differ.)"""

from collections.abc import Callable
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import csinames
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_HIGHEST_LUN = 255
# source -> the fields that it must have
_REQUIRED: dict[str, tuple[str, ...]] = {
    "awsElasticBlockStore": ("volumeID",), "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"), "cephfs": ("monitors",), "cinder": ("volumeID",),
    "csi": ("driver", "volumeHandle"), "fc": (), "flexVolume": ("driver",), "flocker": (),
    "gcePersistentDisk": ("pdName",), "glusterfs": ("endpoints", "path"), "hostPath": ("path",),
    "iscsi": ("targetPortal", "iqn"), "local": ("path",), "nfs": ("server", "path"),
    "photonPersistentDisk": ("pdID",), "portworxVolume": ("volumeID",), "quobyte": ("registry", "volume"),
    "rbd": ("monitors", "image"), "scaleIO": ("gateway", "system", "volumeName"), "storageos": (),
    "vsphereVolume": ("volumePath",),
}  # fmt: skip
SOURCES = frozenset(_REQUIRED)
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_CSI_SECRETS = (
    "controllerExpandSecretRef", "controllerPublishSecretRef", "nodeExpandSecretRef", "nodePublishSecretRef",
    "nodeStageSecretRef",
)  # fmt: skip


def validate(spec: Object, path: str) -> Causes:
    """What is wrong with the source in a volume's spec at `path`."""
    found = [name for name in _REQUIRED if name in spec]
    if not found:
        return validation.required(path, "must specify a volume type")
    causes: Causes = []
    for name in found[1:]:
        causes += validation.forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
    name = found[0]
    source, at = spec[name], f"{path}.{name}"
    for field in _REQUIRED[name]:
        if not source.get(field):
            causes += validation.required(f"{at}.{field}")
    return causes + _OF_KIND[name](source, at) if name in _OF_KIND else causes


def _host_path(source: Object, path: str) -> Causes:
    causes = no_way_up(source.get("path") or "", f"{path}.path")
    kind = source.get("type") or ""
    return (
        causes
        if kind in _HOST_PATH_TYPES
        else causes + validation.not_supported(f"{path}.type", kind, _HOST_PATH_TYPES)
    )


def _local(source: Object, path: str) -> Causes:
    return no_way_up(source.get("path") or "", f"{path}.path")


def no_way_up(place: str, path: str) -> Causes:
    return validation.invalid(path, place, "must not contain '..'") if ".." in place.split("/") else []


def _nfs(source: Object, path: str) -> Causes:
    place = source.get("path") or ""
    if place and not place.startswith("/"):
        return validation.invalid(f"{path}.path", place, "must be an absolute path")
    return []


def _iscsi(source: Object, path: str) -> Causes:
    causes: Causes = []
    name, lun = source.get("iqn") or "", source.get("lun") or 0
    if name and not name.startswith(("iqn.", "eui.", "naa.")):
        causes += validation.invalid(f"{path}.iqn", name, "must be valid format starting with iqn, eui, or naa")
    if not 0 <= lun <= _HIGHEST_LUN:
        causes += validation.invalid(f"{path}.lun", lun, f"must be between 0 and {_HIGHEST_LUN}, inclusive")
    return causes


def _csi(source: Object, path: str) -> Causes:
    driver = source.get("driver") or ""
    causes = csinames.driver(driver, f"{path}.driver") if driver else []
    for secret in _CSI_SECRETS:
        for name in ("name", "namespace") if secret in source else ():
            if not source[secret].get(name):
                causes += validation.required(f"{path}.{secret}.{name}")
    return causes


def _fc(source: Object, path: str) -> Causes:
    names, identities = source.get("targetWWNs"), source.get("wwids")
    if not names and not identities:
        return validation.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    causes: Causes = []
    if names and identities:
        causes += validation.invalid(f"{path}.targetWWNs", names, "targetWWNs and wwids can not be specified together")
    if names:
        lun = source.get("lun")
        if lun is None:
            causes += validation.required(f"{path}.lun", "lun is required if targetWWNs is specified")
        elif not 0 <= lun <= _HIGHEST_LUN:
            causes += validation.invalid(f"{path}.lun", lun, f"must be between 0 and {_HIGHEST_LUN}, inclusive")
    return causes


_OF_KIND: dict[str, Callable[[Object, str], Causes]] = {
    "csi": _csi, "fc": _fc, "hostPath": _host_path, "iscsi": _iscsi, "local": _local, "nfs": _nfs,
}  # fmt: skip
