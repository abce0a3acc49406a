"""What hn-agent asks of a machine runtime.

A machine is one pod's VM. It outlives hn-agent: `Runtime.adopt` finds the machines that run, and a machine keeps its
containers' output and exit states until they are acknowledged. A fake that passes the same suite
(`tests/integration/runtime/suite.py`) serves unit and scale tests.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class MachineError(Exception):
    """A machine or something in it can't be had. `reason` is a stable CamelCase word (`BootFailed`, `NoSuchCommand`,
    `OutOfMemory`, `DiskFull`, `LinkLost`), `message` is for the pod's owner and says what to do next."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Nic:
    tap_fd: int  # an open tap queue; the runtime passes it on and the caller closes it
    mac_address: str


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What a machine is made of. `id` is the pod's UID, also the name of its state directory."""

    id: str
    memory_bytes: int  # the guest's memory, rounded up to a class by the caller
    cpus: int
    nic: Nic | None
    scratch_bytes: int  # of the disk that holds writable layers, emptyDirs and spooled output
    label: str = ""  # for people: tenant/namespace/name
    # Images that are likely to be attached, by disk id: a clone may start with them in place, which is quicker.
    images: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuestNetwork:
    address: str  # with prefix length: 10.0.0.5/24
    gateway: str
    mtu: int
    service_cidr: str  # routed into the guest's service namespace
    dns_address: str  # in service_cidr; ends at hn-init
    kubernetes_address: str  # in service_cidr; port 443 ends at hn-init


@dataclass(frozen=True, slots=True)
class GuestConfig:
    hostname: str
    network: GuestNetwork | None
    share_process_namespace: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)


class Propagation(StrEnum):
    """Of mounts that containers make in a volume, as the API's mountPropagation."""

    NONE = "None"
    FROM_OTHERS = "HostToContainer"
    BOTH_WAYS = "Bidirectional"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a container. `source` is a volume's name: one of `attach_disk(volume=…)`, `write_volume`,
    `make_volume`, `mount_nfs` or `attach_volume`; with `block` one of the latter's devices."""

    source: str
    target: str
    read_only: bool = False
    sub_path: str = ""
    recursive: bool = False  # read-only with all that is mounted below
    propagation: Propagation = Propagation.NONE
    block: bool = False


@dataclass(frozen=True, slots=True)
class VolumeDisk:
    """A persistent volume, exported by a storage process on a socket that the machine's uid reaches."""

    name: str  # of the volume in the pod
    socket: Path
    export: str
    read_only: bool = False
    block: bool = False  # a device for containers, with nothing mounted
    file_system: str = "ext4"  # made where the volume is blank
    mount_options: Sequence[str] = ()
    group: int | None = None  # that all files are given to
    group_on_root_mismatch: bool = False  # … only where the root isn't the group's yet


@dataclass(frozen=True, slots=True)
class NfsVolume:
    name: str
    source: str  # server:/path
    address: str  # the server's
    read_only: bool = False
    mount_options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    id: str  # unique in the machine: name and attempt, "web.0"
    image_disk: str  # the id given to attach_disk for the image's squashfs
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False  # the first attached client's end is that of the container's input
    read_only_root: bool = False
    privileged: bool = False
    add_capabilities: Sequence[str] = ()
    drop_capabilities: Sequence[str] = ()
    no_new_privileges: bool = False
    unmasked_proc: bool = False
    seccomp: bytes = b""  # a BPF program, as `struct sock_filter[]`
    message_path: str = ""  # where the container leaves its last words
    processes_of: str = ""  # the container whose PID namespace it shares
    mounts: Sequence[Mount] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)  # written into the root before start: /etc/hosts, …
    memory_bytes: int | None = None
    cpu_millis: int | None = None


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    id: str
    state: ContainerState
    started_at: float | None = None  # seconds since the epoch, by the guest's clock
    finished_at: float | None = None
    exit_code: int | None = None  # 128 + n after signal n
    oom_killed: bool = False
    message: str = ""  # why it could not be started
    last_words: str = ""  # what an exited container left at its message_path


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    cpu_seconds: float  # used since it started
    memory_bytes: int  # the working set: without what the kernel could drop at once


@dataclass(frozen=True, slots=True)
class MachineUsage:
    memory_bytes: int  # of the whole guest
    containers: Mapping[str, ContainerUsage]  # by id, of those that run


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a machine takes of its node, as the node measures it."""

    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a container's output, in order per stream. `sequence` is acknowledged once it is on disk."""

    container_id: str
    stream: str  # "stdout" or "stderr"
    time: float  # when hn-init read it, by the guest's clock
    data: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class Exited:
    status: ContainerStatus


@dataclass(frozen=True, slots=True)
class MachineGone:
    """The machine ended: its process is dead or its link is lost for good. The last event of a machine."""

    reason: str
    message: str


Event = Output | Exited | MachineGone


class ByteStream(Protocol):
    """Bytes both ways, flow-controlled."""

    async def read(self) -> bytes:
        """The next bytes; b"" at the end."""

    async def write(self, data: bytes) -> None: ...

    async def close_write(self) -> None: ...

    async def close(self) -> None: ...


class Process(Protocol):
    """A command that runs in a container."""

    @property
    def stdin(self) -> ByteStream: ...

    def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("stdout" | "stderr", data) until both ended; with a tty all is stdout."""

    async def resize(self, columns: int, rows: int) -> None: ...

    async def signal(self, number: int) -> None: ...

    async def wait(self) -> int:
        """The exit code. Raises MachineError where the command couldn't be started (`NoSuchCommand`)."""


class GuestServices(Protocol):
    """What hn-agent answers when the guest asks; a runtime is given one per machine."""

    async def resolve(self, question: bytes, *, udp: bool) -> bytes:
        """The answer to a DNS message in wire form (at most 64 KiB; by UDP, what the question allows)."""

    async def connect(self, address: str, port: int) -> ByteStream:
        """A connection from the guest to the `kubernetes` address. Raises OSError."""


class Machine(Protocol):
    id: str
    pid: int  # of the hypervisor
    boot_id: str
    uid: int  # under which the hypervisor runs
    services_idle: bool  # `services.IDLE` is in force, as in the template that the machine is a clone of

    async def configure(self, config: GuestConfig) -> None:
        """Identity and network of the guest; sets its clock and reseeds its random pool. Once, before containers."""

    async def attach_disk(self, disk_id: str, path: Path, *, read_only: bool, volume: str | None = None) -> None:
        """Gives the guest a disk: an image (squashfs) or, with `volume`, a file system to mount under that name."""

    async def detach_disk(self, disk_id: str) -> None: ...

    async def attach_volume(self, disk: VolumeDisk) -> None:
        """Plugs a persistent volume, and makes, checks, grows and mounts its file system. One that is attached already
        is no error. Raises MachineError (`ForeignContent`, `WrongFileSystem`, `FsckFailed`, `MountFailed`)."""

    async def detach_volume(self, name: str) -> None:
        """Unmounts and unplugs it. One that isn't attached is no error. Raises MachineError (`DiskBusy`)."""

    async def grow_volume(self, name: str, size_bytes: int) -> None:
        """The volume's export has grown to this size: the device in the guest and its file system follow."""

    async def mount_nfs(self, volume: NfsVolume) -> None:
        """Raises MachineError (`MountFailed`)."""

    async def make_volume(
        self, name: str, *, memory: bool = False, size_bytes: int | None = None, fs_group: int | None = None,
        image_disk: str | None = None,
    ) -> None:  # fmt: skip
        """An empty directory for the pod's life: on the scratch disk, or in memory. `fs_group` owns what is made in
        it. With `image_disk`, what is on that disk instead, read-only."""

    async def write_volume(
        self, name: str, files: Mapping[str, tuple[bytes, int]], *, fs_group: int | None = None
    ) -> None:
        """Content and mode by relative path, in guest memory; replaces what was there atomically (`..data` link).
        `fs_group` owns the files and may read them whatever their mode."""

    async def read_file(self, volume: str, path: str, limit: int) -> bytes:
        """A regular file of a volume. Raises MachineError (`NoSuchFile`; `FileTooLarge` beyond `limit` bytes)."""

    async def set_services(
        self,
        haproxy: bytes,
        maps: Mapping[str, bytes],
        nftables: bytes | None,
        commands: Sequence[str] | None = None,
    ) -> None:
        """The service tables of this pod, in force when the call returns. Before the first call nothing answers.

        `nftables` None: as they are. `commands` are lines of HAProxy's runtime API that lead from what is in force to
        this configuration; without, and where they fail, HAProxy loads it anew."""

    async def start_container(self, spec: ContainerSpec) -> None:
        """Returns when the command runs. Raises MachineError (`NoSuchCommand`, `NotExecutable`)."""

    async def measure(self, *, volume: str | None = None, container_id: str | None = None) -> int:
        """The bytes on disk of a volume, or of a container's writable layer; 0 for what isn't there."""

    async def limit(self, container_id: str | None, memory_bytes: int | None, cpu_millis: int | None) -> None:
        """New limits of a running container, or of all of the pod's together (None). A limit of None is none."""

    async def throttle(self, cpu_millis: int | None) -> None:
        """What the host lets the machine as a whole use of its CPUs (None: all). Until then it may use all."""

    async def signal_container(self, container_id: str, number: int) -> None:
        """A signal to the container's first process; one that is gone is no error."""

    async def remove_container(self, container_id: str) -> None:
        """Frees an exited container's writable layer and forgets its state."""

    async def attach(self, container_id: str) -> Process:
        """The standard streams of a running container."""

    async def exec(
        self, container_id: str, argv: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> Process: ...

    async def forward(self, port: int, address: str = "127.0.0.1") -> ByteStream:
        """A TCP connection made inside the guest, to an address of the pod. Raises MachineError."""

    async def containers(self) -> list[ContainerStatus]:
        """What runs and what exited and is not removed; the truth after adoption."""

    def events(self) -> AsyncIterator[Event]:
        """Output and exits, from the first unacknowledged on; one consumer. Ends after MachineGone."""

    async def acknowledge(self, sequence: int) -> None:
        """Output up to `sequence` is on disk: the guest may forget it."""

    async def usage(self) -> MachineUsage:
        """What the guest and its running containers use, as the guest says."""

    async def shutdown(self, timeout: float) -> None:
        """Powers off, by force after `timeout` seconds, and removes all the machine's state. Idempotent."""


class Runtime(Protocol):
    async def prepare(self, memory_bytes: int, cpus: int) -> None:
        """Makes ready what machines of this size start from, so that the first of them needn't wait for it. That it
        can't be had is no error: machines then start without."""

    async def create(self, spec: MachineSpec, services: GuestServices) -> Machine:
        """Boots a machine until hn-init answers. Raises MachineError; leaves nothing behind then."""

    async def adopt(self, services: Mapping[str, GuestServices]) -> Mapping[str, Machine]:
        """Machines that run already, by id, reconnected; those not in `services` are shut down and removed."""

    async def version(self) -> str:
        """For node status: `qemu://7.2.22`."""

    async def close(self) -> None:
        """Lets go of all machines without stopping them."""
