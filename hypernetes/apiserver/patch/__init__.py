"""Patches: pure functions from (object, patch) to the patched object.

    apply  ── by content type ──► json_patch (RFC 6902) | merge_patch (RFC 7386) | strategic
    decode ── the patched object back through its schema

Both raise StatusError with upstream's codes; the object that is passed in is never changed.
"""

from hypernetes.apiserver.patch.applying import (
    APPLY,
    CONTENT_TYPES,
    JSON,
    MERGE,
    STRATEGIC,
    apply,
    check_content_type,
    decode,
)

__all__ = ["APPLY", "CONTENT_TYPES", "JSON", "MERGE", "STRATEGIC", "apply", "check_content_type", "decode"]
