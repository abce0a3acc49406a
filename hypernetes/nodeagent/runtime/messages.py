"""What requests to hn-init are made of, and what its answers mean. Pure."""

import ipaddress
import re
import struct
from collections.abc import Mapping, Sequence

from hypernetes.nodeagent.runtime.base import (
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ContainerUsage,
    GuestConfig,
    MachineError,
    MachineUsage,
    Mount,
    NfsVolume,
    Output,
    Propagation,
    VolumeDisk,
)
from hypernetes.nodeagent.runtime.frames import Fields, MessageBuilder, ProtocolError
from hypernetes.nodeagent.runtime.protocol import Option, Tag

# In the order of linux/capability.h.
CAPABILITIES = tuple(
    """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
    """.split()  # noqa: SIM905 (read as a list of words)
)

# What containers get elsewhere, without MKNOD: no device cgroup would stop a made node from being the pod's disk.
DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)

LAST_WORDS_BYTES = 4096  # as upstream

_PROPAGATION = {
    Propagation.NONE: Option(0),
    Propagation.FROM_OTHERS: Option.FROM_MACHINE,
    Propagation.BOTH_WAYS: Option.FROM_MACHINE | Option.TO_MACHINE,
}
_OUTPUT = struct.Struct("<QQBB")
_CONTAINER = re.compile(rb"[A-Za-z0-9][-A-Za-z0-9._]*")  # becomes part of a file's name
_STATES = {0: ContainerState.CREATED, 1: ContainerState.RUNNING, 2: ContainerState.EXITED}
_STREAMS = {1: "stdout", 2: "stderr"}


def capability_mask(spec: ContainerSpec) -> int:
    """Raises MachineError for a capability Linux doesn't know."""
    kept = capability_names(spec.add_capabilities, spec.drop_capabilities, privileged=spec.privileged)
    return sum(1 << CAPABILITIES.index(name) for name in kept)


def capability_names(add: Sequence[str], drop: Sequence[str], *, privileged: bool = False) -> set[str]:
    """What a container has, by names without `CAP_`. Raises MachineError for one that Linux doesn't know."""

    def numbers(names: Sequence[str]) -> set[str]:
        plain = {name.upper().removeprefix("CAP_") for name in names}
        if "ALL" in plain:
            return set(CAPABILITIES)
        if unknown := plain - set(CAPABILITIES):
            raise MachineError("InvalidCapability", f"Linux has no capability {', '.join(sorted(unknown))}")
        return plain

    base = set(CAPABILITIES) if privileged else set(DEFAULT_CAPABILITIES)
    added, dropped = numbers(add), numbers(drop)
    # As elsewhere: "drop ALL, add X" leaves X.
    return added | (base - dropped) if "ALL" in map(str.upper, drop) else (base | added) - dropped


def container_message(spec: ContainerSpec) -> bytes:
    message = MessageBuilder().text(Tag.NAME, spec.id).text(Tag.IMAGE, spec.image_disk).text(Tag.CWD, spec.cwd or "/")
    for argument in spec.argv:
        message.text(Tag.ARG, argument)
    for name, value in spec.env.items():
        message.text(Tag.ENV, f"{name}={value}")
    message.number(Tag.UID, spec.uid).number(Tag.GID, spec.gid)
    for group in spec.groups:
        message.number(Tag.GROUP, group)
    options = Option(0)
    for wanted, option in (
        (spec.tty, Option.TTY),
        (spec.stdin, Option.STDIN),
        (spec.read_only_root, Option.READ_ONLY),
        (spec.privileged, Option.PRIVILEGED),
        (spec.no_new_privileges, Option.NO_NEW_PRIVILEGES),
        (spec.stdin_once, Option.STDIN_ONCE),
        (spec.unmasked_proc, Option.UNMASKED),
    ):
        options |= option if wanted else Option(0)
    # The container's own options come before any mount: after one they would be the mount's.
    message.number(Tag.OPTIONS, options).number(Tag.CAPABILITIES, capability_mask(spec))
    if spec.memory_bytes:
        message.number(Tag.MEMORY, spec.memory_bytes)
    if spec.cpu_millis:
        message.number(Tag.CPU, spec.cpu_millis)
    if spec.seccomp:
        message.blob(Tag.SECCOMP, spec.seccomp)
    if spec.message_path:
        message.text(Tag.MESSAGE_PATH, spec.message_path)
    if spec.processes_of:
        message.text(Tag.PROCESSES_OF, spec.processes_of)
    for mount in sorted(spec.mounts, key=lambda mount: mount.target.rstrip("/").count("/")):
        message.text(Tag.SOURCE, mount.source).text(Tag.TARGET, mount.target)
        if mount.sub_path:
            message.text(Tag.SUB_PATH, mount.sub_path)
        message.number(Tag.OPTIONS, _mount_options(mount))
    for path, content in spec.files.items():
        message.text(Tag.PATH, path).blob(Tag.CONTENT, content)
    return message.build()


def _mount_options(mount: Mount) -> Option:
    options = _PROPAGATION[mount.propagation] | (Option.BLOCK if mount.block else Option(0))
    if mount.read_only:
        options |= Option.READ_ONLY | (Option.RECURSIVE if mount.recursive else Option(0))
    return options


def limit_message(container_id: str | None, memory_bytes: int | None, cpu_millis: int | None) -> bytes:
    message = MessageBuilder().number(Tag.MEMORY, memory_bytes or 0).number(Tag.CPU, cpu_millis or 0)
    return (message if container_id is None else message.text(Tag.NAME, container_id)).build()


def exec_message(container_id: str, stream: int, argv: Sequence[str], *, tty: bool, stdin: bool) -> bytes:
    message = MessageBuilder().text(Tag.NAME, container_id).number(Tag.STREAM, stream)
    for argument in argv:
        message.text(Tag.ARG, argument)
    options = (Option.TTY if tty else Option(0)) | (Option.STDIN if stdin else Option(0))
    return message.number(Tag.OPTIONS, options).build()


def configure_message(config: GuestConfig, mac_address: str | None) -> bytes:
    message = MessageBuilder().text(Tag.HOSTNAME, config.hostname)
    if config.network is not None:
        network = config.network
        interface = ipaddress.IPv4Interface(network.address)
        services = ipaddress.IPv4Network(network.service_cidr)
        message.text(Tag.ADDRESS, str(interface.ip)).number(Tag.PREFIX, interface.network.prefixlen)
        message.text(Tag.GATEWAY, network.gateway).number(Tag.MTU, network.mtu)
        message.text(Tag.SERVICE_ADDRESS, str(services.network_address))
        message.number(Tag.SERVICE_PREFIX, services.prefixlen)
        message.text(Tag.DNS_ADDRESS, network.dns_address)
        message.text(Tag.KUBERNETES_ADDRESS, network.kubernetes_address)
    if mac_address is not None:
        message.blob(Tag.MAC, bytes.fromhex(mac_address.replace(":", "")))
    for name, value in config.sysctls.items():
        message.text(Tag.SYSCTL, f"{name}={value}")
    return message.number(Tag.OPTIONS, Option.SHARE_PIDS if config.share_process_namespace else 0).build()


def attach_message(disk: VolumeDisk, lun: int) -> bytes:
    message = MessageBuilder().text(Tag.NAME, disk.name).number(Tag.LUN, lun).text(Tag.FILE_SYSTEM, disk.file_system)
    for text in disk.mount_options:
        message.text(Tag.ARG, text)
    if disk.group is not None:
        message.number(Tag.GID, disk.group)
    options = Option(0)
    for wanted, option in (
        (disk.read_only, Option.READ_ONLY), (disk.block, Option.BLOCK),
        (disk.group_on_root_mismatch, Option.ON_ROOT_MISMATCH),
    ):  # fmt: skip
        options |= option if wanted else Option(0)
    return message.number(Tag.OPTIONS, options).build()


def attached_message(name: str, lun: int, *, block: bool) -> bytes:
    """About a volume that is attached: to let go of it, or to grow it."""
    message = MessageBuilder().text(Tag.NAME, name).number(Tag.LUN, lun)
    return message.number(Tag.OPTIONS, Option.BLOCK if block else 0).build()


def nfs_message(volume: NfsVolume) -> bytes:
    message = MessageBuilder().text(Tag.NAME, volume.name).text(Tag.SOURCE, volume.source)
    message.text(Tag.ADDRESS, volume.address)
    for option in volume.mount_options:
        message.text(Tag.ARG, option)
    return message.number(Tag.OPTIONS, Option.READ_ONLY if volume.read_only else 0).build()


def volume_message(name: str, files: Mapping[str, tuple[bytes, int]], fs_group: int | None) -> bytes:
    message = MessageBuilder().text(Tag.NAME, name)
    if fs_group is not None:
        message.number(Tag.FS_GROUP, fs_group)
    for path, (content, mode) in files.items():
        message.text(Tag.PATH, path).number(Tag.MODE, mode).blob(Tag.CONTENT, content)
    return message.build()


def disk_message(lun: int) -> bytes:
    """Of a disk that is neither an image nor a volume."""
    return MessageBuilder().number(Tag.LUN, lun).build()


def services_message(
    haproxy: bytes, maps: Mapping[str, bytes], nftables: bytes | None, commands: Sequence[str] | None
) -> bytes:
    """`commands` None: HAProxy loads the configuration; none: it has nothing to do."""
    message = MessageBuilder()
    if nftables is not None:
        message.blob(Tag.NFTABLES, nftables)
    if commands is None or commands:
        message.blob(Tag.HAPROXY, haproxy)
        for name, content in maps.items():
            message.text(Tag.NAME, name).blob(Tag.CONTENT, content)
    for line in commands or ():
        message.text(Tag.COMMAND, line)
    return message.build()


def parse_status(fields: Fields) -> ContainerStatus:
    state = _STATES.get(fields.number(Tag.STATE) or 0)
    if state is None:
        raise ProtocolError("a container in an unknown state")
    return ContainerStatus(
        id=fields.text(Tag.NAME),
        state=state,
        started_at=_seconds(fields.number(Tag.STARTED)),
        finished_at=_seconds(fields.number(Tag.FINISHED)),
        exit_code=fields.number(Tag.CODE),
        oom_killed=bool(fields.number(Tag.OOM)),
        last_words=(fields.raw(Tag.CONTENT) or b"")[:LAST_WORDS_BYTES].decode(errors="replace"),
    )


def parse_usage(fields: Fields) -> MachineUsage:
    containers = {}
    for raw in fields.all(Tag.CONTAINER):
        one = Fields(raw)
        cpu_seconds = (one.number(Tag.CPU_TIME) or 0) / 1e6
        containers[one.text(Tag.NAME)] = ContainerUsage(cpu_seconds, one.number(Tag.MEMORY) or 0)
    return MachineUsage(fields.number(Tag.MEMORY) or 0, containers)


def parse_output(payload: bytes) -> Output:
    """u64 sequence, u64 time, u8 stream, u8 length of the id, id, data."""
    if len(payload) < _OUTPUT.size:
        raise ProtocolError("output without a head")
    sequence, nanoseconds, stream, length = _OUTPUT.unpack_from(payload)
    container = payload[_OUTPUT.size : _OUTPUT.size + length]
    if stream not in _STREAMS or len(container) != length:
        raise ProtocolError("output of no stream")
    if not _CONTAINER.fullmatch(container):
        raise ProtocolError("output of no container")
    return Output(container.decode(), _STREAMS[stream], nanoseconds / 1e9, payload[_OUTPUT.size + length :], sequence)


def parse_exited(payload: bytes) -> tuple[int, ContainerStatus]:
    if len(payload) < 8:
        raise ProtocolError("an exit without a sequence")
    return int.from_bytes(payload[:8], "little"), parse_status(Fields(payload[8:]))


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
