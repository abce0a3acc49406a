"""Debian's docker-registry as a process of ours: started in the background, found again, stopped."""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from demoimages.errors import ImagesError
from demoimages.registry import Registry

START_TIMEOUT = 30.0  # seconds until it answers
STOP_TIMEOUT = 10.0
_POLL = 0.05

_CONFIG = """\
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: {storage}
  delete:
    enabled: true
http:
  addr: {address}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A registry with everything it has below `directory`: configuration, storage, log, process id."""

    directory: Path
    host: str
    port: int

    @property
    def registry(self) -> Registry:
        return Registry(self.host, self.port)

    @property
    def _config(self) -> Path:
        return self.directory / "config.yml"

    @property
    def _pid_file(self) -> Path:
        return self.directory / "registry.pid"

    @property
    def log(self) -> Path:
        return self.directory / "registry.log"

    def pid(self) -> int | None:
        """Of our registry, if it runs; a process that merely has the number now is not ours."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._config) in command else None

    def ensure(self) -> bool:
        """A registry answers at the address; whether one had to be started. Raises ImagesError."""
        if _is_listening(self.host, self.port):
            if not self._is_registry():
                message = f"{self.host}:{self.port} is in use by something that is no registry; choose another port"
                raise ImagesError(message)
            return False
        self.start()
        return True

    def _is_registry(self) -> bool:
        try:
            return self.registry.is_one()
        except ImagesError:
            return False

    def command(self) -> list[str]:
        """Writes the configuration; the command that serves it in front."""
        program = shutil.which("docker-registry")
        if program is None:
            raise ImagesError("docker-registry is missing; install Debian's package docker-registry")
        self.directory.mkdir(parents=True, exist_ok=True)
        address = f"{self.host}:{self.port}"
        self._config.write_text(_CONFIG.format(storage=self.directory / "storage", address=address))
        return [program, "serve", str(self._config)]

    def start(self) -> None:
        """In the background, in a session of its own; returns when it answers. Raises ImagesError."""
        command = self.command()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._pid_file.write_text(str(process.pid))
        end = time.monotonic() + START_TIMEOUT
        while not (_is_listening(self.host, self.port) and self._is_registry()):
            if process.poll() is not None:
                raise ImagesError(f"docker-registry ended at once; {self.log} says why")
            if time.monotonic() > end:
                self.stop()
                raise ImagesError(f"docker-registry did not answer in {START_TIMEOUT:.0f} s; see {self.log}")
            time.sleep(_POLL)

    def stop(self) -> bool:
        """Whether there was one to stop."""
        pid = self.pid()
        if pid is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + STOP_TIMEOUT
        while self.pid() is not None and not _is_zombie(pid):
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(_POLL)
        self._pid_file.unlink(missing_ok=True)
        return True


def _is_listening(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False


def _is_zombie(pid: int) -> bool:
    """A child that ended and that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
