"""A real etcd on loopback, for tests."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

_START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class EtcdProcess:
    """One member; `stop` and `start` keep its data and its port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._client, self._peer = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._client}"

    @property
    def location(self) -> str:
        return f"etcd://{self.endpoint}"

    def start(self) -> None:
        client, peer = f"http://{self.endpoint}", f"http://127.0.0.1:{self._peer}"
        with (self._directory / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "etcd", "--data-dir", str(self._directory / "data"), "--name", "test",
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", f"test={peer}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._client), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"etcd did not start: {(self._directory / 'etcd.log').read_text()[-2000:]}")

    def save(self) -> None:
        """Keeps a backup of the data as they are. The process must be stopped."""
        shutil.copytree(self._directory / "data", self._directory / "backup")

    def restore(self) -> None:
        """Puts the backup in place of the data. The process must be stopped."""
        shutil.rmtree(self._directory / "data")
        (self._directory / "backup").rename(self._directory / "data")

    def stop(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_etcd(directory: Path) -> Iterator[EtcdProcess]:
    assert which("etcd") is not None, "etcd is missing: make deps"
    process = EtcdProcess(directory)
    process.start()
    try:
        yield process
    finally:
        process.stop()
