"""`hn up`: in front it is the supervisor; with --detach it starts one in the background and waits until it is up.

The two talk over a pipe: lines for the user, and READY as the last word of a start that worked. A parent that is
interrupted stops its child, so nothing is left half-started.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from pyroute2.netlink.exceptions import NetlinkError

from hypernetes.cli import leftovers, lock, preflight
from hypernetes.cli.down import remove_all
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.processes import limit_log
from hypernetes.cli.programs import Options
from hypernetes.cli.progress import Report
from hypernetes.cli.supervisor import Supervisor
from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.network.local import machinenodes

READY = "\x04ready"  # the control character keeps it apart from what is for the user
SUPERVISOR_LOG = "hn-up"


@dataclass(frozen=True, slots=True)
class Request:
    """What `hn up` was asked for."""

    layout: Layout
    options: Options
    bind: str
    port: int


class AlreadyUp(CommandError):
    """The cluster runs; nothing was changed."""


def check(request: Request) -> Cluster:
    """The cluster to start, after all that can be known before anything is started. Raises CommandError."""
    found = preflight.problems(preflight.look(request.layout, request.options.guest, request.bind, (request.port,)))
    if found:
        raise CommandError("\n".join(found))
    cluster = request.layout.load_or_create(bind=request.bind, port=request.port)
    kept = tuple(port for port in cluster.agent_ports if preflight.why_taken("127.0.0.1", port) is None)
    ports = preflight.agent_ports(len(request.options.nodes), kept)
    return replace(cluster, agent_ports=ports, network_provider=request.options.network_provider)


def refuse_if_up(layout: Layout) -> None:
    """Raises AlreadyUp. Only root can look at the lock; whoever isn't is told by `check`."""
    if os.geteuid() == 0 and (pid := lock.holder(layout.lock)) is not None:
        raise _already_up(layout, pid)


def _already_up(layout: Layout, pid: int) -> AlreadyUp:
    return AlreadyUp(f"the cluster in {layout.root} runs already (process {pid}); nothing was changed")


def run(request: Request, report: Report) -> None:
    """Runs the cluster in front until a signal, then takes all of it away. Raises CommandError."""
    refuse_if_up(request.layout)
    check(request)
    with _locked(request.layout):
        asyncio.run(_supervise(request, report, lambda: report("running; stop it with Ctrl-C"), detached=False))
    report(f"stopped; {request.layout.root} has everything to continue from")


def run_detached(request: Request, pipe: IO[str]) -> None:
    """The supervisor in the background: tells its parent over `pipe` until the cluster is up."""

    def report(line: str) -> None:
        if not pipe.closed:
            pipe.write(f"{line}\n")
            pipe.flush()

    def ready() -> None:
        report(READY)
        pipe.close()

    try:
        with _locked(request.layout):
            asyncio.run(_supervise(request, report, ready, detached=True))
    except CommandError as error:
        report(f"hn: {error.message}")


def start_detached(request: Request, arguments: Sequence[str], report: Report) -> None:
    """Starts `run_detached` in a session of its own and shows what it says. Raises CommandError.

    `arguments` are those of this `hn up`.
    """
    refuse_if_up(request.layout)
    check(request)
    log_file = request.layout.log(SUPERVISOR_LOG)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    limit_log(log_file)
    reading, writing = os.pipe()
    with log_file.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "hypernetes.cli.main", "up", *arguments, "--report-to", str(writing)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(writing,), start_new_session=True,
        )  # fmt: skip
    os.close(writing)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with open(reading, encoding="utf-8") as lines:
            for line in lines:
                if line.rstrip("\n") == READY:
                    return
                report(line.rstrip("\n"))
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise CommandError("interrupted; what had been started was stopped") from None
    child.wait()
    raise CommandError(f"the cluster did not start; {log_file} may say more")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Whoever ends the command while it waits, ends the start, as Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    try:
        with lock.held(layout.lock):
            yield
    except lock.AlreadyRunning as running:
        raise _already_up(layout, running.pid) from None


async def _supervise(request: Request, report: Report, on_ready: Callable[[], None], *, detached: bool) -> None:
    """One life of a cluster, under the lock. Raises CommandError for a start that failed or was interrupted.

    In front, its machines end with it. Detached they go on: `hn down` takes them away, and a supervisor that was told
    to stop for an upgrade leaves them to the next one. What a failed start made goes away again, but machines that
    ran before it are somebody's pods and stay.
    """
    layout = request.layout
    cluster = check(request)
    layout.save(cluster)
    ran_before = bool(leftovers.machines(cluster, list(leftovers.running_processes())))
    if request.options.has_node_namespaces:
        await _make_node_namespaces(request, cluster)
    supervisor = Supervisor(layout, cluster, request.options, Path(sys.executable).parent, report)
    was_up = False
    try:
        was_up = await supervisor.run(on_ready)
    finally:
        if not (detached if was_up else ran_before):
            await remove_all(layout, cluster, report)
    if not was_up:
        raise CommandError("interrupted; what had been started was stopped")


async def _make_node_namespaces(request: Request, cluster: Cluster) -> None:
    """Raises CommandError."""
    nodes = request.options.nodes
    try:
        await asyncio.to_thread(machinenodes.ensure, cluster.id, nodes)
    except (NetworkError, OSError, NetlinkError) as error:
        raise CommandError(f"the nodes' network namespaces can't be made: {error}") from error
    for node in nodes:
        file = request.layout.node_network(node)
        file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        file.write_text(f"namespace: {machinenodes.namespace(cluster.id, node)}\n")
