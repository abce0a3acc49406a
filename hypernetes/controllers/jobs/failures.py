"""What a failed pod means: by the Job's podFailurePolicy, and for when the next one is tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from hypernetes.api import times
from hypernetes.api.models.batch_v1 import Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from hypernetes.api.models.core_v1 import ContainerStatus, Pod

FAILURES = "batch.kubernetes.io/job-index-failure-count"  # of the same index before this pod
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 10.0, 600.0  # upstream's numbers


class Action(Enum):
    COUNT = "Count"
    IGNORE = "Ignore"
    FAIL_INDEX = "FailIndex"
    FAIL_JOB = "FailJob"


@dataclass(frozen=True, slots=True)
class Judgement:
    action: Action
    message: str = ""  # why, where the Job fails of it


def replaces_only_failed(job: Job) -> bool:
    return job.spec.pod_replacement_policy == "Failed"


def is_failed(job: Job, pod: Pod) -> bool:
    """A pod on its way out counts too, unless the Job waits until it has really failed."""
    if pod.status.phase == "Failed":
        return True
    gone = pod.metadata.deletion_timestamp is not None and pod.status.phase != "Succeeded"
    return gone and not replaces_only_failed(job)


def judge(job: Job, pod: Pod) -> Judgement:
    """The first rule that matches decides."""
    policy = job.spec.pod_failure_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        found = _by_exit_code(rule, pod, number) if rule.on_exit_codes is not None else _by_condition(rule, pod, number)
        if found is None:
            continue
        action = Action(rule.action)
        if action is Action.FAIL_INDEX and job.spec.backoff_limit_per_index is None:
            continue
        return Judgement(action, found if action is Action.FAIL_JOB else "")
    return Judgement(Action.COUNT)


def _by_exit_code(rule: PodFailurePolicyRule, pod: Pod, number: int) -> str | None:
    wanted = rule.on_exit_codes
    assert wanted is not None
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        code = _exit_code(status)
        if wanted.container_name in (None, status.name) and code is not None and _fits(wanted, code):
            return (
                f"Container {status.name} for pod {pod.metadata.namespace}/{pod.metadata.name} failed with exit code "
                f"{code} matching {rule.action} rule at index {number}"
            )
    return None


def _fits(wanted: PodFailurePolicyOnExitCodesRequirement, code: int) -> bool:
    """Zero is no failure, whatever the values."""
    return code != 0 and (code in wanted.values) is (wanted.operator == "In")


def _exit_code(status: ContainerStatus) -> int | None:
    return status.state.terminated.exit_code if status.state and status.state.terminated else None


def _by_condition(rule: PodFailurePolicyRule, pod: Pod, number: int) -> str | None:
    have = {(entry.type, entry.status) for entry in pod.status.conditions}
    for pattern in rule.on_pod_conditions:
        if (pattern.type, pattern.status or "True") in have:
            return (
                f"Pod {pod.metadata.namespace}/{pod.metadata.name} has condition {pattern.type} matching "
                f"{rule.action} rule at index {number}"
            )
    return None


def finished_at(pod: Pod) -> datetime:
    """When its last container ended; else when it was to be deleted, or made."""
    ends = [
        status.state.terminated.finished_at
        for status in pod.status.container_statuses
        if status.state and status.state.terminated and status.state.terminated.finished_at
    ]
    moment = max(ends, default=None) or pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp
    return times.parse_time(moment) if moment else times.now()


def delay(failures: int, last: datetime, now: datetime) -> float:
    """Seconds until another pod may follow `failures` failed ones in a row, of which the last ended at `last`."""
    if not failures:
        return 0.0
    wait = min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16), MAX_DELAY_SECONDS)
    return max(0.0, wait - (now - last).total_seconds())


def job_delay(job: Job, owned: Sequence[Pod], now: datetime) -> float:
    """As `delay`, of a Job whose pods stand for one another: those that failed since the last success."""
    success = max((finished_at(pod) for pod in owned if pod.status.phase == "Succeeded"), default=None)
    ends = [finished_at(pod) for pod in owned if pod.status.phase == "Failed"]
    since = [end for end in ends if success is None or end > success]
    return delay(len(since), max(since), now) if since else 0.0


def failures_before(pod: Pod) -> tuple[int, int]:
    """How often its index had failed, and how often without its counting, before this pod."""
    annotations = pod.metadata.annotations
    return _number(annotations.get(FAILURES)), _number(annotations.get(IGNORED_FAILURES))


def _number(value: str | None) -> int:
    return int(value) if value and value.isdecimal() else 0
