"""Parameters of classes: opaque to all but a driver, and bounded."""

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_MAX_COUNT = 512
_MAX_BYTES = 256 * 1024  # of all names and values together


def validate(parameters: dict[str, str], path: str) -> Causes:
    if len(parameters) > _MAX_COUNT:
        return validation.too_long(path, _MAX_COUNT)
    causes = validation.invalid(path, "", "field can not be empty.") if "" in parameters else []
    total = sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items())
    return causes + (validation.too_long(path, _MAX_BYTES) if total > _MAX_BYTES else [])
