"""Chooses the patch's kind by its content type, and puts what goes wrong into upstream's terms."""

from typing import Any

from hypernetes.api.status import StatusError, cause
from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.patch import json_patch, merge_patch, strategic
from hypernetes.apiserver.patch.errors import InapplicablePatch, MalformedPatch
from hypernetes.apiserver.schema import KindSchema
from hypernetes.apiserver.schema.bodies import check_depth, load_json

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"  # server-side apply, which is no patch of an object but says all of a manager's
CONTENT_TYPES = (JSON, MERGE, STRATEGIC)


def check_content_type(content_type: str) -> str:
    """The kind of patch that it names, or APPLY. Raises StatusError 415."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (*CONTENT_TYPES, APPLY):
        raise _unsupported()
    return kind


def _unsupported() -> StatusError:
    known = ", ".join((*CONTENT_TYPES, APPLY))
    message = f"the body of the request was in an unknown format - accepted media types: {known}"
    return StatusError("UnsupportedMediaType", message)


def apply(content_type: str, original: dict[str, Any], body: bytes | Any, schema: KindSchema) -> dict[str, Any]:
    """The patched object, not yet decoded (see `decode`); `original` stays as it is.

    `body` is bytes, or a parsed patch. StatusError: 415 for another content type, 400 for what is no patch, 422 for one
    that doesn't fit, 413 for too many operations.
    """
    kind = check_content_type(content_type)
    if kind == APPLY:
        raise _unsupported()
    patch = load_json(body) if isinstance(body, bytes) else clone(body)
    try:
        if kind == JSON:
            patched = _object(json_patch.apply(original, patch))
            check_depth(patched)  # copies may nest what the patch itself does not
            return patched
        if kind == MERGE:
            return merge_patch.apply(original, patch)
        return strategic.apply(original, patch, schema.root)
    except MalformedPatch as error:
        raise StatusError("BadRequest", f"invalid patch: {error}") from error
    except InapplicablePatch as error:
        raise StatusError(
            "Invalid", f"the server rejected our request due to an error in our request: {error}"
        ) from error


def decode(schema: KindSchema, patched: dict[str, Any], field_validation: str) -> tuple[dict[str, Any], list[str]]:
    """`schema.decode` of a patched object. What it can't read is the patch's fault: 422 with a cause for `patch`."""
    try:
        return schema.decode(patched, field_validation)
    except StatusError as error:
        raise StatusError(
            "Invalid",
            f'"" is invalid: patch: Invalid value: {error.message}',
            causes=[cause("FieldValueInvalid", "patch", f"Invalid value: {error.message}")],
        ) from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InapplicablePatch("the result is not an object")
    return value
