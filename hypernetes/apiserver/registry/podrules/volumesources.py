"""What a pod's volume is made from: which fields a source needs, and what they may be."""

import re
from collections.abc import Callable
from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import claimspecs, paths
from hypernetes.apiserver.registry.podrules import projections
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]
Check = Callable[[Object, str], Causes]

_PULL = ("Always", "IfNotPresent", "Never")
_HOST_PATH_TYPES = (
    "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
)  # fmt: skip
_DISK_CACHING, _DISK_KINDS = ("None", "ReadOnly", "ReadWrite"), ("Dedicated", "Managed", "Shared")
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)\Z", re.ASCII)
_EUI, _NAA = re.compile(r"eui.[A-Za-z0-9]{16}\Z"), re.compile(r"naa.[A-Za-z0-9]{32}\Z")
_MAX_LUN, _MAX_PARTITION = 255, 255
_TENANT_MAX = 64  # characters of a Quobyte tenant's UUID
_RESERVED_DOMAINS = (".kubernetes.io", ".k8s.io")
_CSI_DRIVER = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?\Z")
_CSI_DRIVER_MAX = 63


def _needs(*names: str) -> Check:
    def check(source: Object, path: str) -> Causes:
        return [cause for name in names if not source.get(name) for cause in validation.required(f"{path}.{name}")]

    return check


def _choice(source: Object, name: str, choices: tuple[str, ...], path: str) -> Causes:
    value = source.get(name)
    return [] if value is None or value in choices else validation.not_supported(f"{path}.{name}", value, choices)


def _within(source: Object, name: str, most: int, path: str) -> Causes:
    number = source.get(name) or 0
    if 0 <= number <= most:
        return []
    return validation.invalid(f"{path}.{name}", number, f"must be between 0 and {most}, inclusive")


def _empty_dir(source: Object, path: str) -> Causes:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit) < 0:
        return validation.forbidden(f"{path}.sizeLimit", "must be a valid resource quantity")
    return []


def _host_path(source: Object, path: str) -> Causes:
    place = source.get("path") or ""
    if not place:
        return validation.required(f"{path}.path")
    return paths.no_backsteps(place, f"{path}.path") + _choice(source, "type", _HOST_PATH_TYPES, path)


def _git_repo(source: Object, path: str) -> Causes:
    causes = _needs("repository")(source, path)
    return causes + paths.descending(source.get("directory") or "", f"{path}.directory")


def _disk(name: str) -> Check:
    def check(source: Object, path: str) -> Causes:
        return _needs(name)(source, path) + _within(source, "partition", _MAX_PARTITION, path)

    return check


def _nfs(source: Object, path: str) -> Causes:
    causes = _needs("server", "path")(source, path)
    if not (source.get("path") or "").startswith("/"):
        causes += validation.invalid(f"{path}.path", source.get("path") or "", "must be an absolute path")
    return causes


def _iscsi(source: Object, path: str) -> Causes:
    causes = _needs("targetPortal", "iqn")(source, path)
    if source.get("iqn"):
        causes += _initiator(source["iqn"], f"{path}.iqn")
    causes += _within(source, "lun", _MAX_LUN, path)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get("secretRef"):
        causes += validation.required(f"{path}.secretRef")
    if source.get("initiatorName") is not None:
        causes += _initiator(source["initiatorName"], f"{path}.initiatorname")
    return causes


def _initiator(name: str, path: str) -> Causes:
    form = {"iqn": _IQN, "eui": _EUI, "naa": _NAA}.get(name[:3])
    if form is None:
        return validation.invalid(path, name, "must be valid format starting with iqn, eui, or naa")
    return [] if form.match(name) else validation.invalid(path, name, "must be valid format")


def _fibre_channel(source: Object, path: str) -> Causes:
    targets, ids = source.get("targetWWNs") or [], source.get("wwids") or []
    causes: Causes = []
    if not targets and not ids:
        causes += validation.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if targets and ids:
        why = "targetWWNs and wwids can not be specified simultaneously"
        causes += validation.invalid(f"{path}.targetWWNs", targets, why)
    if targets:
        if source.get("lun") is None:
            causes += validation.required(f"{path}.lun", "lun is required if targetWWNs is specified")
        else:
            causes += _within(source, "lun", _MAX_LUN, path)
    return causes


def _flocker(source: Object, path: str) -> Causes:
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    causes: Causes = []
    if not name and not uuid:
        causes += validation.required(path, "one of datasetName and datasetUUID is required")
    if name and uuid:
        why = "datasetName and datasetUUID can not be specified simultaneously"
        causes += validation.invalid(path, "resource", why)
    if "/" in name:
        causes += validation.invalid(f"{path}.datasetName", name, "must not contain '/'")
    return causes


def _quobyte(source: Object, path: str) -> Causes:
    registry, why = source.get("registry") or "", "must be a host:port pair or multiple pairs separated by commas"
    causes: Causes = []
    if not registry:
        causes += validation.required(f"{path}.registry", why)
    elif len(source.get("tenant") or "") > _TENANT_MAX:
        causes += validation.required(f"{path}.tenant", f"must be a UUID of at most {_TENANT_MAX} characters")
    elif any(":" not in pair for pair in registry.split(",")):
        causes += validation.invalid(f"{path}.registry", registry, why)
    return causes + _needs("volume")(source, path)


def _cinder(source: Object, path: str) -> Causes:
    causes = _needs("volumeID")(source, path)
    if source.get("secretRef") is not None and not source["secretRef"].get("name"):
        causes += validation.required(f"{path}.secretRef.name")
    return causes


def _flex_volume(source: Object, path: str) -> Causes:
    causes = _needs("driver")(source, path)
    for key in source.get("options") or ():
        if f".{key.partition('/')[0].lower()}".endswith(_RESERVED_DOMAINS):
            why = "kubernetes.io and k8s.io namespaces are reserved"
            causes += validation.invalid(f"{path}.options[{key}]", key, why)
    return causes


def _azure_disk(source: Object, path: str) -> Causes:
    causes = _needs("diskName", "diskURI")(source, path)
    causes += _choice(source, "cachingMode", _DISK_CACHING, path) + _choice(source, "kind", _DISK_KINDS, path)
    managed = source.get("kind") == "Managed"
    start = "/subscriptions/" if managed else "https://"
    if source.get("kind") is not None and not (source.get("diskURI") or "").startswith(start):
        causes += validation.not_supported(f"{path}.diskURI", source.get("diskURI") or "", (f"{start}…",))
    return causes


def _storage_os(source: Object, path: str) -> Causes:
    causes: Causes = []
    for name in ("volumeName", "volumeNamespace"):
        if source.get(name):
            causes += validation.dns_label(source[name], f"{path}.{name}")
    if not source.get("volumeName"):
        causes += validation.required(f"{path}.volumeName")
    if source.get("secretRef") is not None and not source["secretRef"].get("name"):
        causes += validation.required(f"{path}.secretRef.name")
    return causes


def _csi(source: Object, path: str) -> Causes:
    driver = source.get("driver") or ""
    causes: Causes = []
    if not driver:
        causes += validation.required(f"{path}.driver")
    elif len(driver) > _CSI_DRIVER_MAX:
        causes += validation.too_long(f"{path}.driver", _CSI_DRIVER_MAX)
    elif not _CSI_DRIVER.match(driver):
        causes += validation.invalid(f"{path}.driver", driver, "must consist of alphanumeric characters, '-' and '.'")
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        causes += validation.required(f"{path}.nodePublishSecretRef.name")
    return causes


def _ephemeral(source: Object, path: str) -> Causes:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return validation.required(f"{path}.volumeClaimTemplate")
    metadata = template.get("metadata") or {}
    causes = validation.labels(metadata.get("labels"), f"{path}.volumeClaimTemplate.metadata.labels")
    causes += validation.annotations(metadata.get("annotations"), f"{path}.volumeClaimTemplate.metadata.annotations")
    return causes + claimspecs.validate(template.get("spec") or {}, f"{path}.volumeClaimTemplate.spec")


def _image(source: Object, path: str) -> Causes:
    return _needs("reference")(source, path) + _choice(source, "pullPolicy", _PULL, path)


# In upstream's order: where a volume has several, all but the first are forbidden. Causes call some by another name.
_SOURCES: tuple[tuple[str, Check, str, str], ...] = (
    # field, its check, what it is called where it is checked, and where it is one too many
    ("emptyDir", _empty_dir, "", ""),
    ("hostPath", _host_path, "", ""),
    ("gitRepo", _git_repo, "", ""),
    ("gcePersistentDisk", _disk("pdName"), "persistentDisk", ""),
    ("awsElasticBlockStore", _disk("volumeID"), "", ""),
    ("secret", projections.secret, "", ""),
    ("nfs", _nfs, "", ""),
    ("iscsi", _iscsi, "", ""),
    ("glusterfs", _needs("endpoints", "path"), "", ""),
    ("flocker", _flocker, "", ""),
    ("persistentVolumeClaim", _needs("claimName"), "", ""),
    ("rbd", _needs("monitors", "image"), "", ""),
    ("cinder", _cinder, "", ""),
    ("cephfs", _needs("monitors"), "", "cephFS"),
    ("quobyte", _quobyte, "", ""),
    ("downwardAPI", projections.downward, "", "downwarAPI"),
    ("fc", _fibre_channel, "", ""),
    ("flexVolume", _flex_volume, "", ""),
    ("configMap", projections.config_map, "", ""),
    ("azureFile", _needs("secretName", "shareName"), "", ""),
    ("vsphereVolume", _needs("volumePath"), "", ""),
    ("photonPersistentDisk", _needs("pdID"), "", ""),
    ("portworxVolume", _needs("volumeID"), "", ""),
    ("azureDisk", _azure_disk, "", ""),
    ("storageos", _storage_os, "", ""),
    ("projected", projections.projected, "", ""),
    ("scaleIO", _needs("gateway", "system", "volumeName"), "", ""),
    ("csi", _csi, "", ""),
    ("ephemeral", _ephemeral, "", ""),
    ("image", _image, "", ""),
)  # fmt: skip


_ORDER = {row[0]: position for position, row in enumerate(_SOURCES)}


def validate(volume: Object, path: str) -> Causes:
    """That a volume has one source, and what is wrong with it."""
    found = [_ORDER[name] for name in volume if name in _ORDER]
    if not found:
        return validation.required(path, "must specify a volume type")
    if len(found) > 1:
        found.sort()
    name, check, called, _ = _SOURCES[found[0]]
    causes = check(volume[name], f"{path}.{called or name}")
    for position in found[1:]:
        name, _, _, called = _SOURCES[position]
        causes += validation.forbidden(f"{path}.{called or name}", "may not specify more than 1 volume type")
    return causes
