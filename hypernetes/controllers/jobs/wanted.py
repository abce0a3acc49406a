"""Which pods a Job that goes on should get, and which it should lose."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hypernetes.api.models.batch_v1 import Job
from hypernetes.api.models.core_v1 import Pod
from hypernetes.controllers import pods
from hypernetes.controllers.jobs import failures, indexes
from hypernetes.controllers.jobs.tally import Tally, is_indexed

BURST = 500  # pods created or deleted in one go (upstream's number)


@dataclass(frozen=True, slots=True)
class NewPod:
    index: int | None = None
    failures: int = 0  # of its index so far
    ignored: int = 0


@dataclass(slots=True)
class Wanted:
    create: list[NewPod] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    again: float | None = None  # seconds until a back-off is over


def wanted(job: Job, owned: Sequence[Pod], counts: Tally, now: datetime) -> Wanted:
    surplus = _misplaced(job, counts)
    active = [pod for pod in counts.active if pod not in surplus]
    most = _most(job, counts, len(active))
    excess = len(active) - most
    if excess > 0:
        ranked = sorted(active, key=lambda pod: pods.deletion_order(pod, Counter(), now))
        surplus += ranked[:excess]
    if surplus:
        return Wanted(delete=surplus[:BURST])
    waiting = len(counts.terminating) if failures.replaces_only_failed(job) else 0
    missing = min(most - len(active) - waiting, BURST)
    if missing <= 0:
        return Wanted()
    if job.spec.backoff_limit_per_index is not None:
        return _per_index(job, owned, counts, missing, now)
    pause = failures.job_delay(job, owned, now)
    if pause > 0:
        return Wanted(again=pause)
    if not is_indexed(job):
        return Wanted([NewPod()] * missing)
    return Wanted([NewPod(index) for index in _pending(job, counts)[:missing]])


def _most(job: Job, counts: Tally, active: int) -> int:
    """How many pods may run now."""
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    if job.spec.completions is None:
        return active if counts.all_succeeded and active <= parallelism else 0 if counts.all_succeeded else parallelism
    left = job.spec.completions - counts.all_succeeded
    if is_indexed(job):
        left -= len(counts.failed_indexes)
    return max(0, min(parallelism, left))


def _misplaced(job: Job, counts: Tally) -> list[Pod]:
    """Of an Indexed Job: pods of no index, of one that is done, and all but the oldest of several for one index."""
    if not is_indexed(job):
        return []
    done = counts.completed | counts.failed_indexes
    seen: set[int] = set()
    found = []
    for pod in sorted(counts.active, key=_age):
        index = indexes.of(pod)
        if index is None or index >= (job.spec.completions or 0) or index in seen or index in done:
            found.append(pod)
        else:
            seen.add(index)
    return found


def _age(pod: Pod) -> tuple[str, str]:
    return pod.metadata.creation_timestamp or "", pod.metadata.uid or ""


def _pending(job: Job, counts: Tally) -> list[int]:
    """The indexes for which no pod runs and none has succeeded, in order."""
    taken = counts.completed | counts.failed_indexes | _indexes_of(counts.active)
    if failures.replaces_only_failed(job):
        taken |= _indexes_of(counts.terminating)
    return [index for index in range(job.spec.completions or 0) if index not in taken]


def _indexes_of(owned: Sequence[Pod]) -> set[int]:
    return {index for pod in owned if (index := indexes.of(pod)) is not None}


def _per_index(job: Job, owned: Sequence[Pod], counts: Tally, missing: int, now: datetime) -> Wanted:
    """Each index backs off for itself, and a new pod is told how often its index has failed."""
    last: dict[int, Pod] = {}
    for pod in owned:
        index = indexes.of(pod)
        if index is not None and failures.is_failed(job, pod):
            before = last.get(index)
            if before is None or sum(failures.failures_before(pod)) > sum(failures.failures_before(before)):
                last[index] = pod
    result = Wanted()
    for index in _pending(job, counts):
        if len(result.create) == missing:
            break
        failed = last.get(index)
        if failed is None:
            result.create.append(NewPod(index))
            continue
        count, ignored = failures.failures_before(failed)
        pause = failures.delay(count + ignored + 1, failures.finished_at(failed), now)
        if pause > 0:
            result.again = min(pause, result.again or pause)
        elif failures.judge(job, failed).action is failures.Action.IGNORE:
            result.create.append(NewPod(index, count, ignored + 1))
        else:
            result.create.append(NewPod(index, count + 1, ignored))
    return result
