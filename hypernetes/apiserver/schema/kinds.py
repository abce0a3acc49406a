"""The schema of one kind: what a handler calls to read, complete and check an object."""

from functools import cache
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver.schema import bodies, defaults, types
from hypernetes.apiserver.schema.scalars import Problems, WrongType, text
from hypernetes.apiserver.validation import Causes

IGNORE, WARN, STRICT = "Ignore", "Warn", "Strict"  # the values of ?fieldValidation=
_MAX_REPORTED = 100  # unknown and duplicate fields named in one answer


@cache
def for_kind(api_version: str, kind: str) -> "KindSchema":
    """The compiled schema of a kind, made on first use; KeyError for a kind that facts/ doesn't have."""
    group, _, version = api_version.rpartition("/")
    return KindSchema(api_version, kind, types.named(scheme.schema_name(group, version, kind)))


class KindSchema:
    """One kind in one API version. `root` is the compiled type, with what patches need to know of its lists."""

    def __init__(self, api_version: str, kind: str, root: types.Type) -> None:
        self.api_version = api_version
        self.kind = kind
        self.root = root
        self._default = defaults.for_kind(api_version, kind)

    def decode(
        self, body: bytes | dict[str, Any], field_validation: str = WARN, content_type: str = bodies.JSON
    ) -> tuple[dict[str, Any], list[str]]:
        """The object with unknown fields pruned and scalars in canonical form, and the warnings for the client.

        A missing apiVersion and kind are filled in. StatusError 400 for malformed text, a wrong type, another kind or,
        with Strict, an unknown or duplicate field; 415 for another media type.
        """
        if isinstance(body, dict):
            value, complaints = body, list[str]()
        else:
            value, complaints = bodies.parse(body, content_type, find_duplicates=field_validation != IGNORE)
            value = {} if value is None else value  # `null` is an object in which nothing is said, as upstream
        if not isinstance(value, dict):
            raise self._unusable("the body must be an object")
        self._check_kind(value)
        problems = Problems()
        try:
            decoded: dict[str, Any] = self.root.decode(value, (), problems)
        except WrongType as error:
            raise self._unusable(str(error)) from error
        complaints += [f'unknown field "{text(path)}"' for path in problems.unknown]
        if complaints and field_validation == STRICT:
            raise self._unusable(f"strict decoding error: {', '.join(complaints[:_MAX_REPORTED])}")
        decoded = {**decoded, "apiVersion": self.api_version, "kind": self.kind}
        return decoded, complaints[:_MAX_REPORTED] if field_validation == WARN else []

    def default(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Completes a decoded object in place, as upstream's versioned defaults do, and gives it back.

        What depends on the request or on other objects (a namespace's finalizers, addresses, tolerations, priority)
        is the strategies' and admission's.
        """
        if self.root.default is not None:
            self.root.default(obj)
        if self._default is not None:
            self._default(obj)
        return obj

    def validate(self, obj: dict[str, Any], known: Causes | None = None) -> Causes:
        """What the schema alone finds wrong in a completed object: missing values, and duplicates in keyed lists.

        What the `known` causes (a strategy's) already say of a field isn't said again.
        """
        causes: Causes = []
        if self.root.validate is not None:
            self.root.validate(obj, "", causes)
        said = {(each["field"], each["reason"]) for each in known or ()}
        return [each for each in causes if (each["field"], each["reason"]) not in said]

    def _check_kind(self, value: dict[str, Any]) -> None:
        version, kind = value.get("apiVersion") or self.api_version, value.get("kind") or self.kind
        if version != self.api_version:
            raise StatusError(
                "BadRequest",
                f"the API version in the data ({version}) does not match the expected API version ({self.api_version})",
            )
        if kind != self.kind:
            raise StatusError("BadRequest", f"the kind in the data ({kind}) does not match the expected ({self.kind})")

    def _unusable(self, why: str) -> StatusError:
        version = self.api_version.rpartition("/")[2]
        return StatusError(
            "BadRequest", f'{self.kind} in version "{version}" cannot be handled as a {self.kind}: {why}'
        )
