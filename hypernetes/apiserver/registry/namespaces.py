"""Namespaces: they end when their finalizer says that nothing is left in them."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

FINALIZER = "kubernetes"


def prepare_create(namespace: Object) -> None:
    spec = namespace.setdefault("spec", {})
    spec["finalizers"] = [*(name for name in spec.get("finalizers") or () if name != FINALIZER), FINALIZER]
    namespace["status"] = {"phase": "Active"}
    name = namespace["metadata"]["name"]
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def prepare_update(new: Object, old: Object) -> None:
    """Finalizers of the spec change by the finalize subresource only; a network that isn't named stays."""
    spec, before = new.setdefault("spec", {}), old.get("spec", {})
    for name in ("finalizers", "network"):
        if name in before and (name == "finalizers" or name not in spec):
            spec[name] = before[name]
    new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = new["metadata"]["name"]


def validate(namespace: Object) -> Causes:
    spec = namespace.get("spec", {})
    causes = validation.dns_subdomain(spec["network"], "spec.network") if spec.get("network") else []
    for name in spec.get("finalizers") or ():
        causes += validation.finalizer(name, "spec.finalizers")
    return causes


def validate_status(new: Object, old: Object) -> Causes:
    """The phase says whether the namespace is being deleted, and is no client's to choose."""
    phase, ends = new.get("status", {}).get("phase"), "deletionTimestamp" in new["metadata"]
    if (phase == "Terminating") is not ends and phase in ("Active", "Terminating"):
        why = "may only be 'Active' if `deletionTimestamp` is empty, and 'Terminating' if it is not"
        return validation.invalid("status.Phase", phase, why)
    return []


def finalizer_causes(names: list[str]) -> Causes:
    """Of spec.finalizers, as the finalize subresource writes them."""
    causes: Causes = []
    for index, name in enumerate(names):
        path = f"spec.finalizers[{index}]"
        causes += validation.qualified_name(name, path)
        if "/" not in name and name != FINALIZER:
            causes += validation.invalid(path, name, "name is neither a standard finalizer name nor fully qualified")
    return causes


def begin_deletion(namespace: Object) -> None:
    namespace["status"] = {**namespace.get("status", {}), "phase": "Terminating"}
    namespace["metadata"].pop("deletionGracePeriodSeconds", None)


STRATEGY = Strategy(
    name_rule=validation.dns_label,
    has_status=True,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_status=validate_status,
    held=lambda namespace: bool(namespace.get("spec", {}).get("finalizers")),
    before_delete=begin_deletion,
)
