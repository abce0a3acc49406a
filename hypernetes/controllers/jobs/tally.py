"""Which pods count how. Each is counted once: see the package's text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from hypernetes.api.models.batch_v1 import Job, UncountedTerminatedPods
from hypernetes.api.models.core_v1 import Pod
from hypernetes.controllers import pods
from hypernetes.controllers.jobs import failures, indexes
from hypernetes.controllers.jobs.failures import Action

TRACKING = "batch.kubernetes.io/job-tracking"  # finalizer


@dataclass(slots=True)
class Tally:
    active: list[Pod] = field(default_factory=list)
    terminating: list[Pod] = field(default_factory=list)  # on their way out, not finished
    succeeded: int = 0  # as status.succeeded will say; those only listed by UID not included
    failed: int = 0
    uncounted_succeeded: list[str] = field(default_factory=list)
    uncounted_failed: list[str] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    strip: list[Pod] = field(default_factory=list)  # finished: their finalizers go once the status is written
    job_failure: str = ""  # of a FailJob rule

    @property
    def all_succeeded(self) -> int:
        return self.succeeded + len(self.uncounted_succeeded)

    @property
    def all_failed(self) -> int:
        return self.failed + len(self.uncounted_failed)

    @property
    def uncounted(self) -> UncountedTerminatedPods:
        return UncountedTerminatedPods(succeeded=sorted(self.uncounted_succeeded), failed=sorted(self.uncounted_failed))


def is_indexed(job: Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def tally(job: Job, owned: Sequence[Pod], stripped: Collection[str], *, ends: bool = False) -> Tally:
    """`stripped`: UIDs whose finalizers we took off, which the cache may not show yet. `ends`: the Job is failing or
    has succeeded, so no failed pod is kept for a successor."""
    status, completions = job.status, job.spec.completions or 0
    found = Tally(
        active=[pod for pod in owned if pods.is_active(pod)],
        terminating=[pod for pod in owned if pod.metadata.deletion_timestamp and not pods.is_finished(pod)],
        succeeded=status.succeeded or 0,
        failed=status.failed or 0,
        completed=indexes.parse(status.completed_indexes, completions),
        failed_indexes=indexes.parse(status.failed_indexes, completions),
    )
    held = {pod.metadata.uid or "" for pod in owned if _tracked(pod) and pod.metadata.uid not in stripped}
    before = status.uncounted_terminated_pods or UncountedTerminatedPods()
    for uids, listed in ((before.succeeded, found.uncounted_succeeded), (before.failed, found.uncounted_failed)):
        listed += [uid for uid in uids if uid in held]
    found.succeeded += sum(uid not in held for uid in before.succeeded)
    found.failed += sum(uid not in held for uid in before.failed)
    finished = [pod for pod in owned if pod.metadata.uid in held and _is_over(job, pod)]
    for pod in finished:
        if pod.metadata.uid in (*before.succeeded, *before.failed):
            found.strip.append(pod)
        elif pod.status.phase == "Succeeded":
            _succeed(job, pod, found)
    for pod in finished:
        if pod.status.phase != "Succeeded" and pod.metadata.uid not in before.failed:
            _fail(job, pod, found, owned, ends=ends)
    if is_indexed(job):
        found.succeeded = len(found.completed)
        found.failed_indexes -= found.completed
    return found


def _tracked(pod: Pod) -> bool:
    return TRACKING in pod.metadata.finalizers


def _is_over(job: Job, pod: Pod) -> bool:
    return pod.status.phase == "Succeeded" or failures.is_failed(job, pod)


def _succeed(job: Job, pod: Pod, found: Tally) -> None:
    found.strip.append(pod)
    if not is_indexed(job):
        found.uncounted_succeeded.append(pod.metadata.uid or "")
        return
    index = indexes.of(pod)
    if index is not None and index < (job.spec.completions or 0):
        found.completed.add(index)


def _fail(job: Job, pod: Pod, found: Tally, owned: Sequence[Pod], *, ends: bool) -> None:
    judgement = failures.judge(job, pod)
    if judgement.action is Action.FAIL_JOB:
        found.job_failure = found.job_failure or judgement.message
    index, limit = indexes.of(pod), job.spec.backoff_limit_per_index
    if limit is not None and index is not None:
        count, _ = failures.failures_before(pod)
        spent = judgement.action is Action.COUNT and count + 1 > limit
        if spent or judgement.action is Action.FAIL_INDEX:
            found.failed_indexes.add(index)
        elif not ends and index not in found.completed and not _has_successor(pod, index, owned):
            return  # it is kept until its successor is there, which takes over its count of failures
    found.strip.append(pod)
    if judgement.action is not Action.IGNORE:
        found.uncounted_failed.append(pod.metadata.uid or "")


def _has_successor(pod: Pod, index: int, owned: Sequence[Pod]) -> bool:
    """Another pod of the index that has seen one failure more."""
    total = sum(failures.failures_before(pod))
    return any(
        indexes.of(other) == index and sum(failures.failures_before(other)) > total
        for other in owned
        if other.metadata.uid != pod.metadata.uid
    )
