"""How many pods an update may take down or add: a number, or a percentage of them."""

import re

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_PERCENT = re.compile(r"[0-9]+%\Z")


def validate(value: int | str | None, path: str) -> Causes:
    if value is None:
        return []
    if isinstance(value, int):
        return validation.non_negative(value, path)
    if not _PERCENT.match(value):
        why = "a valid percent string must be a numeric string followed by an ending '%'"
        return validation.invalid(path, value, why)
    return []


def at_most_all(value: int | str | None, path: str) -> Causes:
    """A percentage above 100 where nothing is left to count."""
    if isinstance(value, str) and _PERCENT.match(value) and int(value[:-1]) > 100:
        return validation.invalid(path, value, "must not be greater than 100%")
    return []


def is_zero(value: int | str | None) -> bool:
    if isinstance(value, str):
        return _PERCENT.match(value) is not None and int(value[:-1]) == 0
    return not value
