"""qemu-storage-daemon: how it is started, and what it is told. Pure.

One process has one NBD server and so one socket; whoever reaches that may open each of its exports. Hence a process
for each volume of each pod (1.3 MiB of its own, 20 ms to start): it holds nothing that its pod may not have.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hypernetes.providers.volume.base import IO_LIMITS, BlockSource

BINARY = "qemu-storage-daemon"
PACKAGE = "qemu-system-common"
EXPORT = "volume"
TOP = "volume"
_SOURCE, _LIMITS = "source", "limits"
# Attachment metadata → fields of QEMU's ThrottleLimits.
_THROTTLES = {
    "readIOPS": "iops-read", "writeIOPS": "iops-write", "totalIOPS": "iops-total",
    "readBytesPerSecond": "bps-read", "writeBytesPerSecond": "bps-write", "totalBytesPerSecond": "bps-total",
}  # fmt: skip
assert _THROTTLES.keys() == IO_LIMITS

Command = tuple[str, dict[str, Any]]


def command_line(mark: Path, uid: int, nbd_fd: int, monitor_fd: int, *, network: bool) -> list[str]:
    """Given descriptors of listening sockets. `mark` is its pid file, by which it is found again. It runs as `uid`,
    without capabilities or ways to get any, and unless it needs one without a network."""
    namespaces = ["--ipc", "--uts"] if network else ["--net", "--ipc", "--uts"]
    identity = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    arguments = ["--pidfile", str(mark)]
    arguments += ["--chardev", f"socket,id=monitor,fd={monitor_fd},server=on,wait=off", "--monitor", "chardev=monitor"]
    arguments += ["--nbd-server", f"addr.type=fd,addr.str={nbd_fd}"]
    return ["unshare", *namespaces, "--", "setpriv", *identity, "--inh-caps=-all", "--", BINARY, *arguments]


def opening(
    source: BlockSource, limits: Mapping[str, str], fds: Mapping[Path, int], *, read_only: bool
) -> list[Command]:
    """Monitor commands that open the source. `fds` are the inherited descriptors of its paths."""
    commands: list[Command] = [
        ("object-add", {"qom-type": "secret", "id": name, "format": "base64", "data": b64encode(value).decode()})
        for name, value in source.secrets.items()
    ]
    throttle = {_THROTTLES[name]: int(value) for name, value in limits.items() if name in _THROTTLES}
    commands.append(("object-add", {"qom-type": "throttle-group", "id": _LIMITS, "limits": throttle}))
    by_name = {str(path): f"/proc/self/fd/{fd}" for path, fd in fds.items()}
    opened = {**_renamed(source.blockdev, by_name), "node-name": _SOURCE, "read-only": read_only}
    commands.append(("blockdev-add", opened))
    top = {
        "driver": "throttle", "node-name": TOP, "throttle-group": _LIMITS, "file": _SOURCE, "discard": "unmap",
        "read-only": read_only,
    }  # fmt: skip
    commands.append(("blockdev-add", top))
    return commands


def exporting(*, read_only: bool) -> list[Command]:
    export = {"type": "nbd", "id": EXPORT, "node-name": TOP, "name": EXPORT, "writable": not read_only}
    return [("block-export-add", export)]


# An NBD connection never learns another size: the client is cut off, and connects again to the larger export.
CUTTING_OFF: Command = ("block-export-del", {"id": EXPORT, "mode": "hard"})


def resizing(size_bytes: int, *, read_only: bool) -> list[Command]:
    """After `CUTTING_OFF` is through (event BLOCK_EXPORT_DELETED)."""
    return [("block_resize", {"node-name": TOP, "size": size_bytes}), *exporting(read_only=read_only)]


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Descriptors in the place of paths, which this process can't reach."""
    if isinstance(value, Mapping):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


def marks(commands: Mapping[int, bytes], run_directory: Path) -> Iterator[tuple[int, Path]]:
    """(pid, mark) of the storage processes below a directory, among processes' command lines."""
    wanted = b"\0--pidfile\0" + str(run_directory).encode() + b"/"
    for pid, command in commands.items():
        if BINARY.encode() in command and wanted in command:
            yield pid, Path(command.split(b"\0--pidfile\0", 1)[1].split(b"\0", 1)[0].decode())
