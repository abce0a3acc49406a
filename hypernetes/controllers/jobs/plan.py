"""What is to be done about a Job now. Pure: a Job, its pods and the time in; status and writes out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hypernetes.api import times
from hypernetes.api.models.batch_v1 import Job, JobCondition, JobStatus
from hypernetes.api.models.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from hypernetes.controllers import pods
from hypernetes.controllers.jobs import indexes, tally, verdict, wanted
from hypernetes.controllers.jobs.failures import FAILURES, IGNORED_FAILURES
from hypernetes.controllers.jobs.tally import TRACKING, Tally, is_indexed
from hypernetes.controllers.jobs.verdict import Verdict
from hypernetes.controllers.jobs.wanted import NewPod, Wanted
from hypernetes.controllers.replicas import new_pod

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_INDEX_FIELD = f"metadata.annotations['{indexes.INDEX}']"


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class Plan:
    status: JobStatus
    strip: list[Pod] = field(default_factory=list)  # of the tracking finalizer, after the status is written
    delete: list[Pod] = field(default_factory=list)
    create: list[NewPod] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    again: float | None = None  # seconds until something is due of which no event tells


def decide(job: Job, owned: Sequence[Pod], stripped: Collection[str], now: datetime) -> Plan:
    """`owned`: the pods that the Job controls; `stripped`: see tally."""
    ends = verdict.standing(job) is not None
    counts = tally.tally(job, owned, stripped, ends=ends)
    found = verdict.decide(job, counts, now)
    if found is not None and not ends:
        counts = tally.tally(job, owned, stripped, ends=True)
    suspended = bool(job.spec.suspend) and found is None
    plan = Plan(_status(job, counts), strip=counts.strip)
    _set_start(job, plan.status, now, suspended=suspended)
    plan.events += _set_suspended(job, plan.status, now, suspended=suspended)
    if found is not None:
        plan.events += _end(job, plan.status, counts, found, now)
        plan.delete = list(counts.active)
    elif suspended:
        plan.delete = list(counts.active)
    elif job.metadata.deletion_timestamp is None:
        _apply(plan, wanted.wanted(job, owned, counts, now))
        left = verdict.deadline_in(job, now)
        if left is None and job.spec.active_deadline_seconds is not None and not suspended:
            left = float(job.spec.active_deadline_seconds)
        plan.again = min((wait for wait in (plan.again, left) if wait is not None), default=None)
    return plan


def differs(one: JobStatus, other: JobStatus) -> bool:
    """Zeros, empty lists and what isn't there are the same."""
    return _essence(one) != _essence(other)


def _essence(status: JobStatus) -> dict[str, object]:
    shown = {name: value for name, value in status.to_dict().items() if value}
    if not any((shown.get("uncountedTerminatedPods") or {}).values()):
        shown.pop("uncountedTerminatedPods", None)
    return shown


def _apply(plan: Plan, found: Wanted) -> None:
    plan.create, plan.delete, plan.again = found.create, found.delete, found.again


def _status(job: Job, counts: Tally) -> JobStatus:
    status = job.status.model_copy(deep=True)
    status.active = len(counts.active)
    status.ready = sum(map(pods.is_ready, counts.active))
    status.terminating = len(counts.terminating)
    status.succeeded, status.failed = counts.succeeded, counts.failed
    status.uncounted_terminated_pods = counts.uncounted
    if is_indexed(job):
        status.completed_indexes = indexes.text(counts.completed) or None
        if job.spec.backoff_limit_per_index is not None:
            status.failed_indexes = indexes.text(counts.failed_indexes)
    return status


def _set_start(job: Job, status: JobStatus, now: datetime, *, suspended: bool) -> None:
    if suspended:
        status.start_time = None
    elif status.start_time is None:
        status.start_time = times.format_time(now)


def _set_suspended(job: Job, status: JobStatus, now: datetime, *, suspended: bool) -> list[Event]:
    """Resuming starts the clock of activeDeadlineSeconds anew."""
    was = any(entry.type == verdict.SUSPENDED and entry.status == "True" for entry in status.conditions)
    if suspended and not was:
        _set_condition(status, verdict.SUSPENDED, "True", "JobSuspended", "Job suspended", now)
        return [Event("Normal", "Suspended", "Job suspended")]
    if was and not job.spec.suspend:
        _set_condition(status, verdict.SUSPENDED, "False", "JobResumed", "Job resumed", now)
        status.start_time = times.format_time(now)
        return [Event("Normal", "Resumed", "Job resumed")]
    return []


def _end(job: Job, status: JobStatus, counts: Tally, found: Verdict, now: datetime) -> list[Event]:
    """First what it will be, then, once nothing runs and all is counted, that it is so."""
    if verdict.standing(job) is None:
        _set_condition(status, found.target, "True", found.reason, found.message, now)
    if counts.active or counts.terminating or counts.strip or counts.uncounted_succeeded or counts.uncounted_failed:
        return []
    _set_condition(status, found.final, "True", found.reason, found.message, now)
    if found.final == verdict.COMPLETE:
        status.completion_time = times.format_time(now)
        return [Event("Normal", "Completed", "Job completed")]
    return [Event("Warning", found.reason, found.message)]


def _set_condition(status: JobStatus, kind: str, value: str, reason: str, message: str, now: datetime) -> None:
    moment = times.format_time(now)
    made = JobCondition(
        type=kind, status=value, reason=reason, message=message, last_probe_time=moment, last_transition_time=moment
    )
    status.conditions = [*(entry for entry in status.conditions if entry.type != kind), made]


def pod(job: Job, asked: NewPod) -> Pod:
    """A pod of the Job's template, with the finalizer that keeps it until it is counted."""
    made = new_pod(job, job.spec.template)
    made.metadata.finalizers = [*made.metadata.finalizers, TRACKING]
    if asked.index is None:
        return made
    index, name = str(asked.index), f"{job.metadata.name}-{asked.index}"
    made.metadata.generate_name = f"{name}-"
    made.metadata.labels[indexes.INDEX] = index
    made.metadata.annotations[indexes.INDEX] = index
    if job.spec.backoff_limit_per_index is not None:
        made.metadata.annotations[FAILURES] = str(asked.failures)
        if asked.ignored:
            made.metadata.annotations[IGNORED_FAILURES] = str(asked.ignored)
    made.spec.hostname = made.spec.hostname or name
    source = EnvVarSource(field_ref=ObjectFieldSelector(field_path=_INDEX_FIELD))
    for container in (*made.spec.containers, *made.spec.init_containers):
        if all(variable.name != INDEX_VARIABLE for variable in container.env):
            container.env = [*container.env, EnvVar(name=INDEX_VARIABLE, value_from=source)]
    return made


def without_tracking(found: Pod) -> list[str]:
    """The finalizers that are left."""
    return [name for name in found.metadata.finalizers if name != TRACKING]


def is_ours(job: Job) -> bool:
    """Another controller looks after a Job that names it."""
    return job.spec.managed_by in (None, "", "kubernetes.io/job-controller")
