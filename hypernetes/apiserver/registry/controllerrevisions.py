"""ControllerRevisions: a state of a workload's template, kept under a number; the state never changes."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]


def validate(revision: Object) -> Causes:
    causes = validation.non_negative(revision.get("revision"), "revision")
    if not isinstance(revision.get("data"), dict):
        causes += validation.required("data", "must be an object")
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    if new.get("data") != old.get("data"):
        return validation.invalid("data", "", "field is immutable")
    return []


STRATEGY = Strategy(complete=True, validate=validate, validate_update=validate_update)
