"""The node is about to be switched off: pods end in the order of their priority, each within its grace period.

As upstream's graceful node shutdown (https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/): first
all ordinary pods at once, then the critical ones. Meanwhile the node isn't ready, so nobody sends others.
"""

import asyncio
from collections.abc import Callable

import structlog

from hypernetes.nodeagent.podcontainers import Ended
from hypernetes.nodeagent.podworker import PodWorker

log = structlog.get_logger()

CRITICAL_PRIORITY = 2_000_000_000  # of system-cluster-critical; upstream's bound
MOST_GRACE_SECONDS = 120.0  # of each wave, whatever its pods ask for
SPARE_SECONDS = 10.0  # for a pod's machine and port to go, beyond its grace period
MESSAGE = "Pod was terminated in response to imminent node shutdown."


def waves(workers: list[PodWorker]) -> list[list[PodWorker]]:
    """Who ends together; the first ones first."""
    critical = [each for each in workers if (each.pod.spec.priority or 0) >= CRITICAL_PRIORITY]
    ordinary = [each for each in workers if each not in critical]
    return [wave for wave in (ordinary, critical) if wave]


class NodeShutdown:
    """`begin` is for a signal's handler."""

    def __init__(self, workers: Callable[[], list[PodWorker]]) -> None:
        self._workers = workers
        self._begun = asyncio.Event()
        self.over = asyncio.Event()

    @property
    def problem(self) -> str:
        """Why the node isn't ready, "" while it isn't shut down."""
        return "node is shutting down" if self._begun.is_set() else ""

    def begin(self) -> None:
        self._begun.set()

    async def run(self) -> None:
        """Until all pods that ran have ended, or had their time."""
        await self._begun.wait()
        for wave in waves([worker for worker in self._workers() if worker.can_end]):
            log.info("node.shutdown.wave", pods=len(wave))
            for worker in wave:
                worker.end(Ended("Terminated", MESSAGE, disruption=True, most_grace=MOST_GRACE_SECONDS))
            await asyncio.gather(*(self._wait(worker) for worker in wave))
        log.info("node.shutdown.over")
        self.over.set()

    async def _wait(self, worker: PodWorker) -> None:
        try:
            async with asyncio.timeout(worker.grace + SPARE_SECONDS):
                await worker.given_back.wait()
        except TimeoutError:
            log.warning("node.shutdown.late", pod=worker.record.uid)
