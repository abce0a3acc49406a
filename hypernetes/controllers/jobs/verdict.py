"""Whether a Job is to fail or has succeeded, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hypernetes.api import times
from hypernetes.api.models.batch_v1 import Job
from hypernetes.api.models.core_v1 import Pod
from hypernetes.controllers.jobs import indexes
from hypernetes.controllers.jobs.tally import Tally, is_indexed

FAILURE_TARGET, FAILED = "FailureTarget", "Failed"
SUCCESS_MET, COMPLETE = "SuccessCriteriaMet", "Complete"
SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class Verdict:
    target: str  # FAILURE_TARGET or SUCCESS_MET
    reason: str
    message: str

    @property
    def final(self) -> str:
        """The condition that follows once no pod runs any more."""
        return FAILED if self.target == FAILURE_TARGET else COMPLETE


def finished(job: Job) -> bool:
    return any(entry.type in (COMPLETE, FAILED) and entry.status == "True" for entry in job.status.conditions)


def standing(job: Job) -> Verdict | None:
    """What was decided before; it isn't taken back."""
    for entry in job.status.conditions:
        if entry.type in (FAILURE_TARGET, SUCCESS_MET) and entry.status == "True":
            return Verdict(entry.type, entry.reason or "", entry.message or "")
    return None


def decide(job: Job, counts: Tally, now: datetime) -> Verdict | None:
    """None while the Job goes on. A success that was reached counts more than a deadline that has passed since."""
    return standing(job) or _failure_by_policy(counts) or _success(job, counts) or _failure(job, counts, now)


def _failure_by_policy(counts: Tally) -> Verdict | None:
    return _failed("PodFailurePolicy", counts.job_failure) if counts.job_failure else None


def _failure(job: Job, counts: Tally, now: datetime) -> Verdict | None:
    spec = job.spec
    limit = 6 if spec.backoff_limit is None else spec.backoff_limit
    if counts.all_failed > limit or _restarts_exceed(job, counts.active, limit):
        return _failed("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = deadline_in(job, now)
    if left is not None and left <= 0:
        return _failed("DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.backoff_limit_per_index is not None and counts.failed_indexes:
        if spec.max_failed_indexes is not None and len(counts.failed_indexes) > spec.max_failed_indexes:
            return _failed(
                "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
            )
        if len(counts.completed | counts.failed_indexes) >= (spec.completions or 0):
            return _failed("FailedIndexes", "Job has failed indexes")
    return None


def _restarts_exceed(job: Job, active: Sequence[Pod], limit: int) -> bool:
    """Where containers are started again in their pods, their restarts are the failures."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        status.restart_count
        for pod in active
        if pod.status.phase in ("Running", "Pending")
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def _success(job: Job, counts: Tally) -> Verdict | None:
    spec = job.spec
    if spec.completions is None:
        reached = counts.all_succeeded > 0 and not counts.active
    elif is_indexed(job):
        reached = len(counts.completed) >= spec.completions
        if not reached and (rule := _rule_met(job, counts)) is not None:
            return Verdict(SUCCESS_MET, "SuccessPolicy", f"Matched rules at index {rule}")
    else:
        reached = counts.all_succeeded >= spec.completions
    return Verdict(SUCCESS_MET, "CompletionsReached", "Reached expected number of succeeded pods") if reached else None


def _rule_met(job: Job, counts: Tally) -> int | None:
    for number, rule in enumerate(job.spec.success_policy.rules if job.spec.success_policy is not None else ()):
        among = counts.completed
        if rule.succeeded_indexes is not None:
            wanted = indexes.parse(rule.succeeded_indexes, job.spec.completions or 0)
            among = among & wanted
            if rule.succeeded_count is None and among == wanted:
                return number
        if rule.succeeded_count is not None and len(among) >= rule.succeeded_count:
            return number
    return None


def deadline_in(job: Job, now: datetime) -> float | None:
    """Seconds until activeDeadlineSeconds are over; None where they don't run."""
    if job.spec.active_deadline_seconds is None or job.status.start_time is None or job.spec.suspend:
        return None
    return job.spec.active_deadline_seconds - (now - times.parse_time(job.status.start_time)).total_seconds()


def _failed(reason: str, message: str) -> Verdict:
    return Verdict(FAILURE_TARGET, reason, message)
