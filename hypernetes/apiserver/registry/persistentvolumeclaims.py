"""PersistentVolumeClaims: what a pod's owner wants of storage. Once bound, a claim can only grow."""

import copy
from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import claimspecs, oldnames
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
# (group, kind) of what a claim can be filled from by name in its own namespace
_SOURCES = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def prepare_create(claim: Object) -> None:
    claim["status"] = {"phase": "Pending"}
    _complete_sources(claim["spec"], {})


def prepare_update(new: Object, old: Object) -> None:
    _complete_sources(new["spec"], old["spec"])


def _complete_sources(spec: Object, before: Object) -> None:
    """What a claim is filled from has an old and a new field. The old one takes few kinds; others go silently."""
    if not before.get("dataSource") and not before.get("dataSourceRef"):
        source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
        if source and (source.get("apiGroup") or "", source.get("kind")) not in _SOURCES:
            del spec["dataSource"]
        if reference and reference.get("namespace"):  # across namespaces: behind a feature gate of upstream's
            del spec["dataSourceRef"]
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = {key: value for key, value in reference.items() if key != "namespace"}


def validate(claim: Object) -> Causes:
    spec = claim["spec"]
    causes = claimspecs.validate(spec, "spec")
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, found in (("dataSource", source), ("dataSourceRef", reference)):
        if found:
            causes += _source(found, f"spec.{name}")
    if source and reference:
        if reference.get("namespace"):
            causes += validation.invalid("spec", "dataSource", "may not be given with dataSourceRef.namespace")
        elif source != reference:
            causes += validation.invalid("spec", "dataSource", "must match dataSourceRef")
    return causes


def _source(source: Object, path: str) -> Causes:
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    causes: Causes = []
    for name in ("name", "kind"):
        if not source.get(name):
            causes += validation.required(f"{path}.{name}")
    if not group and kind != "PersistentVolumeClaim":
        why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        causes += validation.invalid(path, kind, why)
    if group:
        causes += validation.dns_subdomain(group, f"{path}.apiGroup")
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    spec, before = new["spec"], old["spec"]
    causes: Causes = []
    if _fixed(new, old) != _fixed(old, old):
        why = "spec is immutable after creation except resources.requests and volumeAttributesClassName"
        causes += validation.forbidden("spec", f"{why} for bound claims")
    causes += _size(spec, before, (old.get("status") or {}).get("capacity") or {})
    causes += validation.immutable(spec, before, "volumeMode")  # upstream's path, too
    annotations = [claim["metadata"].get("annotations") or {} for claim in (new, old)]
    if annotations[0].get(CLASS_ANNOTATION) != annotations[1].get(CLASS_ANNOTATION):
        path = f"metadata.annotations[{CLASS_ANNOTATION}]"
        causes += validation.invalid(path, annotations[0].get(CLASS_ANNOTATION) or "", "field is immutable")
    if before.get("volumeAttributesClassName") and not spec.get("volumeAttributesClassName"):
        why = "update from non-nil value to an empty one is forbidden"
        causes += validation.forbidden("spec.volumeAttributesClassName", why)
    return causes


def _fixed(claim: Object, old: Object) -> Object:
    """The spec without what may change: the volume's name once, the class where none was said, a bound claim's size."""
    spec: Object = copy.deepcopy(claim["spec"])
    before = old["spec"]
    spec.pop("volumeAttributesClassName", None)
    if not before.get("volumeName"):
        spec.pop("volumeName", None)
    if before.get("storageClassName") is None:
        spec.pop("storageClassName", None)
    if (old.get("status") or {}).get("phase") == "Bound":
        ((spec.get("resources") or {}).get("requests") or {}).pop("storage", None)
    return spec


def _size(spec: Object, before: Object, capacity: dict[str, str]) -> Causes:
    now, then = (_storage(each) for each in (spec, before))
    if now is None or then is None or now >= then:
        return []
    if now > quantity.parse(capacity.get("storage", "0")):
        return []  # an expansion that hasn't happened may be asked for with less
    why = "field can not be less than status.capacity"
    return validation.forbidden("spec.resources.requests.storage", why)


def _storage(spec: Object) -> Any:
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return None if amount is None else quantity.parse(amount)


def validate_status(new: Object, old: Object) -> Causes:
    capacity = (new.get("status") or {}).get("capacity") or {}
    causes: Causes = []
    for name, amount in capacity.items():
        causes += validation.non_negative_quantity(amount, f"status.capacity[{name}]")
    return causes


def warnings(claim: Object, old: Object | None) -> list[str]:
    found: list[str] = []
    if CLASS_ANNOTATION in (claim["metadata"].get("annotations") or {}):
        found.append(f"metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use storageClassName instead")
    resources = claim["spec"].get("resources") or {}
    for part in ("requests", "limits"):
        amount = (resources.get(part) or {}).get("storage")
        found += oldnames.fraction(amount, f"spec.resources.{part}[storage]")
    return found


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    returns_deleted=True,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
)
