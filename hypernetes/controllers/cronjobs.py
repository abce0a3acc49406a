"""CronJobs (batch/v1): a Job for each time of a schedule.

A Job is named after CronJob and time, so that one time makes one Job, however often it is tried.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from hypernetes.api import schedules, times
from hypernetes.api.models.batch_v1 import CronJob, CronJobStatus, Job
from hypernetes.api.models.core_v1 import ObjectReference
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.object import tenant_of
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key, is_reason
from hypernetes.controllers import ownership
from hypernetes.controllers.controller import Controller, is_failure
from hypernetes.controllers.expectations import Expectations
from hypernetes.controllers.informers import Informers, uid_index
from hypernetes.controllers.writes import Create, Delete, carry_out_one

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = 100  # upstream's number: more are told, and the last one only is made up for
_DEFAULT_SUCCESSFUL, _DEFAULT_FAILED = 3, 1


@dataclass(frozen=True, slots=True)
class Note:
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class Plan:
    status: CronJobStatus
    create: datetime | None = None  # the time for which a Job is to be made
    replace: list[Job] = field(default_factory=list)  # to be deleted before it
    expired: list[Job] = field(default_factory=list)  # beyond the history's limits
    notes: list[Note] = field(default_factory=list)
    again: float | None = None  # seconds until the next time


def decide(cron: CronJob, owned: Sequence[Job], now: datetime) -> Plan:
    """`owned`: the Jobs that the CronJob controls."""
    running = [job for job in owned if _ended(job) is None]
    plan = Plan(_status(cron, owned, running), expired=_expired(cron, owned))
    if cron.spec.suspend or cron.metadata.deletion_timestamp is not None:
        return plan
    try:
        schedule, zone = schedules.parse(cron.spec.schedule), ZoneInfo(cron.spec.time_zone or "UTC")
    except (ValueError, OSError, KeyError) as error:  # of an older rule, or of another zone database
        plan.notes.append(Note("Warning", "InvalidSchedule", f"the schedule can't be read: {error}"))
        return plan
    local, since = now.astimezone(zone), _since(cron, now).astimezone(zone)
    following = schedule.after(local)
    plan.again = None if following is None else max(0.0, (following - now).total_seconds())
    due = schedule.until(since, local)
    if due is None:
        return plan
    deadline = cron.spec.starting_deadline_seconds
    oldest = now - timedelta(seconds=deadline) if deadline is not None else None
    if oldest is not None and due < oldest:
        moment = times.format_time(due.astimezone(UTC))
        plan.notes.append(Note("Warning", "MissSchedule", f"Missed scheduled time to start a job: {moment}"))
        return plan
    if _missed(schedule, max(since, oldest or since), due) > _MANY_MISSED:
        why = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        plan.notes.append(Note("Warning", "TooManyMissedTimes", why))
    if any(job.metadata.name == job_name(cron, due) for job in owned):
        plan.status.last_schedule_time = times.format_time(due.astimezone(UTC))
        return plan
    if running and cron.spec.concurrency_policy == "Forbid":
        why = "Not starting job because prior execution is running and concurrency policy is Forbid"
        plan.notes.append(Note("Normal", "JobAlreadyActive", why))
        return plan
    plan.create = due
    plan.replace = running if cron.spec.concurrency_policy == "Replace" else []
    return plan


def _since(cron: CronJob, now: datetime) -> datetime:
    """Times up to here are settled: made, or before the CronJob was."""
    earliest = cron.status.last_schedule_time or cron.metadata.creation_timestamp
    return times.parse_time(earliest) if earliest else now


def _missed(schedule: schedules.Schedule, since: datetime, due: datetime) -> int:
    """How many times there were up to `due`; more than _MANY_MISSED aren't counted."""

    def following() -> Any:
        moment: datetime | None = since
        while moment is not None and (moment := schedule.after(moment)) is not None and moment < due:
            yield moment

    return sum(1 for _ in islice(following(), _MANY_MISSED + 1))


def _ended(job: Job) -> str | None:
    """Complete or Failed; None while it runs."""
    true = (entry.type for entry in job.status.conditions if entry.status == "True")
    return next((kind for kind in true if kind in ("Complete", "Failed")), None)


def _status(cron: CronJob, owned: Sequence[Job], running: Sequence[Job]) -> CronJobStatus:
    successes = [
        job.status.completion_time for job in owned if _ended(job) == "Complete" and job.status.completion_time
    ]
    last = max([*successes, *filter(None, [cron.status.last_successful_time])], default=None)
    active = sorted(map(_reference, running), key=lambda reference: reference.name or "")
    return CronJobStatus(
        active=active, last_schedule_time=cron.status.last_schedule_time, last_successful_time=last
    )  # fmt: skip


def _reference(job: Job) -> ObjectReference:
    metadata = job.metadata
    return ObjectReference(
        api_version_=Job.API_VERSION, kind_=Job.KIND, namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )


def _expired(cron: CronJob, owned: Sequence[Job]) -> list[Job]:
    """The oldest ended ones beyond each limit."""
    found = []
    for kind, asked, default in (
        ("Complete", cron.spec.successful_jobs_history_limit, _DEFAULT_SUCCESSFUL),
        ("Failed", cron.spec.failed_jobs_history_limit, _DEFAULT_FAILED),
    ):
        ended = sorted((job for job in owned if _ended(job) == kind), key=lambda job: job.status.start_time or "")
        limit = default if asked is None else asked
        found += ended[: max(0, len(ended) - limit)]
    return [job for job in found if job.metadata.deletion_timestamp is None]


def job_name(cron: CronJob, due: datetime) -> str:
    """By the minute, which is as fine as schedules are."""
    return f"{cron.metadata.name}-{int(due.timestamp()) // 60}"


def new_job(cron: CronJob, due: datetime) -> Job:
    template = cron.spec.job_template
    metadata = ObjectMeta(
        name=job_name(cron, due),
        namespace=cron.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations={**template.metadata.annotations, SCHEDULED_AT: due.isoformat(timespec="seconds")},
        owner_references=[ownership.controller_reference(cron)],
    )
    return Job(metadata=metadata, spec=template.spec.model_copy(deep=True))


class CronJobs(Controller):
    name = "cronjob"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.cron_jobs, self.jobs = informers.of(CronJob), informers.of(Job)
        self._expectations = Expectations(self.jobs, lambda: asyncio.get_running_loop().time())
        self.cron_jobs.on_key(self.queue.add)
        self.jobs.on_change(self._job_changed)

    def _job_changed(self, key: Key, old: Job | None, new: Job | None) -> None:
        for job in (old, new):
            reference = job and ownership.controller_of(job)
            if reference and reference.kind_ == CronJob.KIND:
                self.queue.add(Key(key.tenant, key.namespace, reference.name))

    async def reconcile(self, key: Key) -> float | None:
        cron = self.cron_jobs.get(key)
        if cron is None:
            self._expectations.forget(key)
            return None
        if not self._expectations.met(key):
            return None  # the Job's own event comes
        owned = self.jobs.by_index("controller", uid_index(tenant_of(cron), cron.metadata.uid))
        plan = decide(cron, owned, times.now())
        for note in plan.notes:
            self.recorder.event(cron, note.type, note.reason, note.message)
        for job in (*plan.expired, *plan.replace):
            await carry_out_one(self.client, key.tenant, Delete(job))
            self.recorder.event(cron, "Normal", "SuccessfulDelete", f"Deleted job {job.metadata.name}")
        if plan.create is not None:
            await self._start(key, cron, plan.create, plan.status)
        if plan.status != cron.status:
            await self.client.update_status(cron.model_copy(update={"status": plan.status}), tenant=key.tenant)
        return plan.again

    async def _start(self, key: Key, cron: CronJob, due: datetime, status: CronJobStatus) -> None:
        """Makes the Job and has the status say so. A Job of the name that is another's stays, and is told of."""
        made = new_job(cron, due)
        try:
            job = await carry_out_one(self.client, key.tenant, Create(made))
            self.recorder.event(cron, "Normal", "SuccessfulCreate", f"Created job {job.metadata.name}")
        except REQUEST_ERRORS as error:
            if not is_reason(error, "AlreadyExists"):
                if is_failure(error):
                    self.recorder.event(cron, "Warning", "FailedCreate", f"Error creating job: {error}")
                raise
            name = made.metadata.name or ""
            job = await self.client.get(Job, name, namespace=key.namespace, tenant=key.tenant)
            if not ownership.is_controlled_by(job, cron):
                self.recorder.event(cron, "Warning", "FailedCreate", f"job {name} exists and isn't of this CronJob")
        else:
            self._expectations.created(key, job.metadata.resource_version)
            status.active = [*status.active, _reference(job)]
        status.last_schedule_time = times.format_time(due.astimezone(UTC))
