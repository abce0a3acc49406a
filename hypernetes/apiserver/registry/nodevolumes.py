"""Volumes that nodes keep as files. Only the provider's processes write them; a node's agent makes them true."""

from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

# hn-agent removes the file before the object goes.
FINALIZER = "hypernetes.io/node-volume"
_FIXED = ("spec.nodeName", "spec.snapshot", "spec.source")


def prepare_create(volume: Object) -> None:
    finalizers = volume["metadata"].setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    volume["status"] = {"phase": "Pending"}


def validate(volume: Object) -> Causes:
    spec = volume.get("spec") or {}
    causes = validation.dns_subdomain(spec.get("nodeName") or "", "spec.nodeName")
    source, size = spec.get("source") or {}, spec.get("size")
    if len(source) > 1:
        causes += validation.forbidden("spec.source", "may name a volume or a snapshot, not both")
    for name, value in source.items():
        causes += validation.dns_subdomain(value, f"spec.source.{name}")
    if spec.get("snapshot"):
        if "volume" not in source:
            causes += validation.required("spec.source.volume", "a snapshot is of a volume")
    elif size is None:
        causes += validation.required("spec.size")
    if size is not None:
        found = validation.non_negative_quantity(size, "spec.size")
        if not found and quantity.whole(size) == 0:
            found = validation.invalid("spec.size", size, "must be greater than zero")
        causes += found
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    causes = validation.immutable(new, old, *_FIXED)
    before, after = (obj["spec"].get("size") for obj in (old, new))
    if before is not None and (after is None or quantity.whole(after) < quantity.whole(before)):
        causes += validation.forbidden("spec.size", "a volume can't become smaller")
    return causes


STRATEGY = Strategy(
    has_status=True, generation=True, prepare_create=prepare_create, validate=validate, validate_update=validate_update
)
