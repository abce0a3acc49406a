"""What a pod's containers should do next: a pure decision over the pod's spec and its containers' records.

Init containers one after the other, sidecars among them staying (KEP-753); then all others at once; restarts by the
pod's restartPolicy; and what the pod's end is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import Container, Pod
from hypernetes.nodeagent import restarts
from hypernetes.nodeagent.containers import ContainerRecord, Phase, is_ephemeral, is_sidecar

Records = Mapping[str, ContainerRecord]


@dataclass(frozen=True, slots=True)
class Decision:
    """`start` are containers to start now, `wake_at` when to decide again though nothing happens (seconds since the
    epoch), `finished` the pod's final phase."""

    start: tuple[str, ...] = ()
    wake_at: float | None = None
    finished: str | None = None


def decide(pod: Pod, records: Records, now: float) -> Decision:
    plan = _Plan(now)
    for each in pod.spec.ephemeral_containers:
        # Whatever the others do, and once only (KEP-277).
        record = records[each.name]
        if record.phase is Phase.WAITING:
            plan.start_at(record.name, record.retry_at)
    if not _initialise(pod, records, plan):
        return plan.decision()
    outcomes = [_steady(pod, container, records[container.name], plan) for container in pod.spec.containers]
    if any(outcome is None for outcome in outcomes):
        return plan.decision()
    return Decision(finished="Failed" if any(outcome != 0 for outcome in outcomes) else "Succeeded")


def initialized(pod: Pod, records: Records) -> bool:
    """All init containers are through, or are sidecars past their startup probe."""
    if any(records[container.name].attempt >= 0 and records[container.name].phase is not Phase.WAITING
           for container in pod.spec.containers):  # fmt: skip
        return True
    for container in pod.spec.init_containers:
        record = records[container.name]
        if is_sidecar(container):
            if not record.started:
                return False
        elif record.phase is not Phase.EXITED or record.ended is None or record.ended.exit_code != 0:
            return False
    return True


def waits_for_restart(pod: Pod, container: Container, record: ContainerRecord) -> bool:
    """An ended container that will run again."""
    if record.phase is not Phase.EXITED or record.ended is None:
        return False
    if container in pod.spec.init_containers and not is_sidecar(container) and record.ended.exit_code == 0:
        return False
    if is_ephemeral(pod, container.name):
        return False
    return restarts.restarts(pod, container, record.ended.exit_code)


class _Plan:
    def __init__(self, now: float) -> None:
        self._now = now
        self._start: list[str] = []
        self._wake_at: float | None = None
        self.failed = False

    def start_at(self, name: str, moment: float) -> None:
        if moment <= self._now:
            self._start.append(name)
        else:
            self._wake_at = moment if self._wake_at is None else min(self._wake_at, moment)

    def decision(self) -> Decision:
        return Decision(tuple(self._start), self._wake_at, "Failed" if self.failed else None)


def _initialise(pod: Pod, records: Records, plan: _Plan) -> bool:
    """Plans the init containers' next step; True where nothing of them holds the others back."""
    done = any(records[container.name].attempt >= 0 and records[container.name].phase is not Phase.WAITING
               for container in pod.spec.containers)  # fmt: skip
    for container in pod.spec.init_containers:
        record = records[container.name]
        if is_sidecar(container):
            _sidecar(record, plan)
            if not (record.started or done):
                return False
            continue
        if done or (record.ended is not None and record.phase is Phase.EXITED and record.ended.exit_code == 0):
            continue
        if record.phase is Phase.WAITING:
            plan.start_at(record.name, record.retry_at)
        elif record.phase is Phase.EXITED and record.ended is not None:
            if not restarts.restarts(pod, container, record.ended.exit_code):
                plan.failed = True
            else:
                plan.start_at(record.name, max(record.ended.finished_at + record.delay, record.retry_at))
        return False
    return True


def _sidecar(record: ContainerRecord, plan: _Plan) -> None:
    if record.phase is Phase.WAITING:
        plan.start_at(record.name, record.retry_at)
    elif record.phase is Phase.EXITED and record.ended is not None:
        plan.start_at(record.name, max(record.ended.finished_at + record.delay, record.retry_at))


def _steady(pod: Pod, container: Container, record: ContainerRecord, plan: _Plan) -> int | None:
    """Plans one of the pod's main containers; its exit code where it is through."""
    if record.phase is Phase.WAITING:
        plan.start_at(record.name, record.retry_at)
        return None
    if record.phase is Phase.RUNNING or record.ended is None:
        return None
    if not restarts.restarts(pod, container, record.ended.exit_code):
        return record.ended.exit_code
    plan.start_at(record.name, max(record.ended.finished_at + record.delay, record.retry_at))
    return None
