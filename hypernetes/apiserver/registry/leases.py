"""Leases: who holds something, and for how long."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes


def validate(lease: dict[str, Any]) -> Causes:
    spec = lease.get("spec") or {}
    causes = validation.positive(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
    return causes + validation.non_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")
