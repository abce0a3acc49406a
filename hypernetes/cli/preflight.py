"""Why a cluster can't start here. Looking is one half, judging the other; each problem is one sentence."""

import errno
import os
import pwd
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hypernetes.cli.layout import Layout

# What `hn up` and its processes run, and the Debian package that has it.
TOOLS: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "tar2sqfs": "squashfs-tools-ng",
    "mkfs.ext4": "e2fsprogs",
    "nft": "nftables",
    "setpriv": "util-linux",
}
FIRST_AGENT_PORT = 10250
_PORT_TRIES = 200


@dataclass(frozen=True, slots=True)
class Host:
    """What was seen of the machine and of DIR."""

    user_id: int
    directory: Path
    directory_owner: str | None = None  # None: it doesn't exist yet
    directory_owner_id: int | None = None
    directory_is_cluster: bool = False
    directory_is_empty: bool = True
    missing_tools: tuple[str, ...] = ()
    guest: Path = Path("build/guest")
    guest_built: bool = True
    taken_ports: Mapping[int, str] = field(default_factory=dict)  # port -> what the kernel says


def problems(host: Host) -> list[str]:
    """One sentence for each reason, the most basic first; empty where a cluster can start."""
    if host.user_id != 0:
        return ["hn up must run as root, since it makes virtual machines and network namespaces; try it with sudo"]
    found = []
    if host.directory_owner_id not in (None, 0):
        found.append(f"{host.directory} belongs to {host.directory_owner}; give another --dir, or chown it to root")
    elif not host.directory_is_cluster and not host.directory_is_empty:
        found.append(f"{host.directory} is not empty and holds no cluster; give another --dir")
    if host.missing_tools:
        packages = sorted({TOOLS[tool] for tool in host.missing_tools})
        found.append(
            f"{', '.join(host.missing_tools)} not found; run `make deps`, or: apt-get install {' '.join(packages)}"
        )
    if not host.guest_built:
        found.append(f"{host.guest} holds no guest; run `make guest`, or say where it is with --guest")
    for port, why in host.taken_ports.items():
        found.append(f"port {port} can't be used ({why}); give another --port, or stop what uses it")
    return found


def look(layout: Layout, guest: Path, bind: str, ports: tuple[int, ...]) -> Host:
    if os.geteuid() != 0:
        return Host(os.geteuid(), layout.root)  # the rest may not even be looked at
    owner = _owner(layout.root)
    return Host(
        user_id=os.geteuid(),
        directory=layout.root,
        directory_owner=_user_name(owner) if owner is not None else None,
        directory_owner_id=owner,
        directory_is_cluster=os.access(layout.cluster_file, os.F_OK),
        directory_is_empty=not _content(layout.root) - {"run", "log"},
        missing_tools=tuple(tool for tool in TOOLS if shutil.which(tool, path=search_path()) is None),
        guest=guest,
        guest_built=(guest / "guest.json").is_file(),
        taken_ports={port: why for port in ports if (why := why_taken(bind, port)) is not None},
    )


def search_path() -> str:
    """PATH, and where administrators' commands are: sudo and cron may leave that out."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/bin:/bin"


def why_taken(bind: str, port: int) -> str | None:
    """Why nothing can listen there; None if something can."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "it is taken by another process"
            return (error.strerror or str(error)).lower()
        except OverflowError:
            return "it is no port number"
    return None


def agent_ports(count: int, kept: tuple[int, ...], bind: str = "127.0.0.1") -> tuple[int, ...]:
    """A port for each node's agent: those it had before, and for new nodes the next free ones."""
    ports = list(kept[:count])
    candidates = iter(range(FIRST_AGENT_PORT, FIRST_AGENT_PORT + _PORT_TRIES))
    while len(ports) < count:
        port = next((port for port in candidates if port not in ports and why_taken(bind, port) is None), None)
        if port is None:
            raise OSError(errno.EADDRINUSE, f"no free port from {FIRST_AGENT_PORT} on")
        ports.append(port)
    return tuple(ports)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def _content(path: Path) -> set[str]:
    try:
        return {entry.name for entry in path.iterdir()}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
