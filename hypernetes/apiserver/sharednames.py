"""The names of what lies once, in the tenant `system`, and is shown to every tenant among its own."""

from hypernetes.apiserver.authz import defaultroles
from hypernetes.apiserver.registry import priorityclasses

_NAMES: dict[tuple[str, str], frozenset[str]] = {
    **{(defaultroles.RBAC_GROUP, resource): names for resource, names in defaultroles.NAMES.items()},
    ("scheduling.k8s.io", "priorityclasses"): frozenset(priorityclasses.SYSTEM),
}


def has_shared(group: str, resource: str) -> bool:
    """Whether anything of this kind is shared."""
    return (group, resource) in _NAMES


def is_shared(group: str, resource: str, name: str) -> bool:
    return name in _NAMES.get((group, resource), ())
