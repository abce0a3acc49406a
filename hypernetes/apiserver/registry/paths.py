"""Paths inside a volume, an archive or a container's root: relative ones, and none that climb out of it."""

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes


def no_backsteps(value: str, path: str) -> Causes:
    return validation.invalid(path, value, "must not contain '..'") if ".." in value.split("/") else []


def descending(value: str, path: str) -> Causes:
    causes = validation.invalid(path, value, "must be a relative path") if value.startswith("/") else []
    return causes + no_backsteps(value, path)


def local(value: str, path: str) -> Causes:
    """A file that a volume is made of; names that begin with `..` are the volume's own."""
    causes = descending(value, path)
    if value.startswith("..") and not value.startswith("../"):
        causes += validation.invalid(path, value, "must not start with '..'")
    return causes
