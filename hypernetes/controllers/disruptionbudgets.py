"""What a PodDisruptionBudget allows, from its pods and what they belong to (pure).

https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.models.meta_v1 import Condition
from hypernetes.api.models.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from hypernetes.controllers import pods as podfacts

DISRUPTION_ALLOWED = "DisruptionAllowed"
# An eviction that was let through and whose pod is still there after this failed; upstream's figure.
EVICTION_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Expected:
    """How many pods there should be, and how many of them must be healthy."""

    pods: int
    healthy: int


class NotExpectable(Exception):
    """How many pods there should be isn't known; the message says why, for the budget's owner."""


def expected(budget: PodDisruptionBudget, pods: Sequence[Pod], scale: int | None) -> Expected:
    """`scale`: the replicas of all that own pods here; None where an owner has none that is known.

    Raises NotExpectable where the budget needs that.
    """
    spec = budget.spec
    if spec.max_unavailable is None and not isinstance(spec.min_available, str):
        return Expected(len(pods), spec.min_available or 0)
    if scale is None:
        raise NotExpectable("a pod's controller has no scale, which the budget needs to count by")
    if spec.max_unavailable is not None:
        return Expected(scale, max(0, scale - _share(spec.max_unavailable, scale)))
    return Expected(scale, _share(spec.min_available or 0, scale))


def _share(value: int | str, whole: int) -> int:
    """A number, or a percentage of `whole`, rounded up as upstream does for both fields."""
    return value if isinstance(value, int) else math.ceil(whole * int(value.removesuffix("%")) / 100)


def disrupted(budget: PodDisruptionBudget, pods: Iterable[Pod], now: datetime) -> tuple[dict[str, str], float | None]:
    """The pods whose eviction was let through and hasn't shown yet; and the seconds until one of them doesn't count."""
    told = budget.status.disrupted_pods
    kept, again = {}, None
    for pod in pods:
        since = told.get(pod.metadata.name or "")
        if since is None or pod.metadata.deletion_timestamp is not None:
            continue
        left = (times.parse_time(since) + timedelta(seconds=EVICTION_SECONDS) - now).total_seconds()
        if left > 0:
            kept[pod.metadata.name or ""] = since
            again = left if again is None else min(again, left)
    return kept, again


def healthy(pods: Iterable[Pod], going: Iterable[str]) -> int:
    """Ready pods that stay."""
    leaving = set(going)
    return sum(
        podfacts.is_ready(pod) and pod.metadata.deletion_timestamp is None and pod.metadata.name not in leaving
        for pod in pods
    )


def status(
    budget: PodDisruptionBudget, wanted: Expected, current: int, going: dict[str, str], now: datetime
) -> PodDisruptionBudgetStatus:
    allowed = max(0, current - wanted.healthy) if wanted.pods > 0 else 0
    reason, message = ("SufficientPods", "") if allowed else ("InsufficientPods", "")
    return PodDisruptionBudgetStatus(
        conditions=_with(budget, bool(allowed), reason, message, now), current_healthy=current,
        desired_healthy=wanted.healthy, disrupted_pods=going, disruptions_allowed=allowed,
        expected_pods=wanted.pods, observed_generation=budget.metadata.generation,
    )  # fmt: skip


def failed(budget: PodDisruptionBudget, why: str, now: datetime) -> PodDisruptionBudgetStatus:
    """While it isn't known how many pods there should be, none may be disrupted."""
    conditions = _with(budget, False, "SyncFailed", why, now)
    return budget.status.model_copy(update={
        "conditions": conditions, "disruptions_allowed": 0, "observed_generation": budget.metadata.generation,
    })  # fmt: skip


def _with(budget: PodDisruptionBudget, allowed: bool, reason: str, message: str, now: datetime) -> list[Condition]:
    value = "True" if allowed else "False"
    former = next((entry for entry in budget.status.conditions if entry.type == DISRUPTION_ALLOWED), None)
    since = former.last_transition_time if former is not None and former.status == value else times.format_time(now)
    fields: dict[str, Any] = {
        "type": DISRUPTION_ALLOWED, "status": value, "reason": reason, "message": message,
        "last_transition_time": since, "observed_generation": budget.metadata.generation,
    }  # fmt: skip
    return [*(entry for entry in budget.status.conditions if entry.type != DISRUPTION_ALLOWED), Condition(**fields)]
