"""All processes of a cluster, started in order and kept running until a signal says stop.

certificates ─► hn-apiserver ─► /readyz ─► hn-scheduler, hn-controllers, hn-agent … ─► nodes Ready ─► steady
                                                                                          │
      stop, in the opposite order ◄──────────── SIGTERM, SIGINT, or a failed start ◄──────┘
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from hypernetes.api import times
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.cli import credentials, firstobjects, programs
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.processes import Runner, limit_log
from hypernetes.cli.programs import Options, Program
from hypernetes.cli.progress import Report
from hypernetes.cli.readiness import wait_for_apiserver, wait_for_nodes
from hypernetes.client import REQUEST_ERRORS, Client, ClientConfig

RENEWAL_SECONDS = 30.0  # between two looks at certificates, tenants' service ranges and the size of logs
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.get_logger()


class StopRequested(Exception):
    """A signal asked to stop."""


class Supervisor:
    def __init__(self, layout: Layout, cluster: Cluster, options: Options, bin_dir: Path, report: Report) -> None:
        self._layout, self._cluster, self._options = layout, cluster, options
        self._bin_dir, self._report = bin_dir, report
        self._runners: list[Runner] = []
        self._service_cidrs: frozenset[str] = frozenset()

    async def run(self, on_ready: Callable[[], None]) -> bool:
        """Runs the cluster until a signal; all its processes have ended when this returns.

        Returns whether it was up when it was told to stop. Raises CommandError for a failed start.
        """
        ready = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_stop_on_signal())
                await self._bring_up(group)
                ready = True
                on_ready()
                group.create_task(self._look_after())
        except BaseExceptionGroup as group_of_errors:
            _raise_unless_stopped(group_of_errors)
        finally:
            await self._stop_all()
        return ready

    async def _bring_up(self, group: asyncio.TaskGroup) -> None:
        layout, cluster, options = self._layout, self._cluster, self._options
        credentials.ensure(layout, cluster, options.nodes, times.now())
        await self._start(group, programs.apiserver(self._bin_dir, layout, cluster, options))
        async with Client(ClientConfig.from_kubeconfig(layout.admin_kubeconfig)) as client:
            await wait_for_apiserver(client, self._report)
            self._report(f"API server ready at {cluster.server}")
            await firstobjects.ensure(layout, client)
            for program in programs.others(self._bin_dir, layout, cluster, options):
                await self._start(group, program)
            await wait_for_nodes(client, options.nodes, self._report)
        self._report(f"ready: {', '.join(options.nodes)}")
        for runner in self._runners:
            runner.settle()

    async def _start(self, group: asyncio.TaskGroup, program: Program) -> None:
        runner = Runner(program, self._layout)
        self._runners.append(runner)
        await runner.start()
        group.create_task(runner.keep(), name=program.name)

    async def _look_after(self) -> None:
        """What is due now and then; never ends by itself."""
        async with Client(ClientConfig.from_kubeconfig(self._layout.admin_kubeconfig)) as client:
            while True:
                await self._learn_service_cidrs(client)
                issued = credentials.ensure(
                    self._layout, self._cluster, self._options.nodes, times.now(), self._service_cidrs
                )
                if issued:
                    log.info("certificates issued", roles=issued)
                for runner in self._runners:
                    limit_log(self._layout.log(runner.program.name))
                await asyncio.sleep(RENEWAL_SECONDS)

    async def _learn_service_cidrs(self, client: Client) -> None:
        """Pods reach the API at an address of their tenant's own range: the serving certificate lists them all."""
        try:
            tenants = (await client.list(Tenant, timeout=10.0)).items
        except REQUEST_ERRORS as error:
            log.warning("tenants can't be listed; the serving certificate stays as it is", error=str(error))
            return
        self._service_cidrs = frozenset(t.spec.service_cidr for t in tenants if t.spec.service_cidr is not None)

    async def _stop_all(self) -> None:
        for runner in reversed(self._runners):
            await runner.stop()


def _raise_unless_stopped(errors: BaseExceptionGroup[BaseException]) -> None:
    """One process's failure often brings others with it: the first that has a sentence for the user is told."""
    _, failures = errors.split(StopRequested)
    if failures is None:
        return
    told: BaseException | None = failures.subgroup(CommandError)
    while isinstance(told, BaseExceptionGroup):
        told = told.exceptions[0]
    raise told or failures from None


async def _stop_on_signal() -> None:
    """Raises StopRequested at the first signal, which ends the task group it runs in."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked.set)
    await asked.wait()
    raise StopRequested
