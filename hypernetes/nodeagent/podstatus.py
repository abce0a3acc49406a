"""The status of a pod, from its spec and what the agent knows of its containers. Pure.

Phases, conditions and words are upstream's: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hypernetes.api import quantity, times
from hypernetes.api.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
)
from hypernetes.nodeagent import lifecycle, resizing
from hypernetes.nodeagent.containers import (
    START_ERROR,
    ContainerRecord,
    Phase,
    Run,
    ephemeral_of,
    is_ephemeral,
    is_sidecar,
)

_RESIZE = "PodResizePending"
_DISRUPTION = "DisruptionTarget"
_SIZED = "hypernetes.io/MachineSized"  # how large the pod's machine is, and why
_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(frozen=True, slots=True)
class PodState:
    """What status needs beside the containers."""

    host_ip: str
    pod_ip: str = ""
    start_time: str = ""
    machine_ready: bool = False  # booted and wired
    final_phase: str | None = None  # "Succeeded" or "Failed": nothing will run again
    reason: str = ""
    message: str = ""
    infeasible: str = ""  # why the machine can't be what the pod asks for now
    disruption: str = ""  # why the node ended it for its own sake
    size_reason: str = ""  # what the machine's size follows from
    size_message: str = ""


def build(pod: Pod, records: Mapping[str, ContainerRecord], state: PodState, now: float) -> PodStatus:
    """The whole status; conditions of others (PodScheduled, readiness gates) are taken over from `pod`."""
    init = [_container(pod, container, records[container.name], now, state) for container in pod.spec.init_containers]
    main = [_container(pod, container, records[container.name], now, state) for container in pod.spec.containers]
    ephemeral = [_container(pod, container, records[container.name], now, state) for container in ephemeral_of(pod)]
    phase = state.final_phase or _phase(pod, records)
    return PodStatus(
        phase=phase,
        conditions=_conditions(pod, records, init, main, state, phase, times.format_time(times.now())),
        init_container_statuses=init,
        container_statuses=main,
        ephemeral_container_statuses=ephemeral,
        host_ip=state.host_ip,
        host_ips=[HostIP(ip=state.host_ip)],
        pod_ip=state.pod_ip or None,
        pod_ips=[PodIP(ip=state.pod_ip)] if state.pod_ip else [],
        start_time=state.start_time or None,
        qos_class=pod.status.qos_class or qos_class(pod),
        reason=state.reason or None,
        message=state.message or None,
        observed_generation=pod.status.observed_generation,
    )


def _phase(pod: Pod, records: Mapping[str, ContainerRecord]) -> str:
    """Pending until every container has run once; then Running, until all is through."""
    if not lifecycle.initialized(pod, records):
        return "Pending"
    mains = [records[container.name] for container in pod.spec.containers]
    if any(record.phase is Phase.WAITING and record.last_run is None for record in mains):
        return "Pending"
    return "Running"


def _container(pod: Pod, container: Container, record: ContainerRecord, now: float, state: PodState) -> ContainerStatus:
    running = record.phase is Phase.RUNNING
    if is_ephemeral(pod, container.name):
        ready = started = False
    elif container not in pod.spec.init_containers or is_sidecar(container):
        ready = running and record.ready
        started = running and record.started
    else:
        ready = record.phase is Phase.EXITED and record.ended is not None and record.ended.exit_code == 0
        started = False
    current, last = _states(pod, container, record, state)
    return ContainerStatus(
        name=container.name,
        image=container.image or "",
        image_id=record.image_id,
        container_id=_container_id(pod, record.id) if record.attempt >= 0 else None,
        ready=ready,
        started=started,
        restart_count=record.restart_count,
        state=current,
        last_state=last,
        resources=resizing.shown(record) if running else None,
        allocated_resources=(record.resources or {}).get("requests", {}) if running else {},
    )


def _states(
    pod: Pod, container: Container, record: ContainerRecord, state: PodState
) -> tuple[ContainerState, ContainerState | None]:
    """(state, lastState)."""
    if record.phase is Phase.RUNNING:
        now = ContainerState(running=ContainerStateRunning(started_at=_moment(record.started_at)))
        return now, _terminated(pod, record.previous)
    restarting = state.final_phase is None and lifecycle.waits_for_restart(pod, container, record)
    if record.phase is Phase.EXITED and record.ended is not None and not restarting:
        ended = _terminated(pod, record.ended)
        assert ended is not None
        return ended, _terminated(pod, record.previous)
    waiting = ContainerState(waiting=_waiting(pod, record))
    return waiting, _terminated(pod, record.ended or record.previous)


def _waiting(pod: Pod, record: ContainerRecord) -> ContainerStateWaiting:
    if record.waiting_reason:
        return ContainerStateWaiting(reason=record.waiting_reason, message=record.waiting_message or None)
    if record.phase is Phase.EXITED and record.ended is not None:
        if record.ended.reason == START_ERROR:
            return ContainerStateWaiting(reason="RunContainerError", message=record.ended.message or None)
        if record.delay > 0:
            return ContainerStateWaiting(reason="CrashLoopBackOff", message=back_off_message(pod, record))
    return ContainerStateWaiting(reason="PodInitializing" if pod.spec.init_containers else "ContainerCreating")


def back_off_message(pod: Pod, record: ContainerRecord) -> str:
    whole = int(record.delay)
    delay = f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
    return (
        f"back-off {delay} restarting failed container={record.name} "
        f"pod={pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
    )


def _terminated(pod: Pod, run: Run | None) -> ContainerState | None:
    if run is None:
        return None
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=run.exit_code,
            reason=run.reason,
            message=run.message or None,
            started_at=_moment(run.started_at if run.started_at is not None else run.finished_at),
            finished_at=_moment(run.finished_at),
            container_id=_container_id(pod, run.id),
        )
    )


def _container_id(pod: Pod, attempt_id: str) -> str:
    return f"hypernetes://{pod.metadata.uid}.{attempt_id}"


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else times.format_time(datetime.fromtimestamp(seconds, UTC))


def _conditions(
    pod: Pod,
    records: Mapping[str, ContainerRecord],
    init: Sequence[ContainerStatus],
    main: Sequence[ContainerStatus],
    state: PodState,
    phase: str,
    now: str,
) -> list[PodCondition]:
    sidecars = [
        status for container, status in zip(pod.spec.init_containers, init, strict=True) if is_sidecar(container)
    ]
    unready = [status.name for status in (*sidecars, *main) if not status.ready]
    uninitialized = [status.name for status in init if not (status.ready or status.started)]
    wanted = {"PodReadyToStartContainers": ("True" if state.machine_ready else "False", "", "")}
    if lifecycle.initialized(pod, records) or phase == "Succeeded":
        wanted["Initialized"] = ("True", "PodCompleted" if phase == "Succeeded" else "", "")
    else:
        message = f"containers with incomplete status: [{' '.join(uninitialized)}]"
        wanted["Initialized"] = ("False", "ContainersNotInitialized", message)
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        wanted["ContainersReady"] = wanted["Ready"] = ("False", reason, "")
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        wanted["ContainersReady"] = wanted["Ready"] = ("False", "ContainersNotReady", message)
    else:
        wanted["ContainersReady"] = ("True", "", "")
        wanted["Ready"] = _gates(pod)
    previous = {condition.type: condition for condition in pod.status.conditions}
    ours = [_condition(kind, *wanted[kind], previous.get(kind), now) for kind in _OURS]
    if state.infeasible:
        ours.append(_condition(_RESIZE, "True", "Infeasible", state.infeasible, previous.get(_RESIZE), now))
    if state.disruption:
        told = _condition(_DISRUPTION, "True", "TerminationByKubelet", state.disruption, previous.get(_DISRUPTION), now)
        ours.append(told)
    if state.size_reason:
        ours.append(_condition(_SIZED, "True", state.size_reason, state.size_message, previous.get(_SIZED), now))
    kinds = {_RESIZE, *(condition.type for condition in ours)}
    others = [condition for condition in pod.status.conditions if condition.type not in kinds]
    if not any(condition.type == "PodScheduled" for condition in others):
        others.append(_condition("PodScheduled", "True", "", "", None, now))
    return [*ours, *others]


def _gates(pod: Pod) -> tuple[str, str, str]:
    """Ready, but for the pod's readiness gates (KEP-580)."""
    true = {condition.type for condition in pod.status.conditions if condition.status == "True"}
    missing = [gate.condition_type for gate in pod.spec.readiness_gates if gate.condition_type not in true]
    if not missing:
        return "True", "", ""
    return "False", "ReadinessGatesNotReady", f"the status of pod readiness gate {missing[0]!r} is not True"


def _condition(
    kind: str, status: str, reason: str, message: str, previous: PodCondition | None, now: str
) -> PodCondition:
    unchanged = previous is not None and previous.status == status
    return PodCondition(
        type=kind,
        status=status,
        reason=reason or None,
        message=message or None,
        last_transition_time=previous.last_transition_time if unchanged and previous else now,
        observed_generation=previous.observed_generation if previous else None,
    )


def qos_class(pod: Pod) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    resources = [container.resources for container in (*pod.spec.init_containers, *pod.spec.containers)]
    if not any(each and (_counted(each.limits) or _counted(each.requests)) for each in resources):
        return "BestEffort"
    for each in resources:
        if each is None:
            return "Burstable"
        for name in ("cpu", "memory"):
            limit = each.limits.get(name)
            request = each.requests.get(name, limit)
            if limit is None or request is None or quantity.parse(limit) != quantity.parse(request):
                return "Burstable"
    return "Guaranteed"


def _counted(quantities: Mapping[str, str]) -> bool:
    return any(quantity.parse(value) > 0 for name, value in quantities.items() if name in ("cpu", "memory"))
