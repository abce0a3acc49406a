"""What the tables of changes share: a good object, one change of it, and the causes it is then refused with."""

import copy
from datetime import UTC, datetime
from typing import Any

from hypernetes.api import scheme
from hypernetes.apiserver import registry, schema
from hypernetes.apiserver.registry import Strategy, metadata
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]
Found = list[tuple[str, str]]  # field and reason, without the FieldValue that all reasons begin with

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def changed(obj: Object, path: str, value: Any) -> Object:
    """A copy with the value at a path such as `spec.ports.0.port`; None takes it away."""
    new = copy.deepcopy(obj)
    at: Any = new
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdecimal() else at.setdefault(part, {})
    if value is None:
        at.pop(last, None)
    else:
        at[int(last) if last.isdecimal() else last] = copy.deepcopy(value)
    return new


def strategy_of(obj: Object, subresource: str = "") -> Strategy:
    return registry.of(scheme.by_kind(obj["apiVersion"], obj["kind"]), subresource)


def completed(obj: Object) -> Object:
    """As it would be stored: decoded, with defaults and what a new object is given."""
    kind = schema.for_kind(obj["apiVersion"], obj["kind"])
    decoded, _ = kind.decode(obj)
    strategy = strategy_of(obj)
    metadata.fill_new(decoded["metadata"], NOW, generation=strategy.generation)
    kind.default(decoded)
    strategy.prepare_create(decoded)
    return decoded


def found(causes: Causes) -> Found:
    return [(cause["field"], cause["reason"].removeprefix("FieldValue")) for cause in causes]


def creating(obj: Object) -> Found:
    new = completed(obj)
    strategy = strategy_of(obj)
    causes = strategy.validate_create(new) + strategy.validate(new)
    if not strategy.complete:
        causes += schema.for_kind(obj["apiVersion"], obj["kind"]).validate(new, causes)
    return found(causes)


def updating(old: Object, *changes: tuple[str, Any], subresource: str = "") -> Found:
    """What changing a stored object comes to; `changes` are paths and values."""
    before = completed(old)
    new = before
    for path, value in changes:
        new = changed(new, path, value)
    new, _ = schema.for_kind(old["apiVersion"], old["kind"]).decode(new)
    schema.for_kind(old["apiVersion"], old["kind"]).default(new)
    strategy = strategy_of(old, subresource)
    if subresource == "status":
        strategy.prepare_status(new, before)
        return found(strategy.validate_status(new, before))
    strategy.prepare_update(new, before)
    return found(strategy.validate(new) + strategy.validate_update(new, before))
