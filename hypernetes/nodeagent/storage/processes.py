"""The storage processes of a node: started, found again by the next agent, started again when they crash.

DIRECTORY/<pod uid>/<name>.json   the record: what is open, for whom, by which process
RUN/<pod uid>/<name>.nbd          for the pod's QEMU alone · <name>.qmp for hn-agent · <name>.pid

While a process is away the pod's QEMU tries to connect again and its guest waits; nothing that was acknowledged as
flushed is lost, since a flush is one of the file.
"""

import asyncio
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from hypernetes.api import volumenames
from hypernetes.nodeagent.runtime import uids
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.cgroup import Cgroups, Limits
from hypernetes.nodeagent.runtime.host import to_the_end
from hypernetes.nodeagent.runtime.processes import ProcessId, WatchedProcess
from hypernetes.nodeagent.runtime.qmp import Monitor, QmpError
from hypernetes.nodeagent.storage import daemon
from hypernetes.providers.volume.base import BlockSource, Handle, NodeVolumes, Owner, Refused, Unavailable, VolumeError

log = structlog.get_logger()

LIMITS = Limits(memory_bytes=512 << 20, cpus=2, pids=256)
FIRST_RESTART_SECONDS = 0.1
MAX_RESTART_SECONDS = 10.0
# One that ran for so long is no process that can't run.
SETTLED_SECONDS = 30.0
CONNECT_SECONDS = 20.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Key:
    """A volume of a pod, by its name in the pod's spec."""

    pod_uid: str
    volume: str

    @property
    def name(self) -> str:
        """Short: a unix socket's path has 108 bytes."""
        return hashlib.sha256(self.volume.encode()).hexdigest()[:12]


@dataclass(slots=True)
class Opened:
    """What a storage process has open, and for whom."""

    pod_uid: str
    volume: str  # its name in the pod
    driver: str
    owner: Owner
    handle: str
    metadata: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    user: int | None = None  # the uid of the pod's QEMU, once it is known
    process: ProcessId | None = None

    @property
    def key(self) -> Key:
        return Key(self.pod_uid, self.volume)

    @property
    def source(self) -> tuple[str, Handle]:
        return self.driver, Handle(self.owner, self.handle)

    @property
    def unique_name(self) -> str:
        return volumenames.unique(self.owner.tenant, self.driver, self.handle)

    @classmethod
    def from_dict(cls, value: dict[str, object]) -> "Opened":
        owner, process = value.pop("owner"), value.pop("process")
        return cls(
            owner=Owner(**owner),  # type: ignore[arg-type]
            process=ProcessId(**process) if process else None,  # type: ignore[arg-type]
            **value,  # type: ignore[arg-type]
        )


class StorageProcesses:
    """`run` supervises, from before `adopt` or after it; the other methods may be called once that is through."""

    def __init__(
        self,
        directory: Path,
        run_directory: Path,
        cluster_id: str,
        cgroups: Cgroups,
        drivers: Mapping[str, NodeVolumes],
    ) -> None:
        self._directory, self._run_directory = directory, run_directory / "volumes"
        self._uids, self._cluster_id, self._cgroups = run_directory / "uids", cluster_id, cgroups
        self._drivers = drivers
        self._opened: dict[Key, Opened] = {}
        self._watches: dict[Key, asyncio.Task[None]] = {}
        self._locks: dict[Key, asyncio.Lock] = {}
        self._monitors: dict[Key, Monitor] = {}
        self._frozen: Counter[str] = Counter()  # how many copies are being made of a NodeVolume, by its UID
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled; the processes stay."""
        async with asyncio.TaskGroup() as self._group:
            for key in self._opened:
                self._watch(key)
            try:
                await asyncio.Event().wait()
            finally:
                for key in list(self._monitors):
                    self._drop_monitor(key)

    async def adopt(self) -> None:
        """Finds what an earlier agent opened. Processes that it didn't note are ended."""
        self._opened = {opened.key: opened for opened in await asyncio.to_thread(lambda: list(self._load()))}
        await asyncio.to_thread(self._end_unknown)
        for opened in self._opened.values():
            if opened.process is not None and opened.process.alive():
                _signal(opened.process, signal.SIGCONT)  # an agent may have died while it held writes up
                if not await self._exports(opened.key):
                    await to_the_end(functools.partial(self._end, opened))  # and it is started again
        for key in self._opened:
            self._watch(key)

    def opened(self, pod_uid: str | None = None) -> list[Opened]:
        return [each for each in self._opened.values() if pod_uid in (None, each.pod_uid)]

    def in_use(self, uid: str) -> bool:
        """Whether a NodeVolume is open."""
        return any(each.metadata.get("uid") == uid for each in self._opened.values())

    def socket(self, key: Key) -> Path:
        return self._path(key, ".nbd")

    async def open(self, wanted: Opened) -> None:
        """A process that exports the volume; idempotent. Raises VolumeError; Unavailable where another pod has it."""
        key = wanted.key
        async with self._lock(key):
            present = self._opened.get(key)
            if present is not None and present.source == wanted.source:
                if _runs(present):
                    return
            elif present is not None:
                raise Unavailable("InUse", f"the pod's volume {key.volume} is another one already")
            self._demand_alone(wanted)
            self._demand_thawed(wanted)
            self._opened[key] = wanted
            try:
                await self._start(wanted)
            except BaseException:
                await self._close(key)
                raise
            self._watch(key)

    async def grant(self, key: Key, user: int) -> None:
        """Lets the pod's QEMU, which runs under that uid, use the socket. Raises OSError."""
        async with self._lock(key):
            opened = self._opened[key]
            opened.user = user
            await asyncio.to_thread(self._save, opened)
            await asyncio.to_thread(os.chown, self.socket(key), user, user)

    async def size(self, key: Key) -> int:
        """What is exported, in bytes. Raises VolumeError."""
        async with self._lock(key):
            opened = self._opened.get(key)
            if opened is not None:
                self._demand_thawed(opened)
            try:
                nodes = await (await self._monitor(key)).run("query-named-block-nodes", {"flat": True})
                return next(int(node["image"]["virtual-size"]) for node in nodes if node["node-name"] == daemon.TOP)
            except (QmpError, KeyError, TypeError, ValueError, StopIteration) as error:
                self._drop_monitor(key)
                raise Unavailable("StorageProcess", f"the volume's size can't be learned: {error}") from error

    async def resize(self, key: Key, size_bytes: int) -> None:
        """Exports the size that the volume has grown to. Raises VolumeError."""
        async with self._lock(key):
            opened = self._opened.get(key)
            if opened is None:
                raise Unavailable("Closed", f"the volume {key.volume} is not open")
            self._demand_thawed(opened)
            try:
                monitor = await self._monitor(key)
                await monitor.run(*daemon.CUTTING_OFF)
                await monitor.wait_event("BLOCK_EXPORT_DELETED", id=daemon.EXPORT)
                for command, arguments in daemon.resizing(size_bytes, read_only=opened.read_only):
                    await monitor.run(command, arguments)
            except QmpError as error:
                if opened.process is not None:
                    _signal(opened.process, signal.SIGKILL)  # it may export nothing now: it is started anew
                raise Unavailable("StorageProcess", f"the volume can't be grown: {error.message}") from error

    async def close(self, key: Key) -> None:
        """Ends the process and gives back what it had. Idempotent. Raises VolumeError, OSError."""
        async with self._lock(key):
            await self._close(key)
        self._locks.pop(key, None)

    @contextlib.asynccontextmanager
    async def frozen(self, uid: str) -> AsyncIterator[None]:
        """While this lasts no process writes that NodeVolume: what is in the file then is as after a power cut. One
        that would begin to (a pod's start, or after a crash) is refused meanwhile. Raises Unavailable."""
        self._frozen[uid] += 1
        try:
            for key in [each.key for each in self._writers(uid)]:
                async with self._lock(key):  # what was begun before is through
                    opened = self._opened.get(key)
                    if opened is not None and opened.process is not None:
                        _signal(opened.process, signal.SIGSTOP)
                        await asyncio.to_thread(_wait_stopped, opened.process)
            yield
        finally:
            self._frozen[uid] -= 1
            if not self._frozen[uid]:
                del self._frozen[uid]
                for opened in self._writers(uid):
                    if opened.process is not None:
                        _signal(opened.process, signal.SIGCONT)

    # Within

    def _lock(self, key: Key) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _path(self, key: Key, suffix: str) -> Path:
        return self._run_directory / key.pod_uid / f"{key.name}{suffix}"

    def _name(self, key: Key) -> str:
        return f"volume-{key.pod_uid}-{key.name}"

    def _writers(self, uid: str) -> list[Opened]:
        return [each for each in self._opened.values() if each.metadata.get("uid") == uid and not each.read_only]

    def _demand_thawed(self, opened: Opened) -> None:
        if not opened.read_only and opened.metadata.get("uid") in self._frozen:
            raise Unavailable("BeingCopied", f"the volume {opened.volume} is being copied; it waits until that is done")

    def _demand_alone(self, wanted: Opened) -> None:
        """A file system in two machines at once is lost: one has it, or all only read."""
        for other in self._opened.values():
            if other.source != wanted.source or other.key == wanted.key:
                continue
            if not (other.read_only and wanted.read_only):
                raise Unavailable(
                    "InUse", f"the volume is in use by another pod of this node ({other.pod_uid}); it waits for its end"
                )

    async def _start(self, opened: Opened) -> None:
        key = opened.key
        self._demand_thawed(opened)
        provider = self._drivers.get(opened.driver)
        if provider is None:
            raise Refused("NoDriver", f"this node has no driver {opened.driver}")
        source = await provider.open(opened.source[1], opened.metadata, read_only=opened.read_only)
        self._drop_monitor(key)
        try:
            fds = await to_the_end(lambda: self._spawn(opened, source))
        except OSError as error:
            raise Unavailable("StorageProcess", f"the storage process can't be started: {error.strerror}") from error
        try:
            monitor = await self._monitor(key)
            for command, arguments in daemon.opening(source, opened.metadata, fds, read_only=opened.read_only):
                await monitor.run(command, arguments)
            await provider.opened(opened.source[1], opened.metadata, read_only=opened.read_only)
            for command, arguments in daemon.exporting(read_only=opened.read_only):
                await monitor.run(command, arguments)
        except (QmpError, VolumeError) as error:
            await to_the_end(lambda: self._end(opened))
            if isinstance(error, VolumeError):
                raise
            raise Unavailable("StorageProcess", f"the volume can't be opened: {error.message}") from error
        log.info("storage.opened", pod=opened.pod_uid, volume=opened.volume, handle=opened.handle)

    def _spawn(self, opened: Opened, source: BlockSource) -> dict[Path, int]:
        """Starts the process; returns the descriptors that it inherited of the source's paths. Blocks."""
        key = opened.key
        self._end(opened)
        uid = uids.claim(self._uids, self._cluster_id, self._name(key))
        directory = self._path(key, "").parent
        self._run_directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        directory.mkdir(mode=0o711, exist_ok=True)
        mark, own = self._path(key, ".pid"), self._directory / key.pod_uid
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            fds: dict[Path, int] = {}
            for path in source.paths:
                os.chown(path, uid, uid)
                fds[path] = os.open(path, (os.O_RDONLY if opened.read_only else os.O_RDWR) | os.O_CLOEXEC)
                stack.callback(os.close, fds[path])
                _lock(fds[path], exclusive=not opened.read_only)
            nbd = stack.enter_context(_listening(self._path(key, ".nbd"), opened.user or 0))
            monitor = stack.enter_context(_listening(self._path(key, ".qmp"), 0))
            mark.unlink(missing_ok=True)
            mark.touch(mode=0o600)
            os.chown(mark, uid, uid)
            output = stack.enter_context((own / f"{key.name}.log").open("ab"))
            argv = daemon.command_line(mark, uid, nbd.fileno(), monitor.fileno(), network=source.needs_network)
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True,
                pass_fds=[*fds.values(), nbd.fileno(), monitor.fileno()],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **source.environment},
            )  # fmt: skip
            process.returncode = 0  # awaited by a pidfd, in this agent or the next
            try:
                opened.process = ProcessId.of(process.pid)
            except ProcessLookupError as error:
                raise OSError(0, "it ended at once") from error
            self._cgroups.add(self._name(key), LIMITS, process.pid)
            self._save(opened)
        return fds

    async def _close(self, key: Key) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        self._drop_monitor(key)
        opened = self._opened.get(key)
        if opened is None:
            return
        await to_the_end(lambda: self._clear(opened))
        provider = self._drivers.get(opened.driver)
        if provider is not None:
            await provider.close(opened.source[1], opened.metadata)
        await asyncio.to_thread(self._forget, opened)
        self._opened.pop(key, None)
        log.info("storage.closed", pod=opened.pod_uid, volume=opened.volume, handle=opened.handle)

    def _watch(self, key: Key) -> None:
        if self._group is not None and key not in self._watches:
            self._watches[key] = self._group.create_task(self._keep(key), name=f"storage {key.pod_uid} {key.volume}")

    async def _keep(self, key: Key) -> None:
        """Starts the process again when it ends, for as long as the volume is open."""
        loop = asyncio.get_running_loop()
        delay = FIRST_RESTART_SECONDS
        while True:
            began = loop.time()
            opened = self._opened[key]
            try:
                if opened.process is None:
                    raise ProcessLookupError
                watched = WatchedProcess(opened.process)
            except ProcessLookupError:
                watched = None
            if watched is not None:
                try:
                    await watched.wait()
                finally:
                    watched.close()
            if loop.time() - began > SETTLED_SECONDS:
                delay = FIRST_RESTART_SECONDS
            log.warning("storage.process.ended", pod=key.pod_uid, volume=key.volume, again_in_seconds=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_RESTART_SECONDS)
            async with self._lock(key):
                if _runs(opened):
                    continue
                try:
                    await self._start(opened)
                except (VolumeError, OSError, MachineError) as error:
                    log.error("storage.restart.failed", pod=key.pod_uid, volume=key.volume, error=str(error))

    async def _exports(self, key: Key) -> bool:
        """Whether its process has been told all that it must know: the last thing is the export."""
        try:
            return bool(await (await self._monitor(key)).run("query-block-exports"))
        except QmpError as error:
            log.warning("storage.process.silent", pod=key.pod_uid, volume=key.volume, error=error.message)
            return False

    async def _monitor(self, key: Key) -> Monitor:
        known = self._monitors.get(key)
        if known is None:
            known = self._monitors[key] = await Monitor.connect(self._path(key, ".qmp"), CONNECT_SECONDS)
        return known

    def _drop_monitor(self, key: Key) -> None:
        known = self._monitors.pop(key, None)
        if known is not None:
            known.close()

    def _clear(self, opened: Opened) -> None:
        self._end(opened)
        uids.release(self._uids, self._name(opened.key))
        for suffix in (".nbd", ".qmp", ".pid"):
            self._path(opened.key, suffix).unlink(missing_ok=True)
        _remove_if_empty(self._path(opened.key, "").parent)

    def _end(self, opened: Opened) -> None:
        """Its process is no more, and its group is gone."""
        if opened.process is not None and opened.process.alive():
            _kill(opened.process)
        opened.process = None
        self._cgroups.remove(self._name(opened.key))

    def _end_unknown(self) -> None:
        known = {each.process.pid for each in self._opened.values() if each.process is not None and _runs(each)}
        commands = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    commands[int(entry.name)] = (entry / "cmdline").read_bytes()
        for pid, mark in daemon.marks(commands, self._run_directory):
            if pid not in known:
                log.warning("storage.process.unknown", pid=pid, mark=str(mark))
                with contextlib.suppress(ProcessLookupError):
                    _kill(ProcessId.of(pid))

    def _load(self) -> Iterator[Opened]:
        for path in sorted(self._directory.glob("*/*.json")):
            try:
                yield Opened.from_dict(json.loads(path.read_text()))
            except (ValueError, TypeError, KeyError) as error:
                log.error("storage.record.unreadable", path=str(path), error=str(error))

    def _save(self, opened: Opened) -> None:
        path = self._directory / opened.pod_uid / f"{opened.key.name}.json"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("w") as file:
            json.dump(asdict(opened), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def _forget(self, opened: Opened) -> None:
        directory = self._directory / opened.pod_uid
        for suffix in (".json", ".log", ".partial"):
            (directory / f"{opened.key.name}{suffix}").unlink(missing_ok=True)
        _remove_if_empty(directory)


@contextlib.contextmanager
def _listening(path: Path, user: int) -> Iterator[socket.socket]:
    """A socket that only `user` (and root) can connect to."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        os.chown(path, user, user)
        listener.listen(4)
        yield listener


def _lock(fd: int, *, exclusive: bool) -> None:
    """The process inherits the lock and holds it until its end. (QEMU's own locks let NBD exports share an image.)
    Raises Unavailable."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Unavailable("InUse", "the volume is in use by another machine of this node") from error


def _runs(opened: Opened) -> bool:
    return opened.process is not None and opened.process.alive()


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError, OSError):
        directory.rmdir()


def _signal(process: ProcessId, number: int) -> None:
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.alive():
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def _kill(process: ProcessId) -> None:
    """Ends a process and waits for it, child or not."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        select.select([fd], [], [], STOP_SECONDS)
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return
    finally:
        os.close(fd)


def _wait_stopped(process: ProcessId) -> None:
    """Until all threads have stopped: one that is in a system call ends it first. Raises Unavailable."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            states = [
                (entry / "stat").read_text().rpartition(")")[2].split()[0]
                for entry in Path(f"/proc/{process.pid}/task").iterdir()
            ]
        except (FileNotFoundError, ProcessLookupError):
            return
        if all(state in "TtZX" for state in states):
            return
        time.sleep(0.001)
    raise Unavailable("Busy", "the volume's writes can't be stopped for a moment")
