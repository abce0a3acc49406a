"""Leases: who holds something, and for how long."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_GATED = ("strategy", "preferredHolder")  # coordinated elections: behind a feature gate of upstream's


def prepare_create(lease: Object) -> None:
    for name in _GATED:
        (lease.get("spec") or {}).pop(name, None)


def prepare_update(new: Object, old: Object) -> None:
    prepare_create(new)


def validate(lease: Object) -> Causes:
    spec = lease.get("spec") or {}
    causes = validation.positive(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
    return causes + validation.non_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")


STRATEGY = Strategy(
    create_on_update=True, prepare_create=prepare_create, prepare_update=prepare_update, validate=validate
)
