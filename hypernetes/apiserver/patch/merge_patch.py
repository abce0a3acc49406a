"""JSON merge patch (RFC 7386): members replace members, null removes, arrays are replaced as a whole."""

from typing import Any

from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.patch.errors import MalformedPatch


def apply(original: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The patched copy; MalformedPatch where the patch is no object."""
    if not isinstance(patch, dict):
        raise MalformedPatch("a merge patch is an object")
    merged: dict[str, Any] = _merge(original, patch)
    return merged


def diff(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The smallest merge patch from `old` to `new`, which may hold no null."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and isinstance(before, dict) and isinstance(value, dict):
            inner = diff(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or before != value or isinstance(before, bool) != isinstance(value, bool):
            patch[key] = value
    return patch


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return clone(merged) if target is None else merged
