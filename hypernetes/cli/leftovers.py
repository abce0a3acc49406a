"""What a cluster has on the host beside its processes: machines, their control groups, networks.

Machines and networks outlive the processes on purpose. `hn down` takes them away, by what the kernel says is there and
not by what some file remembers: it works after any crash.
"""

import asyncio
import os
import select
import shutil
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypernetes.cli.layout import Cluster, Layout
from hypernetes.providers.loading import load
from hypernetes.providers.network.base import NetworkProvider
from hypernetes.providers.network.local import machinenodes

PROCESS_STOP_SECONDS = 10.0
NETWORK_SECONDS = 60.0
_SCRIPTS = frozenset({"hn-apiserver", "hn-scheduler", "hn-controllers", "hn-agent"})
_NAME_WORDS = 2
_STORAGE = "qemu-storage-daemon"
_PROC = Path("/proc")
_RUN = Path("/run/hypernetes")  # where machines have their sockets
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP_DEPTH = 4  # controller (version 1), parent, ours, its children


@dataclass(frozen=True, slots=True)
class HostProcess:
    pid: int
    argv: tuple[str, ...]


def processes_of(layout: Layout, cluster: Cluster, processes: Collection[HostProcess]) -> list[HostProcess]:
    """The cluster's own processes, by the DIR in their command lines, its machines, by the id in their names, and the
    storage processes of their volumes, by their pid files."""
    return [
        process
        for process in processes
        if _is_program(layout, process.argv) or _is_machine(cluster, process.argv) or _is_storage(cluster, process.argv)
    ]


def storage_processes(cluster: Cluster, processes: Collection[HostProcess]) -> list[HostProcess]:
    return [process for process in processes if _is_storage(cluster, process.argv)]


def _is_storage(cluster: Cluster, argv: tuple[str, ...]) -> bool:
    """`… qemu-storage-daemon --pidfile /run/hypernetes/hn<cluster id>/volumes/… …`"""
    below = f"{_RUN}/hn{cluster.id}/volumes/"
    return _STORAGE in {Path(word).name for word in argv} and any(word.startswith(below) for word in argv)


def machines(cluster: Cluster, processes: Collection[HostProcess]) -> list[HostProcess]:
    return [process for process in processes if _is_machine(cluster, process.argv)]


def _is_machine(cluster: Cluster, argv: tuple[str, ...]) -> bool:
    """`qemu-system-x86_64 -name hn<cluster id>-<machine id> …`"""
    return (
        len(argv) > _NAME_WORDS
        and Path(argv[0]).name.startswith("qemu-system-")
        and argv[1] == "-name"
        and argv[2].startswith(f"hn{cluster.id}-")
    )


def _is_program(layout: Layout, argv: tuple[str, ...]) -> bool:
    """One of our scripts, which its interpreter runs: the name is the first or the second word."""
    below = f"{layout.root}/"
    return any(Path(word).name in _SCRIPTS for word in argv[:2]) and any(
        below in word or word == str(layout.root) for word in argv
    )


def running_processes() -> Iterator[HostProcess]:
    """All processes of the machine that can be read."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            yield HostProcess(int(entry.name), tuple(word.decode(errors="replace") for word in words[:-1]))


def stop_processes(found: Collection[HostProcess]) -> None:
    """SIGTERM, then SIGKILL for what is still there. Blocks until all have ended."""
    pids = [process.pid for process in found]
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = send_and_wait(pids, number, PROCESS_STOP_SECONDS)


def send_and_wait(pids: Collection[int], number: signal.Signals, seconds: float) -> list[int]:
    """Signals processes and waits for their end; returns those that live on. A pid taken anew meanwhile is safe."""
    poll, alive = select.poll(), {}
    try:
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
                alive[descriptor] = pid
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                continue
            poll.register(descriptor, select.POLLIN)  # readable once the process has ended
        deadline = time.monotonic() + seconds
        waiting = set(alive)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                poll.unregister(descriptor)
                waiting.discard(descriptor)
        return [alive[descriptor] for descriptor in waiting]
    finally:
        for descriptor in alive:
            os.close(descriptor)


async def remove_networks(layout: Layout, cluster: Cluster) -> None:
    """Every node's ports and routers, and with the last node the host's own rules. Raises NetworkError."""
    named, separator, file = cluster.network_provider.partition("=")
    nodes = layout.root / "nodes"
    names = sorted(path.name for path in nodes.iterdir()) if nodes.is_dir() else []
    for name in names:
        provider: NetworkProvider = load("network", named)(
            cluster_id=cluster.id, node_name=name, state_dir=layout.node(name),
            configuration=Path(file) if separator else None,
        )  # fmt: skip
        async with asyncio.timeout(NETWORK_SECONDS):
            await provider.close(remove=True)
    await asyncio.to_thread(machinenodes.remove, cluster.id)


def remove_sockets(cluster: Cluster, base: Path = _RUN) -> None:
    """The sockets of the cluster's machines."""
    path = base / f"hn{cluster.id}"
    if path.exists():
        shutil.rmtree(path)


def remove_cgroups(cluster: Cluster, base: Path = _CGROUPS) -> None:
    """The control groups of the cluster's machines, deepest first. One that still has a process in it stays."""
    for path in sorted(cgroups_of(cluster.id, base), key=lambda path: len(path.parts), reverse=True):
        try:
            path.rmdir()
        except OSError:
            continue


def cgroups_of(cluster_id: str, base: Path = _CGROUPS) -> list[Path]:
    """All groups named after the cluster, and those inside them."""
    found: list[Path] = []
    names = (f"hn-{cluster_id}", f"hn{cluster_id}", f"hn_{cluster_id}")
    for directory, children, _ in os.walk(base):
        path = Path(directory)
        depth = len(path.relative_to(base).parts)
        inside = any(part.startswith(names) for part in path.relative_to(base).parts)
        if inside:
            found.append(path)
        if depth >= _CGROUP_DEPTH and not inside:
            children.clear()
    return found
