"""Stopping containers: preStop hook, signal, grace period, kill.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog

from hypernetes.api.models.core_v1 import Container, Pod
from hypernetes.nodeagent import actions
from hypernetes.nodeagent.containers import all_of, is_sidecar
from hypernetes.nodeagent.runtime.base import MachineError

log = structlog.get_logger()

# A preStop hook that used up the grace period leaves the container this long for its signal.
MIN_SIGNAL_SECONDS = 2.0
# A killed process is gone at once; longer means that the guest doesn't answer.
KILL_SECONDS = 5.0


async def stop_pod(
    pod: Pod,
    running: Iterable[str],
    grace: float,
    stop: Callable[[Container, float], Coroutine[Any, Any, None]],
) -> None:
    """All running containers within `grace` seconds: the main ones together, then sidecars, last to first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    alive = set(running)
    sidecars = [each for each in pod.spec.init_containers if is_sidecar(each) and each.name in alive]
    others = [each for each in all_of(pod) if each.name in alive and each not in sidecars]
    async with asyncio.TaskGroup() as tasks:
        for container in others:
            tasks.create_task(stop(container, grace))
    for container in reversed(sidecars):
        await stop(container, max(deadline - loop.time(), 0.0))


async def stop_container(
    target: actions.Target, number: int, grace: float, wait_exit: Callable[[], Awaitable[None]]
) -> str | None:
    """One container within `grace` seconds; what went wrong with its hook, if anything.

    `wait_exit` returns when the container has ended.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    complaint = None
    container = target.container
    hook = container.lifecycle.pre_stop if container.lifecycle else None
    if hook is not None and grace > 0:
        outcome = await actions.act(target, hook, grace)
        if not outcome.ok:
            complaint = f"PreStopHook failed: {outcome.message}"
    left = max(deadline - loop.time(), MIN_SIGNAL_SECONDS if grace > 0 else 0.0)
    try:
        if left > 0:
            await target.machine.signal_container(target.container_id, number)
            if await _within(left, wait_exit):
                return complaint
        await target.machine.signal_container(target.container_id, signal.SIGKILL)
        await _within(KILL_SECONDS, wait_exit)
    except MachineError as error:
        # The machine is powered off next, which ends the container for certain.
        log.info("container.stop.failed", container=target.container_id, error=error.message)
    return complaint


async def _within(seconds: float, wait: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wait()
    except TimeoutError:
        return False
    return True
