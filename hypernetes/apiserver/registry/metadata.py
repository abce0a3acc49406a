"""What holds for the metadata of every kind."""

import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from hypernetes.api import times
from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # upstream's: no vowels, no words
_SUFFIX_LENGTH = 5
_GENERATED_MAX = 63
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_STANDARD_FINALIZERS = (ORPHAN, FOREGROUND, "kubernetes")
_MAX_CAUSES = 1_000  # a body of 3 MB can be wrong in a million places
_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")

# Kinds of which an update must say from which resourceVersion it was made.
NEVER_UNCONDITIONALLY = frozenset(
    {
        "csidrivers.storage.k8s.io", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io",
        "leases.coordination.k8s.io", "poddisruptionbudgets.policy", "runtimeclasses.node.k8s.io",
        "volumeattachments.storage.k8s.io",
    }
)  # fmt: skip


def random_suffix() -> str:
    number = secrets.randbits(64)  # in one system call: each costs more than all that is done with it
    letters = []
    for _ in range(_SUFFIX_LENGTH):
        number, letter = divmod(number, len(_SUFFIX_LETTERS))
        letters.append(_SUFFIX_LETTERS[letter])
    return "".join(letters)


def generated_name(prefix: str) -> str:
    return f"{prefix[: _GENERATED_MAX - _SUFFIX_LENGTH]}{random_suffix()}"


def fill_new(metadata: Object, now: datetime, *, generation: bool) -> None:
    """What the server gives a new object; whatever of it the client sent counts for nothing."""
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"):
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = times.format_time(now)
    if generation:  # a kind that doesn't count keeps what it is told
        metadata["generation"] = 1


def carry_over(new: Object, old: Object) -> None:
    """What an update that doesn't speak of it, or may not change it, leaves as it was."""
    for name in ("uid", "deletionGracePeriodSeconds", "name", "namespace"):
        if not new.get(name) and name in old:
            new[name] = old[name]
    for name in ("resourceVersion", "selfLink", "managedFields", "generation"):
        new.pop(name, None)
    for name in ("creationTimestamp", "deletionTimestamp", "generation"):
        if name in old:
            new[name] = old[name]


def drop_tenant(metadata: Object) -> None:
    """Takes out the annotation that only the server writes, on paths across tenants, and that clients send back."""
    annotations = metadata.get("annotations")
    if annotations and annotations.pop(TENANT_ANNOTATION, None) is not None and not annotations:
        del metadata["annotations"]


def drop_equal_owners(metadata: Object) -> list[str]:
    """Leaves one of each owner reference that came more than once; gives the warnings for the client."""
    owners = metadata.get("ownerReferences") or []
    if len(owners) < 2:
        return []
    distinct = {orjson.dumps(owner, option=orjson.OPT_SORT_KEYS): owner for owner in owners}
    if len(distinct) == len(owners):
        return []
    metadata["ownerReferences"] = list(distinct.values())
    return ["metadata.ownerReferences: equal references were dropped; each owner is to be named once"]


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
    return causes + _finalizers(metadata.get("finalizers") or ()) + _owners(metadata.get("ownerReferences") or ())


def validate_update(new: Object, old: Object, strategy: Strategy, *, namespaced: bool) -> Causes:
    """All of `validate`, and that what is fixed stays.

    Each cause comes twice: upstream looks once for all kinds and once for the kind.
    """
    causes = validate(new, strategy, namespaced=namespaced) + _changes(new, old)
    return causes[:_MAX_CAUSES] * 2


def _changes(new: Object, old: Object) -> Causes:
    causes = validation.labels(new.get("labels"), "metadata.labels")
    causes += validation.annotations(new.get("annotations"), "metadata.annotations")
    causes += _owners(new.get("ownerReferences") or ())
    for name in _FIXED:
        if new.get(name) != old.get(name):
            causes += validation.invalid(f"metadata.{name}", new.get(name), "field is immutable")
    if old.get("deletionTimestamp"):
        added = set(new.get("finalizers") or ()) - set(old.get("finalizers") or ())
        if added:
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
            causes += validation.forbidden("metadata.finalizers", why)
    return causes


def _finalizers(names: Sequence[str]) -> Causes:
    causes: Causes = []
    for index, name in enumerate(names):
        causes += validation.qualified_name(name, "metadata.finalizers")
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            causes += validation.invalid(f"metadata.finalizers[{index}]", name, why)
    if ORPHAN in names and FOREGROUND in names:
        why = f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        causes += validation.invalid("metadata.finalizers", list(names), why)
    return causes


def _owners(owners: Any) -> Causes:
    causes: Causes = []
    controllers = 0
    path = "metadata.ownerReferences"
    for owner in owners:
        if not owner.get("apiVersion"):
            causes += validation.invalid(f"{path}.apiVersion", "", "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                causes += validation.invalid(f"{path}.{name}", "", "must not be empty")
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            causes += validation.invalid(path, owner["kind"], "is disallowed from being an owner")
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        causes += validation.invalid(path, controllers, "only one reference can be the controller") * (controllers - 1)
    return causes
