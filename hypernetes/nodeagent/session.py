"""A pod's running machine as its worker sees it: output goes to the logs, exits go to the records."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from hypernetes.nodeagent.logs import PodLogs
from hypernetes.nodeagent.runtime.base import ContainerStatus, Exited, Machine, MachineError, MachineGone, Output

log = structlog.get_logger()

# Output is acknowledged together, so that a chatty container costs few messages: after this time, or when it is this
# much, a part of what the guest may have under way (protocol.SPOOL_WINDOW).
ACKNOWLEDGE_SECONDS = 0.2
ACKNOWLEDGE_BYTES = 256 * 1024


class Session:
    """Takes a machine's events in. `gone` is set at the last one."""

    def __init__(
        self,
        machine: Machine,
        logs: PodLogs,
        on_exit: Callable[[ContainerStatus], None],
        is_known: Callable[[str], bool],
    ) -> None:
        """`is_known`: whether the pod has such an attempt; a guest's word on any other is nothing."""
        self.machine, self._logs, self._on_exit, self._is_known = machine, logs, on_exit, is_known
        self._warned = False  # of output of what the pod has not
        self.gone: MachineGone | None = None
        self.ended = asyncio.Event()
        self._written = 0
        self._unacknowledged = asyncio.Event()
        self._waiting_bytes = 0
        self._much = asyncio.Event()

    async def run(self) -> None:
        """Until the machine's last event, or cancelled."""
        acknowledging = asyncio.create_task(self._acknowledge())
        try:
            async for event in self.machine.events():
                match event:
                    case Output():
                        self._take(event)
                    case Exited():
                        self._logs.finish(event.status.id)
                        self._on_exit(event.status)
                    case MachineGone():
                        self.gone = event
        except MachineError as error:
            self.gone = MachineGone(error.reason, error.message)
        finally:
            acknowledging.cancel()
            if self.gone is not None:
                self.ended.set()

    def _take(self, output: Output) -> None:
        try:
            if self._is_known(output.container_id):
                self._logs.write(output)
            elif not self._warned:
                self._warned = True
                log.warning("log.of.nobody", machine=self.machine.id, container=output.container_id[:64])
        except OSError as error:
            # A full disk must not stop the containers: their output is dropped until there is room again.
            log.warning("log.write.failed", container=output.container_id, error=str(error))
        self._written = max(self._written, output.sequence)
        self._unacknowledged.set()
        self._waiting_bytes += len(output.data)
        if self._waiting_bytes >= ACKNOWLEDGE_BYTES:
            self._much.set()

    async def _acknowledge(self) -> None:
        while True:
            await self._unacknowledged.wait()
            self._unacknowledged.clear()
            self._much.clear()
            self._waiting_bytes = 0
            try:
                await self.machine.acknowledge(self._written)
            except MachineError as error:
                log.debug("acknowledge.failed", machine=self.machine.id, error=error.message)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                    await self._much.wait()
