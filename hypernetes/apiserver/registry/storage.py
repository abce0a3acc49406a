"""storage.k8s.io: classes of volumes, and what drivers say of themselves, of nodes, and of what they attach."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import csinames, oldnames, parameters
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_RECLAIM_POLICIES = ("Delete", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")


def validate_class(storage_class: Object) -> Causes:
    causes = _provisioner(storage_class.get("provisioner") or "", "provisioner")
    causes += parameters.validate(storage_class.get("parameters") or {}, "parameters")
    policy, mode = storage_class.get("reclaimPolicy"), storage_class.get("volumeBindingMode")
    if policy and policy not in _RECLAIM_POLICIES:
        causes += validation.not_supported("reclaimPolicy", policy, _RECLAIM_POLICIES)
    if mode not in _BINDING_MODES:
        causes += validation.not_supported("volumeBindingMode", mode or "", _BINDING_MODES)
    topologies = storage_class.get("allowedTopologies") or []
    for index, term in enumerate(topologies):
        causes += _topology(term, f"allowedTopologies[{index}]")
        if term in topologies[:index]:
            causes += validation.duplicate(f"allowedTopologies[{index}]", "")
    return causes


def _provisioner(name: str, path: str) -> Causes:
    return validation.qualified_name(name.lower(), path) if name else validation.required(path)


def _topology(term: Object, path: str) -> Causes:
    causes: Causes = []
    keys: set[str] = set()
    for index, rule in enumerate(term.get("matchLabelExpressions") or ()):
        at, key, values = f"{path}.matchLabelExpressions[{index}]", rule.get("key") or "", rule.get("values") or []
        if not values:
            causes += validation.required(f"{at}.values")
        for position, value in enumerate(values):
            if value in values[:position]:
                causes += validation.duplicate(f"{at}.values[{position}]", value)
        causes += validation.qualified_name(key, f"{at}.key")
        if key in keys:
            causes += validation.duplicate(f"{at}.key", key)
        keys.add(key)
    return causes


def validate_class_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")


def class_warnings(storage_class: Object, old: Object | None) -> list[str]:
    found: list[str] = []
    for index, term in enumerate(storage_class.get("allowedTopologies") or ()):
        for position, rule in enumerate(term.get("matchLabelExpressions") or ()):
            path = f"allowedTopologies[{index}].matchLabelExpressions[{position}].key"
            found += oldnames.label(rule.get("key") or "", path)
    return found


def validate_attributes_class(attributes_class: Object) -> Causes:
    causes = _provisioner(attributes_class.get("driverName") or "", "driverName")
    found = attributes_class.get("parameters") or {}
    return causes + (parameters.validate(found, "parameters") if found else validation.required("parameters"))


def validate_attributes_class_update(new: Object, old: Object) -> Causes:
    changed = [name for name in ("driverName", "parameters") if new.get(name) != old.get(name)]
    return [cause for name in changed for cause in validation.forbidden(name, f"updates to {name} are forbidden.")]


def validate_attachment(attachment: Object) -> Causes:
    spec = attachment.get("spec") or {}
    causes = csinames.driver(spec.get("attacher") or "", "spec.attacher")
    source = spec.get("source") or {}
    name = source.get("persistentVolumeName")
    if name is None and "inlineVolumeSpec" not in source:
        causes += validation.required("spec.source", "must specify persistentVolumeName or inlineVolumeSpec")
    elif name is not None and "inlineVolumeSpec" in source:
        causes += validation.forbidden("spec.source", "may not specify both persistentVolumeName and inlineVolumeSpec")
    if name is not None:
        if not name:
            causes += validation.required("spec.source.persistentVolumeName")
        causes += validation.dns_subdomain(name, "spec.source.persistentVolumeName")
    return causes + validation.dns_subdomain(spec.get("nodeName") or "", "spec.nodeName")


def validate_attachment_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "spec")


def validate_capacity(capacity: Object) -> Causes:
    causes = validation.dns_subdomain(capacity.get("storageClassName") or "", "storageClassName")
    causes += validation.label_selector(capacity.get("nodeTopology"), "nodeTopology")
    for name in ("capacity", "maximumVolumeSize"):
        if name in capacity:
            causes += validation.non_negative_quantity(capacity[name], name)
    return causes


def validate_capacity_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "nodeTopology", "storageClassName")


CLASSES = Strategy(
    complete=True,
    returns_deleted=True,
    validate=validate_class,
    validate_update=validate_class_update,
    warnings=class_warnings,
)
ATTRIBUTES_CLASSES = Strategy(
    complete=True,
    returns_deleted=True,
    validate=validate_attributes_class,
    validate_update=validate_attributes_class_update,
)
ATTACHMENTS = Strategy(
    complete=True,
    has_status=True,
    returns_deleted=True,
    validate=validate_attachment,
    validate_update=validate_attachment_update,
)
CAPACITIES = Strategy(complete=True, validate=validate_capacity, validate_update=validate_capacity_update)
