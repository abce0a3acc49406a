"""A container's variables: their names, and where their values come from."""

import re
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import paths
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_NAME = re.compile(r"[ -<>-~]+\Z")  # printable ASCII but `=`
_FILE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]\Z", re.DOTALL)
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")

# What the downward API can name at all; then what of it a variable or a file may be.
_FIELDS = frozenset(
    {
        "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
        "spec.nodeName", "spec.host", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName",
        "status.phase", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    }
)  # fmt: skip
_SUBSCRIPTED = ("metadata.annotations", "metadata.labels")
VARIABLE_FIELDS = frozenset(
    {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.host",
        "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    }
)  # fmt: skip
FILE_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"}
)

_RESOURCES = frozenset(
    f"{part}.{name}" for part in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage")
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_CPU_DIVISORS = frozenset({"1m", "1"})
_BYTE_DIVISORS = frozenset(
    {"1", *(f"1{unit}" for unit in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
)


def validate(variables: Any, volumes: Object, path: str) -> Causes:
    """`volumes` by name: a variable may be read from a file in one."""
    causes: Causes = []
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            causes += validation.required(f"{path}[{index}].name")
        elif not _NAME.match(name):
            causes += validation.invalid(f"{path}[{index}].name", name, "must be printable ASCII without '='")
        if "valueFrom" in variable:
            causes += _source(variable["valueFrom"], variable.get("value"), volumes, f"{path}[{index}].valueFrom")
    return causes


def _source(source: Object, value: str | None, volumes: Object, path: str) -> Causes:
    causes: Causes = []
    found = [name for name in _SOURCES if name in source]
    for name in found:
        at = f"{path}.{name}"
        if name == "fieldRef":
            causes += field_reference(source[name], VARIABLE_FIELDS, at)
        elif name == "resourceFieldRef":
            causes += resource_reference(source[name], at)
        elif name == "fileKeyRef":
            causes += _file_key(source[name], volumes, at)
        else:
            causes += _key(source[name], at)
    if not found:
        causes += validation.invalid(path, "", f"must specify one of: {', '.join(_SOURCES)}")
    elif value:
        causes += validation.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(found) > 1:
        causes += validation.invalid(path, "", "may not have more than one field specified at a time")
    return causes


def _key(reference: Object, path: str) -> Causes:
    """A key of a ConfigMap or Secret."""
    causes = validation.dns_subdomain(reference.get("name") or "", f"{path}.name")
    key = reference.get("key") or ""
    return causes + (validation.config_key(key, f"{path}.key") if key else validation.required(f"{path}.key"))


def _file_key(reference: Object, volumes: Object, path: str) -> Causes:
    """A line of a file that an init container writes into an emptyDir (KEP-3721)."""
    name, file, key = (reference.get(part) or "" for part in ("volumeName", "path", "key"))
    causes: Causes = []
    if not name:
        causes += validation.required(f"{path}.volumeName")
    elif name not in volumes:
        causes += validation.not_found(f"{path}.volumeName", name)
    elif "emptyDir" not in volumes[name]:
        causes += validation.invalid(f"{path}.volumeName", name, "must be an emptyDir volume")
    causes += paths.local(file, f"{path}.path") if file else validation.required(f"{path}.path")
    if not key:
        causes += validation.required(f"{path}.key")
    elif not _FILE_KEY.match(key):
        causes += validation.invalid(f"{path}.key", key, "must be a name of letters, digits and '_'")
    return causes


def validate_from(sources: Any, path: str) -> Causes:
    """envFrom: all keys of ConfigMaps and Secrets."""
    causes: Causes = []
    for index, source in enumerate(sources):
        prefix = source.get("prefix") or ""
        if prefix and not _NAME.match(prefix):
            causes += validation.invalid(f"{path}[{index}].prefix", prefix, "must be printable ASCII without '='")
        found = [name for name in ("configMapRef", "secretRef") if name in source]
        for kind in found:
            name, at = source[kind].get("name") or "", f"{path}[{index}].{kind}.name"
            causes += validation.dns_subdomain(name, at) if name else validation.required(at)
        if not found:
            causes += validation.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(found) > 1:
            causes += validation.invalid(path, "", "may not have more than one field specified at a time")
    return causes


def field_reference(reference: Object, allowed: frozenset[str], path: str) -> Causes:
    """A field of the pod for a variable (VARIABLE_FIELDS) or a file (FILE_FIELDS)."""
    version, field = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version:
        return validation.required(f"{path}.apiVersion")
    if not field:
        return validation.required(f"{path}.fieldPath")
    subscripted = _SUBSCRIPT.match(field)
    name = subscripted[1] if subscripted else field
    if version != "v1" or name not in (_SUBSCRIPTED if subscripted else _FIELDS):
        return validation.invalid(f"{path}.fieldPath", field, f"field label not supported in {version}")
    if subscripted:
        key = subscripted[2]
        return validation.qualified_name(key.lower() if name == "metadata.annotations" else key, path)
    return [] if name in allowed else validation.not_supported(f"{path}.fieldPath", name, allowed)


def resource_reference(reference: Object, path: str, *, in_volume: bool = False) -> Causes:
    """A container's resource for a variable, or for a file, which must say of which container."""
    name, divisor = reference.get("resource") or "", reference.get("divisor") or "0"
    causes: Causes = []
    if in_volume and not reference.get("containerName"):
        causes += validation.required(f"{path}.containerName")
    elif not name:
        causes += validation.required(f"{path}.resource")
    elif name not in _RESOURCES and not name.startswith(_HUGE_PAGES):
        causes += validation.not_supported(f"{path}.resource", name, _RESOURCES)
    if divisor != "0":
        allowed = _CPU_DIVISORS if name.endswith(".cpu") else _BYTE_DIVISORS
        if (name in _RESOURCES or name.startswith(_HUGE_PAGES)) and divisor not in allowed:
            why = f"only divisor's values {', '.join(sorted(allowed))} are supported with this resource"
            causes += validation.invalid(f"{path}.divisor", name, why)
    return causes
