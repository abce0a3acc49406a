"""Names that are allowed, and make trouble later."""

from typing import Any

from hypernetes.apiserver import validation

Object = dict[str, Any]


def not_a_label(new: Object, old: Object | None) -> list[str]:
    """A warning where the pods' names and hostnames, made from this name, are no DNS labels; on create only."""
    if old is None and validation.dns_label(new["metadata"].get("name") or "", ""):
        return [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
            "a DNS label is recommended"
        ]
    return []
