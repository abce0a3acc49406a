"""A runtime without machines, for unit and scale tests; it keeps the promises of tests/integration/runtime/suite.py.

Containers run what `PROGRAMS` has: small coroutines under the names of real commands. A `FakeHost` is what outlives
an agent: open another `FakeRuntime` on it and adopt.
"""

import asyncio
import itertools
import os
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypernetes.nodeagent.runtime.base import (
    ByteStream,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ContainerUsage,
    Event,
    Exited,
    GuestConfig,
    GuestServices,
    MachineError,
    MachineGone,
    MachineSpec,
    MachineUsage,
    NfsVolume,
    Output,
    VolumeDisk,
)

PIPE_BYTES = 65536
_pids = itertools.count(1_000_000)


class Pipe:
    """Bytes one way, bounded; a ByteStream whose ends are the same object."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        while not self._pieces:
            if self._closed:
                return b""
            await self._wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        self._changed.set()
        return piece

    async def write(self, data: bytes) -> None:
        while self._size >= PIPE_BYTES and not self._closed:
            await self._wait()
        if self._closed:
            raise MachineError("StreamClosed", "the stream is closed")
        self._pieces.append(data)
        self._size += len(data)
        self._changed.set()

    def end(self) -> None:
        self._closed = True
        self._changed.set()

    async def close_write(self) -> None:
        self.end()

    async def close(self) -> None:
        self.end()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Answering:
    """A connection to a server that has said all it will."""

    def __init__(self, answer: Pipe) -> None:
        self._answer = answer

    async def read(self) -> bytes:
        return await self._answer.read()

    async def write(self, data: bytes) -> None:
        """It isn't read."""

    async def close_write(self) -> None:
        return

    async def close(self) -> None:
        return


class AttachedInput:
    """A container's input as an attached client has it, whose end is the input's only where the container says so."""

    def __init__(self, pipe: Pipe, *, once: bool) -> None:
        self.read, self.write = pipe.read, pipe.write
        self._pipe, self._once = pipe, once

    async def close_write(self) -> None:
        if self._once:
            await self._pipe.close_write()

    async def close(self) -> None:
        await self.close_write()


@dataclass(slots=True)
class Load:
    """What a program uses, from its start on."""

    cores: float = 0.0
    memory_bytes: int = 0


@dataclass
class Context:
    """What a program is given: its arguments, input, output and the files it sees."""

    argv: Sequence[str]
    stdin: Pipe
    write: Callable[[bytes], Awaitable[None]]
    files: Mapping[str, bytes]
    listening: asyncio.Event  # from when on the pod's ports answer, each with HTTP 200
    load: Load = field(default_factory=Load)  # for the program to set


async def _echo(context: Context) -> int:
    await context.write(" ".join(context.argv[1:]).encode() + b"\n")
    return 0


async def _cat(context: Context) -> int:
    for path in context.argv[1:]:
        if path not in context.files:
            return 1
        await context.write(context.files[path])
    while len(context.argv) == 1 and (data := await context.stdin.read()):
        await context.write(data)
    return 0


async def _sleep(context: Context) -> int:
    await asyncio.sleep(float(context.argv[1]))
    return 0


async def _true(context: Context) -> int:
    return 0


async def _false(context: Context) -> int:
    return 1


Program = Callable[[Context], Awaitable[int]]

PROGRAMS: dict[str, Program] = {
    "cat": _cat,
    "echo": _echo,
    "false": _false,
    "sleep": _sleep,
    "true": _true,
}


def known(argv: Sequence[str]) -> Program:
    """Raises MachineError for a command that isn't one of PROGRAMS."""
    program = PROGRAMS.get(argv[0].rpartition("/")[2])
    if program is None:
        raise MachineError("NoSuchCommand", f"the image has no command {argv[0]}")
    return program


class FakeProcess:
    """A running program, and an attached client's view of it."""

    def __init__(self, stdin: ByteStream, result: "asyncio.Future[int]", failure: MachineError | None = None) -> None:
        self.stdin = stdin
        self.printed = Pipe()
        self.sizes: list[tuple[int, int]] = []
        self._result = result
        self._failure = failure

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        if self._failure is None:
            while data := await self.printed.read():
                yield "stdout", data

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def signal(self, number: int) -> None:
        if not self._result.done():
            self._result.set_result(128 + number)

    async def wait(self) -> int:
        if self._failure is not None:
            raise self._failure
        return await asyncio.shield(self._result)


@dataclass
class FakeContainer:
    spec: ContainerSpec
    status: ContainerStatus
    stdin: Pipe
    result: "asyncio.Future[int]"
    load: Load = field(default_factory=Load)
    attached: list[FakeProcess] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None


class FakeGuest:
    """What lives in the machine: containers, volumes, and events until they are acknowledged."""

    def __init__(self, spec: MachineSpec, programs: Callable[[Sequence[str]], Program] = known) -> None:
        self.spec, self.programs = spec, programs
        self.listening = asyncio.Event()
        self.pid = next(_pids)
        self.boot_id = str(uuid.uuid4())
        self.config: GuestConfig | None = None
        self.disks: dict[str, Path] = {}
        self.sizes: dict[str, int] = {}  # of volumes that have grown
        self.volumes: dict[str, dict[str, bytes]] = {}
        self.services: tuple[bytes, dict[str, bytes], bytes] | None = None
        self.containers: dict[str, FakeContainer] = {}
        self.events: list[tuple[int, Event]] = []
        self.sequence = 0
        self.gone: MachineGone | None = None
        self.changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, make: Callable[[int], Event]) -> None:
        self.sequence += 1
        self.events.append((self.sequence, make(self.sequence)))
        self.changed.set()

    def end(self, gone: MachineGone) -> None:
        if self.gone is None:
            self.gone = gone
            for task in self._tasks:
                task.cancel()
            self.changed.set()

    def files_of(self, spec: ContainerSpec) -> dict[str, bytes]:
        files = dict(spec.files)
        for mount in spec.mounts:
            for path, content in self.volumes.get(mount.source, {}).items():
                files[f"{mount.target.rstrip('/')}/{path}"] = content
        return files

    def spawn(
        self, program: Callable[[Context], Awaitable[int]], context: Context, result: "asyncio.Future[int]"
    ) -> "asyncio.Task[None]":
        """Runs it until it ends or `result` is set by a signal; whoever shuts the machine down cancels it."""

        async def run() -> None:
            running = asyncio.ensure_future(program(context))
            try:
                await asyncio.wait({running, result}, return_when=asyncio.FIRST_COMPLETED)
                if not result.done():
                    result.set_result(await running)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class FakeMachine:
    def __init__(self, host: "FakeHost", guest: FakeGuest, services: GuestServices) -> None:
        self.id, self.pid, self.boot_id = guest.spec.id, guest.pid, guest.boot_id
        self.services_idle = False
        self.uid = os.getuid()
        self.guest = guest
        self.services = services
        self._host = host
        self._seen = 0

    async def configure(self, config: GuestConfig) -> None:
        self._alive().config = config

    async def attach_disk(self, disk_id: str, path: Path, *, read_only: bool, volume: str | None = None) -> None:
        guest = self._alive()
        if disk_id in guest.disks:
            raise MachineError("DiskExists", f"the machine has a disk {disk_id} already")
        guest.disks[disk_id] = path
        if volume is not None:
            guest.volumes[volume] = {}

    async def detach_disk(self, disk_id: str) -> None:
        self._alive().disks.pop(disk_id, None)

    async def attach_volume(self, disk: VolumeDisk) -> None:
        guest = self._alive()
        guest.disks[disk.name] = disk.socket
        guest.volumes.setdefault(disk.name, {})

    async def detach_volume(self, name: str) -> None:
        guest = self._alive()
        guest.disks.pop(name, None)
        guest.volumes.pop(name, None)

    async def grow_volume(self, name: str, size_bytes: int) -> None:
        if name not in self._alive().disks:
            raise MachineError("DiskMissing", f"the machine has no volume {name}")
        self._alive().sizes[name] = size_bytes

    async def mount_nfs(self, volume: NfsVolume) -> None:
        self._alive().volumes.setdefault(volume.name, {})

    async def make_volume(
        self, name: str, *, memory: bool = False, size_bytes: int | None = None, fs_group: int | None = None,
        image_disk: str | None = None,
    ) -> None:  # fmt: skip
        self._alive().volumes.setdefault(name, {})

    async def write_volume(
        self, name: str, files: Mapping[str, tuple[bytes, int]], *, fs_group: int | None = None
    ) -> None:
        self._alive().volumes[name] = {path: content for path, (content, _) in files.items()}

    async def read_file(self, volume: str, path: str, limit: int) -> bytes:
        content = self._alive().volumes.get(volume, {}).get(path)
        if content is None:
            raise MachineError("NoSuchFile", f"the file {path} in volume {volume} can't be read")
        if len(content) > limit:
            raise MachineError("FileTooLarge", f"the file {path} in volume {volume} has more than {limit} bytes")
        return content

    async def set_services(
        self,
        haproxy: bytes,
        maps: Mapping[str, bytes],
        nftables: bytes | None,
        commands: Sequence[str] | None = None,
    ) -> None:
        before = self._alive().services
        kept = before[2] if nftables is None and before is not None else nftables or b""
        self._alive().services = (haproxy, dict(maps), kept)

    async def start_container(self, spec: ContainerSpec) -> None:
        guest = self._alive()
        if spec.id in guest.containers:
            raise MachineError("ContainerExists", f"the machine has a container {spec.id} already")
        if spec.image_disk not in guest.disks:
            raise MachineError("MountFailed", f"the machine has no disk {spec.image_disk}")
        program = guest.programs(spec.argv)
        status = ContainerStatus(spec.id, ContainerState.RUNNING, started_at=time.time())
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        made = FakeContainer(spec, status, Pipe(), result)
        if not spec.stdin:
            await made.stdin.close_write()
        guest.containers[spec.id] = made

        async def write(data: bytes) -> None:
            guest.record(lambda number: Output(spec.id, "stdout", time.time(), data, number))
            for client in made.attached:
                await client.printed.write(data)

        context = Context(spec.argv, made.stdin, write, guest.files_of(spec), guest.listening, made.load)
        made.task = guest.spawn(program, context, result)
        made.task.add_done_callback(lambda _: self._exited(made))

    def _exited(self, container: FakeContainer) -> None:
        if not container.result.done():
            return  # the machine ended under it
        container.status = ContainerStatus(
            container.spec.id,
            ContainerState.EXITED,
            started_at=container.status.started_at,
            finished_at=time.time(),
            exit_code=container.result.result(),
        )
        self.guest.record(lambda _: Exited(container.status))
        for client in container.attached:
            client.printed.end()

    async def measure(self, *, volume: str | None = None, container_id: str | None = None) -> int:
        return sum(map(len, self._alive().volumes.get(volume or "", {}).values()))

    async def limit(self, container_id: str | None, memory_bytes: int | None, cpu_millis: int | None) -> None:
        if container_id is not None:
            self._running(container_id)
        else:
            self.pod_limits = (memory_bytes, cpu_millis)

    async def throttle(self, cpu_millis: int | None) -> None:
        self.throttled_millis = cpu_millis

    async def signal_container(self, container_id: str, number: int) -> None:
        container = self._alive().containers.get(container_id)
        if container is not None and not container.result.done():
            container.result.set_result(128 + number)

    async def remove_container(self, container_id: str) -> None:
        container = self._alive().containers.get(container_id)
        if container is not None and container.status.state is not ContainerState.EXITED:
            raise MachineError("ContainerRunning", f"the container {container_id} has not exited")
        self.guest.containers.pop(container_id, None)

    def _running(self, container_id: str) -> FakeContainer:
        container = self._alive().containers.get(container_id)
        if container is None or container.status.state is not ContainerState.RUNNING:
            raise MachineError("ContainerGone", f"the container {container_id} doesn't run")
        return container

    async def attach(self, container_id: str) -> FakeProcess:
        container = self._running(container_id)
        client = FakeProcess(AttachedInput(container.stdin, once=container.spec.stdin_once), container.result)
        container.attached.append(client)
        return client

    async def exec(
        self, container_id: str, argv: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> FakeProcess:
        container = self._running(container_id)
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        pipe = Pipe()
        if not stdin:
            await pipe.close_write()
        try:
            program = self.guest.programs(argv)
        except MachineError as error:
            return FakeProcess(pipe, result, error)
        process = FakeProcess(pipe, result)
        context = Context(argv, pipe, process.printed.write, self.guest.files_of(container.spec), self.guest.listening)
        self.guest.spawn(program, context, result).add_done_callback(lambda _: process.printed.end())
        return process

    async def forward(self, port: int, address: str = "127.0.0.1") -> ByteStream:
        if not self._alive().listening.is_set():
            raise MachineError("ConnectFailed", "Connection refused")
        answer = Pipe()
        await answer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer.end()
        return Answering(answer)

    async def containers(self) -> list[ContainerStatus]:
        return [container.status for container in self._alive().containers.values()]

    async def events(self) -> AsyncIterator[Event]:
        guest = self.guest
        while True:
            fresh = [(number, event) for number, event in guest.events if number > self._seen]
            for number, event in fresh:
                self._seen = number
                yield event
            if not fresh and guest.gone is not None:
                yield guest.gone
                return
            if not fresh:
                guest.changed.clear()
                await guest.changed.wait()

    async def acknowledge(self, sequence: int) -> None:
        self.guest.events = [one for one in self.guest.events if one[0] > sequence]

    async def usage(self) -> MachineUsage:
        running = [each for each in self._alive().containers.values() if each.status.state is ContainerState.RUNNING]
        now = time.time()
        used = {
            each.spec.id: ContainerUsage(
                each.load.cores * (now - (each.status.started_at or now)), each.load.memory_bytes
            )
            for each in running
        }
        return MachineUsage((32 << 20) + sum(each.memory_bytes for each in used.values()), used)

    async def shutdown(self, timeout: float) -> None:
        self.guest.end(MachineGone("Shutdown", "the machine was shut down"))
        await self.guest.stop()
        self._host.guests.pop(self.id, None)

    def _alive(self) -> FakeGuest:
        if self.guest.gone is not None:
            raise MachineError("LinkLost", "the machine is gone")
        return self.guest


class FakeHost:
    """The machines of a node, whichever agent is there. `programs` says what an argv does in them."""

    def __init__(self, programs: Callable[[Sequence[str]], Program] = known) -> None:
        self.programs = programs
        self.guests: dict[str, FakeGuest] = {}


class FakeRuntime:
    """`fail_next` is raised by the next `create`."""

    def __init__(self, host: FakeHost | None = None) -> None:
        self.host = host or FakeHost()
        self.fail_next: MachineError | None = None

    async def prepare(self, memory_bytes: int, cpus: int) -> None:
        """There is nothing that a fake machine starts from."""

    async def create(self, spec: MachineSpec, services: GuestServices) -> FakeMachine:
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        if spec.id in self.host.guests:
            raise MachineError("BadMachine", f"the machine id {spec.id!r} is in use")
        guest = self.host.guests[spec.id] = FakeGuest(spec, self.host.programs)
        return FakeMachine(self.host, guest, services)

    async def adopt(self, services: Mapping[str, GuestServices]) -> Mapping[str, FakeMachine]:
        adopted = {}
        for name, guest in list(self.host.guests.items()):
            if name in services and guest.gone is None:
                adopted[name] = FakeMachine(self.host, guest, services[name])
            else:
                guest.end(MachineGone("Shutdown", "nobody wants the machine"))
                await guest.stop()
                del self.host.guests[name]
        return adopted

    async def version(self) -> str:
        return "fake://1"

    async def close(self) -> None:
        """Machines are the host's."""
