"""Control groups of machines, v2 or v1: what bounds a QEMU on the host.

A machine's own cgroup also keeps it apart from the agent's: whoever stops the agent's service doesn't stop machines.
"""

import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "pids")
PIDS_MAX = 64  # QEMU idles with 3 threads; its I/O pool grows
CPU_PERIOD_MICROSECONDS = 100_000
REMOVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    memory_bytes: int
    cpus: float
    pids: int = PIDS_MAX


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where controllers are mounted: one place for all in v2, one each in v1."""

    unified: Path | None
    controllers: Mapping[str, Path]

    def directories(self, group: str) -> list[Path]:
        roots = [self.unified] if self.unified is not None else list(dict.fromkeys(self.controllers.values()))
        return [root / group for root in roots]


def find_hierarchy(mounts: str, unified_controllers: Mapping[str, str]) -> Hierarchy:
    """From /proc/self/mounts and the contents of cgroup.controllers by v2 mount point. A v2 tree without controllers,
    as hybrid machines have, counts for nothing."""
    controllers: dict[str, Path] = {}
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup2" and set(CONTROLLERS) <= set(unified_controllers.get(target, "").split()):
            return Hierarchy(Path(target), {})
        if kind == "cgroup":
            for name in set(CONTROLLERS) & set(options.split(",")):
                controllers[name] = Path(target)
    return Hierarchy(None, {name: controllers[name] for name in CONTROLLERS if name in controllers})


def settings(limits: Limits, *, unified: bool) -> dict[str, dict[str, str]]:
    """File → value, by controller."""
    quota = str(round(limits.cpus * CPU_PERIOD_MICROSECONDS))
    if unified:
        return {
            "memory": {"memory.max": str(limits.memory_bytes)},
            "cpu": {"cpu.max": f"{quota} {CPU_PERIOD_MICROSECONDS}"},
            "pids": {"pids.max": str(limits.pids)},
        }
    return {
        "memory": {"memory.limit_in_bytes": str(limits.memory_bytes)},
        "cpu": {"cpu.cfs_period_us": str(CPU_PERIOD_MICROSECONDS), "cpu.cfs_quota_us": quota},
        "pids": {"pids.max": str(limits.pids)},
    }


def host_hierarchy() -> Hierarchy:
    mounts = Path("/proc/self/mounts").read_text()
    unified = {
        line.split(" ")[1]: (Path(line.split(" ")[1]) / "cgroup.controllers").read_text()
        for line in mounts.splitlines()
        if line.split(" ")[2] == "cgroup2"
    }
    return find_hierarchy(mounts, unified)


class Cgroups:
    """The machines' groups below one parent, which carries the cluster's id."""

    def __init__(self, hierarchy: Hierarchy, parent: str) -> None:
        self._hierarchy = hierarchy
        self._parent = parent

    def add(self, name: str, limits: Limits, pid: int) -> None:
        """Makes the group and moves the process there. Raises OSError."""
        unified = self._hierarchy.unified is not None
        files = settings(limits, unified=unified)
        if unified:
            for directory in self._hierarchy.directories(self._parent):
                directory.mkdir(exist_ok=True)
                for level in (directory.parent, directory):
                    (level / "cgroup.subtree_control").write_text("".join(f"+{name} " for name in CONTROLLERS))
        for directory in self._hierarchy.directories(f"{self._parent}/{name}"):
            directory.mkdir(parents=True, exist_ok=True)
        for controller, values in files.items():
            root = self._hierarchy.unified or self._hierarchy.controllers.get(controller)
            if root is not None:
                for file, value in values.items():
                    (root / self._parent / name / file).write_text(value)
        for directory in self._hierarchy.directories(f"{self._parent}/{name}"):
            (directory / "cgroup.procs").write_text(str(pid))

    def set_cpus(self, name: str, cpus: float | None) -> None:
        """Another share of processors for a group that is there; None: no limit. Raises OSError."""
        unified = self._hierarchy.unified is not None
        root = self._hierarchy.unified or self._hierarchy.controllers.get("cpu")
        if root is None:
            return
        group = root / self._parent / name
        quota = None if cpus is None else round(cpus * CPU_PERIOD_MICROSECONDS)
        if unified:
            (group / "cpu.max").write_text(f"{'max' if quota is None else quota} {CPU_PERIOD_MICROSECONDS}")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))

    def remove(self, name: str) -> None:
        """Removes the group of a process that ended, and the parent with its last. Call it in a thread: the kernel
        empties a group a moment after its process ended. Raises OSError if that doesn't happen."""
        for directory in self._hierarchy.directories(f"{self._parent}/{name}"):
            deadline = time.monotonic() + REMOVE_SECONDS
            while not _remove_group(directory, give_up=time.monotonic() > deadline):
                time.sleep(0.005)
        for directory in self._hierarchy.directories(self._parent):
            _remove_parent(directory)


def _remove_group(directory: Path, *, give_up: bool) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY or give_up:
            raise
        return False
    return True


def _remove_parent(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        # Another machine's group is still, or again, in it.
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
            raise
