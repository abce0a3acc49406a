"""What the agent knows of each container: the part of a pod's record that restarts and status are made from."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hypernetes.api.models.core_v1 import Container, Pod
from hypernetes.nodeagent import restarts
from hypernetes.nodeagent.runtime.base import ContainerState, ContainerStatus

START_ERROR = "StartError"  # upstream's words for a command that couldn't be started, with exit code 128
START_ERROR_CODE = 128
# Of a container whose machine was lost: what upstream shows of containers after a node's restart.
LOST_REASON = "Unknown"
LOST_CODE = 255


class Phase(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(slots=True)
class Run:
    """How an attempt ended. Times are seconds since the epoch."""

    id: str
    exit_code: int
    reason: str
    message: str
    started_at: float | None
    finished_at: float


@dataclass(slots=True)
class ContainerRecord:
    """One container. `attempt` counts starts from 0; -1 was never started."""

    name: str
    attempt: int = -1
    phase: Phase = Phase.WAITING
    started_at: float | None = None
    ended: Run | None = None  # of this attempt, while `phase` is EXITED
    previous: Run | None = None  # of the attempt before
    delay: float = 0.0  # seconds between `ended` and the next start
    waiting_reason: str = ""  # while the next start fails: ErrImagePull, …
    waiting_message: str = ""
    retry_at: float = 0.0
    retry_delay: float = 0.0
    image_id: str = ""
    image_digest: str = ""  # as the image store knows it
    resources: dict[str, dict[str, str]] | None = None  # that the present attempt has; None of one that never ran
    ready: bool = False  # by the readiness probe, where there is one
    started: bool = False  # past the startup probe
    in_machine: bool = False  # the machine still knows `id`

    @property
    def id(self) -> str:
        """The name of the present attempt in the machine."""
        return f"{self.name}.{self.attempt}"

    @property
    def restart_count(self) -> int:
        return max(self.attempt, 0)

    @property
    def last_run(self) -> Run | None:
        """The newest attempt that ended and isn't the present state."""
        return self.previous if self.phase is not Phase.WAITING else (self.ended or self.previous)

    def start_failed(self, reason: str, message: str, now: float) -> None:
        """The container couldn't be started and nothing of it ran; tried again later."""
        self.waiting_reason, self.waiting_message = reason, message
        following = restarts.following_delay if "Image" in reason else restarts.following_attempt_delay
        self.retry_delay = following(self.retry_delay)
        self.retry_at = now + self.retry_delay

    def running(self, attempt: int, started_at: float, longest_delay: float) -> None:
        """`longest_delay`: seconds that the restart after this run waits at most."""
        if self.ended is not None:
            self.previous, self.ended = self.ended, None
            self.delay = restarts.following_delay(self.delay, longest_delay)
        self.attempt, self.phase, self.started_at = attempt, Phase.RUNNING, started_at
        self.waiting_reason = self.waiting_message = ""
        self.retry_at = self.retry_delay = 0.0
        self.ready = self.started = False
        self.in_machine = True

    def exited(self, run: Run) -> None:
        self.phase, self.ended = Phase.EXITED, run
        self.ready = self.started = False
        ran = run.finished_at - run.started_at if run.started_at is not None else 0.0
        self.delay = restarts.delay_after_run(self.delay, ran)

    def lost(self, now: float) -> None:
        """The machine is gone, and what ran in it."""
        if self.phase is Phase.RUNNING:
            message = "The container could not be located when the pod's machine was started again"
            self.exited(Run(self.id, LOST_CODE, LOST_REASON, message, self.started_at, now))
            self.delay = 0.0
        self.in_machine = False

    def again(self) -> None:
        """To be started once more from nothing, as init containers are in a new machine."""
        if self.phase is Phase.EXITED:
            self.phase, self.previous, self.ended = Phase.WAITING, self.ended, None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ContainerRecord":
        runs = {key: Run(**value[key]) if value[key] else None for key in ("ended", "previous")}
        return cls(**{**value, **runs, "phase": Phase(value["phase"])})


def is_sidecar(container: Container) -> bool:
    """An init container that stays (KEP-753)."""
    return container.restart_policy == "Always"


def all_of(pod: Pod) -> list[Container]:
    return [*pod.spec.init_containers, *pod.spec.containers, *ephemeral_of(pod)]


def ephemeral_of(pod: Pod) -> list[Container]:
    """The containers that were added to the running pod (KEP-277)."""
    return [Container.from_dict(each.to_dict()) for each in pod.spec.ephemeral_containers]


def is_ephemeral(pod: Pod, name: str) -> bool:
    return any(each.name == name for each in pod.spec.ephemeral_containers)


def run_of(status: ContainerStatus, now: float) -> Run:
    """How an exited container ended, in the API's words."""
    code = status.exit_code if status.exit_code is not None else LOST_CODE
    if status.oom_killed:
        reason = "OOMKilled"
    elif status.message:
        reason = START_ERROR
    else:
        reason = "Completed" if code == 0 else "Error"
    return Run(
        status.id, code, reason, status.message or status.last_words, status.started_at, status.finished_at or now
    )


def attempt_of(container_id: str) -> tuple[str, int] | None:
    """(name, attempt) of an id that `ContainerRecord.id` made; None for any other."""
    name, dot, attempt = container_id.rpartition(".")
    return (name, int(attempt)) if dot and attempt.isdecimal() else None


def is_of(records: Mapping[str, ContainerRecord], container_id: str) -> bool:
    """Whether a guest may speak of it: the present attempt of a container, the one before, or one just begun."""
    parsed = attempt_of(container_id)
    record = records.get(parsed[0]) if parsed else None
    return parsed is not None and record is not None and abs(parsed[1] - record.attempt) <= 1


def reconcile(
    records: dict[str, ContainerRecord], found: Iterable[ContainerStatus], now: float, longest_delay: float
) -> None:
    """Brings the records up to what the machine says after adoption: what was started or ended while nobody looked."""
    present: set[str] = set()
    for status in found:
        parsed = attempt_of(status.id)
        record = records.get(parsed[0]) if parsed else None
        if parsed is None or record is None or parsed[1] < record.attempt:
            continue
        if status.state is ContainerState.CREATED:
            continue
        present.add(record.name)
        fresh = parsed[1] > record.attempt or record.phase is Phase.WAITING
        if fresh:
            record.running(parsed[1], status.started_at or now, longest_delay)
        if status.state is ContainerState.EXITED and record.phase is Phase.RUNNING:
            record.exited(run_of(status, now))
    for record in records.values():
        if record.phase is Phase.RUNNING and record.name not in present:
            record.lost(now)
