"""PersistentVolumes: storage that outlives pods, and where it can be reached."""

import copy
import posixpath
from typing import Any

from hypernetes.api import quantity, times
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import oldnames, persistentvolumesources
from hypernetes.apiserver.registry.podrules import affinity as affinities
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"  # how a class was named before there was a field
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")


def prepare_create(volume: Object) -> None:
    volume["status"] = {"phase": "Pending", "lastPhaseTransitionTime": volume["metadata"]["creationTimestamp"]}


def prepare_status(new: Object, old: Object) -> None:
    """The time at which the phase changed is the server's to say, unless the client says another."""
    status, before = new.setdefault("status", {}), old.get("status") or {}
    known = before.get("lastPhaseTransitionTime")
    if status.get("phase") == before.get("phase"):
        if known and "lastPhaseTransitionTime" not in status:
            status["lastPhaseTransitionTime"] = known
    elif status.get("lastPhaseTransitionTime") in (None, known):
        status["lastPhaseTransitionTime"] = times.format_time(times.now())


def validate(volume: Object) -> Causes:
    spec = volume["spec"]
    causes = access_modes(spec.get("accessModes") or [], "spec.accessModes") + _capacity(spec.get("capacity") or {})
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM_POLICIES:
        causes += validation.not_supported("spec.persistentVolumeReclaimPolicy", policy, _RECLAIM_POLICIES)
    causes += _affinity(spec) + persistentvolumesources.validate(spec, "spec")
    place = (spec.get("hostPath") or {}).get("path")
    if place and posixpath.normpath(place) == "/" and policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        causes += validation.forbidden("spec.persistentVolumeReclaimPolicy", why)
    if spec.get("storageClassName"):
        causes += validation.dns_subdomain(spec["storageClassName"], "spec.storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        causes += validation.not_supported("spec.volumeMode", mode, VOLUME_MODES)
    return causes + _attributes_class(spec)


def access_modes(modes: list[str], path: str) -> Causes:
    if not modes:
        return validation.required(path)
    causes: Causes = []
    for mode in modes:
        if mode not in ACCESS_MODES:
            causes += validation.not_supported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        causes += validation.forbidden(path, "may not use ReadWriteOncePod with other access modes")
    return causes


def _capacity(capacity: dict[str, str]) -> Causes:
    causes = validation.required("spec.capacity") if not capacity else []
    if capacity.keys() != {"storage"}:
        causes += validation.not_supported("spec.capacity", sorted(capacity), ("storage",))
    for name, amount in capacity.items():
        number = quantity.parse(amount)
        if number < 0:
            causes += validation.invalid(f"spec.capacity[{name}]", amount, "must be a valid resource quantity")
        if number <= 0:
            causes += validation.invalid(f"spec.capacity[{name}]", amount, "must be greater than zero")
    return causes


def _affinity(spec: Object) -> Causes:
    affinity = spec.get("nodeAffinity")
    if affinity is None:
        if "local" in spec:
            return validation.required("spec.nodeAffinity", "Local volume requires node affinity")
        return []
    if "required" not in affinity:
        return validation.required("spec.nodeAffinity.required", "must specify required node constraints")
    return affinities.node_selector(affinity["required"], "spec.nodeAffinity.required")


def _attributes_class(spec: Object) -> Causes:
    name, path = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    if name is None:
        return []
    causes = validation.dns_subdomain(name, path) if name else validation.required(path)
    if "csi" not in spec:
        causes += validation.required("spec.csi", "has to be specified when using volumeAttributesClassName")
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    spec, before = new["spec"], old["spec"]
    causes: Causes = []
    if _source(spec) != _source(before):
        causes += validation.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable")
    causes += validation.immutable(spec, before, "volumeMode")  # upstream's path, too
    if before.get("nodeAffinity") is not None and spec.get("nodeAffinity") != before["nodeAffinity"]:
        causes += validation.invalid("spec.nodeAffinity", spec.get("nodeAffinity"), "field is immutable")
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        why = "update from non-nil value to nil is forbidden"
        causes += validation.forbidden("spec.volumeAttributesClassName", why)
    return causes


def _source(spec: Object) -> Object:
    """What the volume is made from; secrets for what happens later may still be named."""
    found = {name: copy.deepcopy(spec[name]) for name in persistentvolumesources.SOURCES if name in spec}
    for secret in ("controllerExpandSecretRef", "nodeExpandSecretRef"):
        found.get("csi", {}).pop(secret, None)
    return found


def warnings(volume: Object, old: Object | None) -> list[str]:
    spec, found = volume["spec"], list[str]()
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated; use provisioning")
    if _CLASS_ANNOTATION in (volume["metadata"].get("annotations") or {}):
        found.append(f"metadata.annotations[{_CLASS_ANNOTATION}]: deprecated since v1.8; use storageClassName instead")
    found += oldnames.volume((name for name in spec if name not in ("flocker", "quobyte")), "spec")
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        for rule in term.get("matchExpressions") or ():
            found += oldnames.label(rule.get("key") or "", f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
    return found


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    returns_deleted=True,
    prepare_create=prepare_create,
    prepare_status=prepare_status,
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
)
