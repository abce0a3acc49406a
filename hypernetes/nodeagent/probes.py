"""Liveness, readiness and startup probes: when they run and what their results mean.

`ProbeState` decides, from results alone; `run` is the loop around it. What a probe does is in `actions`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from hypernetes.api.models.core_v1 import Container, Probe
from hypernetes.nodeagent.actions import Outcome

_PERIOD_SECONDS = 10
_TIMEOUT_SECONDS = 1
_FAILURES = 3


class Kind(StrEnum):
    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


@dataclass(slots=True)
class ProbeState:
    """Consecutive results of one probe. `result` is None until a threshold is reached."""

    success_threshold: int
    failure_threshold: int
    result: bool | None = None
    _successes: int = 0
    _failures: int = 0

    @classmethod
    def of(cls, probe: Probe) -> "ProbeState":
        return cls(probe.success_threshold or 1, probe.failure_threshold or _FAILURES)

    def take(self, ok: bool) -> bool:
        """Takes a result in; whether `result` has changed by it."""
        before = self.result
        self._successes = self._successes + 1 if ok else 0
        self._failures = 0 if ok else self._failures + 1
        if self._successes >= self.success_threshold:
            self.result = True
        elif self._failures >= self.failure_threshold:
            self.result = False
        return self.result is not before


def period(probe: Probe) -> int:
    return probe.period_seconds or _PERIOD_SECONDS


def timeout(probe: Probe) -> int:
    return probe.timeout_seconds or _TIMEOUT_SECONDS


Prober = Callable[[Probe], Awaitable[Outcome]]
Report = Callable[[Kind, bool], None]
Complain = Callable[[Kind, str], None]


async def run(container: Container, probe: Prober, report: Report, complain: Complain) -> None:
    """All probes of one running container, until cancelled or, after liveness or startup has failed, at its end.

    `report` is told each change: startup and readiness either way, liveness only its failure. Without a readiness
    probe a container is ready as soon as it has started; the other two wait for the startup probe.
    """
    if container.startup_probe is not None:
        started = await _watch(Kind.STARTUP, container.startup_probe, probe, report, complain)
        if not started:
            return
    else:
        report(Kind.STARTUP, True)
    async with asyncio.TaskGroup() as tasks:
        if container.readiness_probe is not None:
            tasks.create_task(_watch(Kind.READINESS, container.readiness_probe, probe, report, complain))
        else:
            report(Kind.READINESS, True)
        if container.liveness_probe is not None:
            tasks.create_task(_watch(Kind.LIVENESS, container.liveness_probe, probe, report, complain))


async def _watch(kind: Kind, spec: Probe, probe: Prober, report: Report, complain: Complain) -> bool:
    """Runs one probe: startup until it has a result, liveness until it fails, readiness for ever."""
    state = ProbeState.of(spec)
    await asyncio.sleep(spec.initial_delay_seconds or 0)
    while True:
        outcome = await probe(spec)
        if not outcome.ok:
            complain(kind, outcome.message)
        if state.take(outcome.ok):
            if kind is not Kind.LIVENESS or not state.result:
                report(kind, bool(state.result))
            if kind is Kind.STARTUP or (kind is Kind.LIVENESS and not state.result):
                return bool(state.result)
        await asyncio.sleep(period(spec))
