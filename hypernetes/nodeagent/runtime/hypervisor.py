"""Starting QEMU: descriptors, sockets, uid, a session of its own. The process outlives the agent."""

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypernetes.nodeagent.runtime import qemu
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.processes import ProcessId
from hypernetes.nodeagent.runtime.state import MachineState

KVM_DEVICE = Path("/dev/kvm")


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """What `hypernetes.guest.build` made."""

    kernel: Path
    initramfs: Path
    toolbox: Path
    manifest: Path

    @classmethod
    def below(cls, directory: Path) -> "GuestFiles":
        """Raises MachineError naming what is missing."""
        names = ("vmlinux", "initramfs", "toolbox.squashfs", "guest.json")
        for name in names:
            if not (directory / name).is_file():
                message = f"{directory / name} is missing: run python -m hypernetes.guest.build {directory}"
                raise MachineError("GuestMissing", message)
        return cls(*(directory / name for name in names))


@dataclass(frozen=True, slots=True)
class Memory:
    """A machine's memory in a descriptor: a template being made (`shared`), or a copy of one."""

    fd: int
    shared: bool


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """Listens before QEMU runs, so that connecting needs no polling. An earlier process of the machine is dead."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        yield listener


def spawn(
    name: str,
    shape: qemu.Shape,
    guest: GuestFiles,
    state: MachineState,
    uid: int,
    *,
    tap_fd: int | None = None,
    mac_address: str | None = None,
    memory: Memory | None = None,
    incoming: bool = False,
) -> ProcessId:
    """Starts QEMU (blocks for a few milliseconds), `incoming` to be a clone (template.resume). Raises MachineError."""
    groups = [KVM_DEVICE.stat().st_gid] if shape.accel is qemu.Accel.KVM else []
    with ExitStack() as stack:
        opened: list[int] = []
        for path in (guest.kernel, guest.initramfs, guest.toolbox):
            opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            stack.callback(os.close, opened[-1])
        link = stack.enter_context(_listening(state.link_socket))
        monitor = stack.enter_context(_listening(state.monitor_socket))
        output = stack.enter_context(state.log.open("ab"))
        fds = qemu.Inherited(
            kernel=opened[0],
            initramfs=opened[1],
            toolbox=opened[2],
            link_socket=link.fileno(),
            monitor_socket=monitor.fileno(),
            tap=tap_fd,
            memory=None if memory is None else memory.fd,
        )
        argv = qemu.command_line(
            name,
            shape,
            fds,
            mac_address,
            memory_shared=memory is not None and memory.shared,
            incoming=incoming,
        )
        inherited = [*opened, link.fileno(), monitor.fileno()]
        inherited += [fd for fd in (tap_fd, fds.memory) if fd is not None]
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=inherited,
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
                user=uid,
                group=uid,
                extra_groups=groups,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise MachineError("HypervisorMissing", "QEMU is missing: apt-get install qemu-system-x86") from error
        except OSError as error:
            raise MachineError("BootFailed", f"QEMU can't be started: {error}") from error
    # Its end is awaited by a pidfd, in this agent or the next; Popen must not wait for it as well.
    process.returncode = 0
    try:
        return ProcessId.of(process.pid)
    except ProcessLookupError as error:
        raise MachineError("BootFailed", f"QEMU ended at once: {last_words(state)}") from error


def last_words(state: MachineState) -> str:
    """The end of what QEMU complained of."""
    try:
        text = state.log.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""
    return text.splitlines()[-1][-500:] if text else ""


def running_under(name: str) -> list[int]:
    """Pids of QEMUs with that -name: finds one whose agent died before it could note the pid."""
    wanted = b"\0-name\0" + name.encode() + b"\0"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if qemu.BINARY.encode() in command and wanted in command:
                found.append(int(entry.name))
    return found


def has_device(path: Path = KVM_DEVICE) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except FileNotFoundError:
        return False
