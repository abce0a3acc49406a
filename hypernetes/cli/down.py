"""`hn down`: stops a cluster and takes away all it has on the host; DIR stays, and `hn up` continues from it."""

import asyncio
import os
import signal

from hypernetes.cli import leftovers, lock
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.progress import Report, waiting_for
from hypernetes.providers.network.base import NetworkError

SUPERVISOR_SECONDS = 90.0  # all processes one after the other, each with its own deadline


async def down(layout: Layout, report: Report) -> None:
    """Idempotent: works on a cluster that runs, that crashed, or that was stopped before. Raises CommandError."""
    if os.geteuid() != 0:
        raise CommandError("hn down must run as root, since it stops virtual machines; try it with sudo")
    cluster = layout.load()
    await _stop_supervisor(layout, report)
    try:
        with lock.held(layout.lock):  # nobody starts it again while we take it away
            await remove_all(layout, cluster, report)
    except lock.AlreadyRunning as running:
        raise CommandError(f"another hn (process {running.pid}) has just started the cluster again") from None


async def remove_all(layout: Layout, cluster: Cluster, report: Report) -> None:
    """Machines, networks, control groups, and processes that lost their supervisor. Under the lock."""
    found = leftovers.processes_of(layout, cluster, list(leftovers.running_processes()))
    found = [process for process in found if process.pid != os.getpid()]
    async with waiting_for(f"{len(found)} processes to end", report):
        await asyncio.to_thread(leftovers.stop_processes, found)
    try:
        async with waiting_for("networks to be removed", report):
            await leftovers.remove_networks(layout, cluster)
    except (NetworkError, TimeoutError) as error:
        raise CommandError(f"the pods are stopped, but their networks can't be removed: {error}") from error
    leftovers.remove_cgroups(cluster)
    leftovers.remove_sockets(cluster)
    for path in layout.run.glob("*.pid"):
        path.unlink(missing_ok=True)


async def _stop_supervisor(layout: Layout, report: Report) -> None:
    pid = lock.holder(layout.lock)
    if pid is None:
        return
    if pid == 0:
        raise CommandError("another hn is just starting or stopping this cluster; try again in a moment")
    async with waiting_for("processes to end", report):
        left = await asyncio.to_thread(leftovers.send_and_wait, [pid], signal.SIGTERM, SUPERVISOR_SECONDS)
        # One that hangs is killed. The kernel tells its processes, and the caller sweeps them.
        await asyncio.to_thread(leftovers.send_and_wait, left, signal.SIGKILL, SUPERVISOR_SECONDS)
