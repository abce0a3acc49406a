"""What lies once, in the tenant `system`, and is shown to every tenant among its own: some names, and whole kinds."""

from hypernetes.apiserver.authz import defaultroles
from hypernetes.apiserver.registry import priorityclasses

_NAMES: dict[tuple[str, str], frozenset[str]] = {
    **{(defaultroles.RBAC_GROUP, resource): names for resource, names in defaultroles.NAMES.items()},
    ("scheduling.k8s.io", "priorityclasses"): frozenset(priorityclasses.SYSTEM),
}
# Of which every object of `system` is shared. What storage there is, and how it is asked for, is the provider's to say.
_KINDS = frozenset(
    {
        ("snapshot.storage.k8s.io", "volumesnapshotclasses"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "volumeattributesclasses"),
    }
)


def has_shared(group: str, resource: str) -> bool:
    """Whether anything of this kind is shared."""
    return (group, resource) in _NAMES or (group, resource) in _KINDS


def is_shared(group: str, resource: str, name: str) -> bool:
    """Whether an object of `system` that is called so is shared."""
    return (group, resource) in _KINDS or is_reserved(group, resource, name)


def is_reserved(group: str, resource: str, name: str) -> bool:
    """Whether no tenant may have an object that is called so."""
    return name in _NAMES.get((group, resource), ())
