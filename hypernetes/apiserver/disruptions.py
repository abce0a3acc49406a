"""Whether a pod may be evicted, and what that takes from its disruption budget (pure).

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.status import StatusError, cause

Object = dict[str, Any]

DISRUPTION_ALLOWED = "DisruptionAllowed"
ALWAYS_ALLOW = "AlwaysAllow"
_MOST_DISRUPTED = 2_000  # pods that the controller hasn't confirmed the end of; upstream's figure
_RETRY_SECONDS = 10  # until a budget's controller has caught up; upstream's figure
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


class Verdict(Enum):
    FREE = "no budget counts the pod"
    UNCHANGED = "the pod is not ready: only if it still isn't as it is deleted"
    COUNTED = "a disruption less is left"


def budgets_of(pod: Object, budgets: Iterable[Object]) -> list[Object]:
    """Those that select the pod. An empty selector selects every pod of the namespace."""
    labels = pod["metadata"].get("labels") or {}
    found = []
    for budget in budgets:
        selector = budget["spec"].get("selector")
        if selector is not None and selectors.from_object(selector)(labels):
            found.append(budget)
    return found


def needs_no_budget(pod: Object) -> bool:
    """Whether the pod serves nobody: it has ended, ends, or hasn't begun."""
    ending = "deletionTimestamp" in pod["metadata"]
    return ending or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")


def may_have_begun(pod: Object) -> bool:
    """Whether a pod that needs no budget now could need one by the time it is deleted."""
    return (pod.get("status") or {}).get("phase") == "Pending" and "deletionTimestamp" not in pod["metadata"]


def decide(pod: Object, budget: Object | None) -> Verdict:
    """What evicting the pod means for its budget; `charge` then carries it out. Raises StatusError 429."""
    if budget is None:
        return Verdict.FREE
    if not _is_ready(pod):
        status = budget.get("status") or {}
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        if budget["spec"].get("unhealthyPodEvictionPolicy") == ALWAYS_ALLOW or (healthy >= wanted > 0):
            return Verdict.UNCHANGED
    return Verdict.COUNTED


def charge(budget: Object, pod_name: str, now: datetime) -> Object:
    """The budget with one disruption less, and the pod among those that are about to go. Raises StatusError."""
    metadata, status = budget["metadata"], dict(budget.get("status") or {})
    name, allowed = metadata["name"], status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise still_processed(name)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > _MOST_DISRUPTED:
        raise _forbidden(
            name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        )  # fmt: skip
    if allowed == 0:
        need, have = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _refused(f"The disruption budget {name} needs {need} healthy pods and has {have} currently")
    stamp = times.format_time(now)
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod_name: stamp}
    if allowed == 1:
        status["conditions"] = [
            *(each for each in status.get("conditions") or () if each["type"] != DISRUPTION_ALLOWED),
            {
                "type": DISRUPTION_ALLOWED, "status": "False", "observedGeneration": status["observedGeneration"],
                "lastTransitionTime": stamp, "reason": "InsufficientPods", "message": "",
            },
        ]  # fmt: skip
    return {**budget, "status": status}


def targeted(pod: Object, now: datetime) -> Object:
    """The pod with the condition that tells its controller that it didn't end by itself."""
    status = pod.get("status") or {}
    condition = {
        "type": "DisruptionTarget", "status": "True", "lastProbeTime": None,
        "lastTransitionTime": times.format_time(now), "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }  # fmt: skip
    others = [each for each in status.get("conditions") or () if each["type"] != condition["type"]]
    return {**pod, "status": {**status, "conditions": [*others, condition]}}


def still_processed(name: str) -> StatusError:
    """The budget isn't up to date, or the pod has changed since it was looked at: ask again."""
    why = f"The disruption budget {name} is still being processed by the server."
    return _refused(why, retryAfterSeconds=_RETRY_SECONDS)


def several() -> StatusError:
    """Upstream's answer where more than one budget selects a pod."""
    why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    return StatusError("", why, code=500)


def _refused(why: str, **details: int) -> StatusError:
    return StatusError("TooManyRequests", _VIOLATES, causes=[cause("DisruptionBudget", "", why)], details=details)


def _forbidden(name: str, why: str) -> StatusError:
    message = f'poddisruptionbudgets.policy "{name}" is forbidden: {why}'
    return StatusError(
        "Forbidden", message, details={"name": name, "group": "policy", "kind": "poddisruptionbudget"}
    )  # fmt: skip


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
