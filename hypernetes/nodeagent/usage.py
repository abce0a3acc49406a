"""What this node's pods use: CPU and memory of each container, by samples of what their machines say.

CPU is the difference of two counters: a container has a value from its second sample on, and a pod from when all of its
running containers have one. Machines are their tenants': what one says is taken for nothing but its own pod's use.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from hypernetes.api import times
from hypernetes.nodeagent.containers import ContainerRecord, Phase
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.runtime.base import ContainerUsage, Machine, MachineError

log = structlog.get_logger()

SAMPLE_SECONDS = 15.0
_ANSWER_SECONDS = 5.0  # for one machine
_AT_ONCE = 32  # machines asked side by side
_MAX = 1 << 53  # of any number that is told; beyond it JSON's readers lose digits


@dataclass(frozen=True, slots=True)
class Rate:
    nanocores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PodUsage:
    tenant: str
    namespace: str
    name: str
    uid: str
    timestamp: str
    window: float  # seconds, ending at the timestamp
    containers: Mapping[str, Rate]

    def told(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant, "namespace": self.namespace, "name": self.name, "uid": self.uid,
            "timestamp": self.timestamp, "window": self.window,
            "containers": {name: _told(rate) for name, rate in self.containers.items()},
        }  # fmt: skip


class Worker(Protocol):
    """What is asked of a pod's worker."""

    record: PodRecord
    machine: Machine | None


# Of the node itself: (seconds of CPU used since its start, bytes of memory in use).
Meter = Callable[[], tuple[float, int]]


def read_meter() -> tuple[float, int]:
    """Of this machine. Raises OSError."""
    # proc_stat(5): user nice system idle iowait irq softirq steal, in hundredths of a second
    user, nice, system, _, _, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    memory = {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
    return (user + nice + system + sum(others)) / 100, memory["MemTotal"] - memory["MemAvailable"]


def rates(
    before: Mapping[str, ContainerUsage], now: Mapping[str, ContainerUsage], records: Mapping[str, ContainerRecord],
    seconds: float,
) -> dict[str, Rate] | None:  # fmt: skip
    """By container's name, of those that run; None while one of them has no value."""
    running = {record.name: record.id for record in records.values() if record.phase is Phase.RUNNING}
    if not running or seconds <= 0:
        return None
    result = {}
    for name, id_ in running.items():
        if id_ not in before or id_ not in now:
            return None
        result[name] = _rate(before[id_].cpu_seconds, now[id_].cpu_seconds, seconds, now[id_].memory_bytes)
    return result


def _rate(before: float, now: float, seconds: float, memory_bytes: int) -> Rate:
    """A counter that goes back is none: a guest may say anything."""
    return Rate(min(int(max(now - before, 0.0) / seconds * 1e9), _MAX), min(memory_bytes, _MAX))


def _told(rate: Rate) -> dict[str, int]:
    return {"cpu": rate.nanocores, "memory": rate.memory_bytes}


class Sampler:
    """`meter` None: a node without a machine of its own, which uses what its pods use."""

    def __init__(self, workers: Callable[[], list[Any]], meter: Meter | None) -> None:
        self._workers: Callable[[], list[Worker]] = workers
        self._meter = meter
        self._counters: dict[str, tuple[float, Mapping[str, ContainerUsage]]] = {}  # by the pod's UID
        self._pods: dict[str, PodUsage] = {}
        self._node_counter: tuple[float, float] | None = None
        self._node: dict[str, Any] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self) -> None:
        at_once = asyncio.Semaphore(_AT_ONCE)
        workers = self._workers()
        asked = {each.record.uid: each.machine for each in workers if each.machine is not None}
        self._counters = {uid: counter for uid, counter in self._counters.items() if uid in asked}
        self._pods = {uid: usage for uid, usage in self._pods.items() if uid in asked}

        async def ask(worker: Worker, machine: Machine) -> None:
            async with at_once:
                await self._ask(worker, machine)

        async with asyncio.TaskGroup() as tasks:
            for worker in workers:
                if worker.machine is not None:
                    tasks.create_task(ask(worker, worker.machine))
        self._measure_node()

    async def _ask(self, worker: Worker, machine: Machine) -> None:
        record = worker.record
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                usage = await machine.usage()
        except (MachineError, TimeoutError) as error:
            log.debug("pod.usage.unknown", pod=record.uid, error=str(error))
            self._counters.pop(record.uid, None)
            self._pods.pop(record.uid, None)
            return
        before = self._counters.get(record.uid)
        moment = asyncio.get_running_loop().time()
        self._counters[record.uid] = (moment, usage.containers)
        if before is None:
            return
        window = moment - before[0]
        found = rates(before[1], usage.containers, record.containers, window)
        if found is None:
            self._pods.pop(record.uid, None)
            return
        now = times.format_micro_time(times.now())
        self._pods[record.uid] = PodUsage(record.tenant, record.namespace, record.name, record.uid, now, window, found)

    def _measure_node(self) -> None:
        now, moment = times.format_micro_time(times.now()), asyncio.get_running_loop().time()
        if self._meter is None:
            every = [rate for pod in self._pods.values() for rate in pod.containers.values()]
            total = Rate(sum(each.nanocores for each in every), sum(each.memory_bytes for each in every))
            self._node = {"timestamp": now, "window": SAMPLE_SECONDS, **_told(total)}
            return
        try:
            cpu_seconds, memory = self._meter()
        except OSError as error:
            log.warning("node.usage.unknown", error=str(error))
            return
        before, self._node_counter = self._node_counter, (moment, cpu_seconds)
        if before is not None and (window := moment - before[0]) > 0:
            rate = _rate(before[1], cpu_seconds, window, memory)
            self._node = {"timestamp": now, "window": window, **_told(rate)}

    def counters(self, pod_uid: str) -> Mapping[str, ContainerUsage]:
        """What a pod's containers have used since they began, as its machine told last, by their ids."""
        _, counters = self._counters.get(pod_uid, (0.0, {}))
        return {
            id_: ContainerUsage(min(usage.cpu_seconds, float(_MAX)), min(usage.memory_bytes, _MAX))
            for id_, usage in counters.items()
        }

    def metered(self) -> tuple[float, int] | None:
        """The node's own counters now; None where it can't be measured, or has no machine of its own."""
        try:
            return None if self._meter is None else self._meter()
        except OSError as error:
            log.warning("node.usage.unknown", error=str(error))
            return None

    def told(self) -> dict[str, Any]:
        """For hn-apiserver: CPU in billionths of a core, memory in bytes; `node` is null until it is known."""
        return {"node": self._node, "pods": [pod.told() for pod in self._pods.values()]}
