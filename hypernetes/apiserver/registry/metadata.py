"""What holds for the metadata of every kind."""

import secrets
import uuid
from datetime import datetime
from typing import Any

from hypernetes.api import times
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # upstream's: no vowels, no words
_SUFFIX_LENGTH = 5
_GENERATED_MAX = 63
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def random_suffix() -> str:
    return "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_LENGTH))


def generated_name(prefix: str) -> str:
    return f"{prefix[: _GENERATED_MAX - _SUFFIX_LENGTH]}{random_suffix()}"


def fill_new(metadata: Object, now: datetime, *, generation: bool) -> None:
    """What the server gives a new object; whatever of it the client sent counts for nothing."""
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"):
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = times.format_time(now)
    metadata.pop("generation", None)
    if generation:
        metadata["generation"] = 1


def carry_over(new: Object, old: Object) -> None:
    """What an update that doesn't speak of it leaves as it was."""
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "name", "namespace"):
        if not new.get(name) and name in old:
            new[name] = old[name]
    for name in ("resourceVersion", "selfLink", "managedFields", "generation"):
        new.pop(name, None)
    if "generation" in old:
        new["generation"] = old["generation"]
    if "generateName" in old:
        new.setdefault("generateName", old["generateName"])


def validate(metadata: Object, strategy: Strategy, *, namespaced: bool) -> Causes:
    causes: Causes = []
    prefix = metadata.get("generateName")
    if prefix:
        # what follows the prefix makes it a whole name
        causes += strategy.name_rule(f"{prefix}x" if prefix.endswith(("-", ".")) else prefix, "metadata.generateName")
    if metadata.get("name"):
        causes += strategy.name_rule(metadata["name"], "metadata.name")
    else:
        causes += validation.required("metadata.name", "name or generateName is required")
    if namespaced and metadata.get("namespace"):
        causes += validation.dns_label(metadata["namespace"], "metadata.namespace")
    causes += validation.labels(metadata.get("labels"), "metadata.labels")
    causes += validation.annotations(metadata.get("annotations"), "metadata.annotations")
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        causes += _finalizer(finalizer, f"metadata.finalizers[{index}]")
    return causes + _owners(metadata.get("ownerReferences") or ())


def validate_update(new: Object, old: Object) -> Causes:
    causes: Causes = []
    for name in _FIXED:
        if new.get(name) != old.get(name):
            causes += validation.invalid(f"metadata.{name}", new.get(name), "field is immutable")
    if old.get("deletionTimestamp"):
        added = set(new.get("finalizers") or ()) - set(old.get("finalizers") or ())
        if added:
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
            causes += validation.forbidden("metadata.finalizers", why)
    return causes


def _finalizer(name: str, path: str) -> Causes:
    causes = validation.qualified_name(name, path)
    if not causes and "/" not in name and name not in (ORPHAN, FOREGROUND, "kubernetes"):
        return validation.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")
    return causes


def _owners(owners: Any) -> Causes:
    causes: Causes = []
    controllers = 0
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        if not owner.get("apiVersion"):
            causes += validation.invalid(f"{path}.apiVersion", "", "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                causes += validation.invalid(f"{path}.{name}", "", "must not be empty")
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            causes += validation.invalid(path, owner["kind"], "is disallowed from being an owner")
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        causes += validation.invalid(
            "metadata.ownerReferences", controllers, "only one reference can be the controller"
        )
    return causes
