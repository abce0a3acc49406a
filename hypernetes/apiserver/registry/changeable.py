"""Of the fields that a request names, those that it can change: only these it comes to manage.

Upstream's strategies say which fields they set back to what they were; through subresources other than the status these
are managed all the same.
"""

from collections.abc import Callable
from functools import partial

from hypernetes.apiserver.fieldmanagement import fieldsets
from hypernetes.apiserver.fieldmanagement.fieldsets import MEMBER, Fields

_STATUS: Fields = {"f:status": MEMBER}
_KEPT_BY_STATUS: Fields = {"f:metadata": {"f:deletionTimestamp": MEMBER, "f:ownerReferences": MEMBER}}
# (group, resource, subresource) -> what such a write leaves as it was, where that isn't as for most kinds.
_KEPT: dict[tuple[str, str, str], Fields] = {
    ("apps", "deployments", "status"): {
        "f:metadata": {**_KEPT_BY_STATUS["f:metadata"], "f:labels": MEMBER},
    },
    ("certificates.k8s.io", "certificatesigningrequests", ""): {"f:spec": MEMBER, **_STATUS},
    ("certificates.k8s.io", "certificatesigningrequests", "status"): {
        **_KEPT_BY_STATUS, "f:status": {"f:conditions": MEMBER},
    },
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): {
        "f:spec": MEMBER, "f:status": {"f:certificate": MEMBER},
    },
}  # fmt: skip


def by(group: str, name: str, subresource: str, *, has_status: bool) -> Callable[[Fields], Fields]:
    """What a write of a resource, or through one of its subresources, can change of a set of fields."""
    usual = _KEPT_BY_STATUS if subresource == "status" else _STATUS if has_status else {}
    kept = _KEPT.get((group, name, subresource), usual)
    if subresource == "status":
        return partial(_of_status, kept=kept)
    return partial(fieldsets.without_branches, roots=kept)


def _of_status(fields: Fields, kept: Fields) -> Fields:
    changed: Fields = {element: fields[element] for element in ("f:metadata", "f:status") if element in fields}
    return fieldsets.without_branches(changed, kept)
