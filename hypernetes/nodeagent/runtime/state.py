"""A machine's state on disk: all a new agent needs to adopt it.

DIRECTORY/<machine id>/machine.json   this record, replaced atomically
                       scratch.img    the writable layers; qemu.log
RUN/<machine id>/{link,monitor}.sock  short paths: a unix socket's address has 108 bytes
"""

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hypernetes.nodeagent.runtime.processes import ProcessId


@dataclass(slots=True)
class Disk:
    lun: int
    fd_set: int | None  # None: of a storage process's export
    volume: str | None
    block: bool = False


@dataclass(slots=True)
class MachineRecord:
    id: str
    label: str
    uid: int
    mac_address: str | None
    process: ProcessId
    boot_id: str
    kubernetes_address: str = ""
    disks: dict[str, Disk] = field(default_factory=dict)


class StateError(Exception):
    """A machine's record can't be read."""


class MachineState:
    """The files of one machine. The methods block for the time of a small file."""

    def __init__(self, directory: Path, run_directory: Path) -> None:
        self.directory = directory
        self.run_directory = run_directory

    @property
    def link_socket(self) -> Path:
        return self.run_directory / "link.sock"

    @property
    def monitor_socket(self) -> Path:
        return self.run_directory / "monitor.sock"

    @property
    def scratch(self) -> Path:
        return self.directory / "scratch.img"

    @property
    def log(self) -> Path:
        return self.directory / "qemu.log"

    def create(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.run_directory.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        shutil.rmtree(self.run_directory, ignore_errors=True)
        self.run_directory.mkdir(mode=0o700)

    def save(self, record: MachineRecord) -> None:
        path = self.directory / "machine.json"
        partial = path.with_suffix(".partial")
        # Not synced: it outlives the agent, and the machine that it is about doesn't outlive a power cut.
        partial.write_text(json.dumps(asdict(record)))
        partial.replace(path)

    def load(self) -> MachineRecord:
        """Raises StateError, also where the machine was never finished."""
        try:
            data = json.loads((self.directory / "machine.json").read_text())
            process = ProcessId(**data.pop("process"))
            disks = {name: Disk(**disk) for name, disk in data.pop("disks").items()}
            return MachineRecord(process=process, disks=disks, **data)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StateError(f"{self.directory}: {error}") from error

    def remove(self) -> None:
        """Also of what is no machine: the disk of a template that an earlier agent didn't finish is a mere file."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            self.directory.unlink()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.run_directory, ignore_errors=True)
