"""`hn status`: whether the cluster runs, and what of it."""

from collections.abc import Collection

from hypernetes.cli import leftovers, lock
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.leftovers import HostProcess
from hypernetes.cli.tables import table


def is_up(layout: Layout) -> bool:
    return lock.holder(layout.lock) is not None


def describe(layout: Layout) -> str:
    """Raises CommandError where no cluster lives there, or none runs."""
    cluster = layout.load()
    pid = lock.holder(layout.lock)
    if pid is None:
        raise CommandError(f"the cluster in {layout.root} does not run; `hn up --dir {layout.root}` starts it")
    found = list(leftovers.running_processes())
    machines = leftovers.machines(cluster, found)
    rows = [("hn up", str(pid)), *programs(layout, cluster, found)]
    summary = f"cluster {cluster.id} at {cluster.server}, {len(machines)} virtual machines"
    return f"{summary}\n{table(('PROCESS', 'PID'), rows)}"


def programs(layout: Layout, cluster: Cluster, found: Collection[HostProcess]) -> list[tuple[str, str]]:
    """Name and pid of each process that should run; a dash for one that doesn't at the moment."""
    alive = {process.pid for process in leftovers.processes_of(layout, cluster, found)}
    rows = []
    for path in sorted(layout.run.glob("*.pid")):
        text = path.read_text().strip()
        rows.append((path.stem, text if text.isdecimal() and int(text) in alive else "-"))
    return rows
