"""A storage process on a node of the storage network, told what hn-agent tells it."""

import os
import signal
from pathlib import Path

from hypernetes.nodeagent.runtime.qmp import Monitor
from hypernetes.nodeagent.storage import daemon
from hypernetes.providers.volume.base import Handle, NodeVolumes
from tests.integration.volumes.nbd import Client
from tests.openstack.daemons import Daemon
from tests.openstack.storagenetworks import StorageNode

_CONNECT_SECONDS = 30.0


class StorageDaemon:
    def __init__(self, directory: Path, name: str, node: StorageNode | None = None) -> None:
        self._directory, self._name, self._node = directory, name, node
        self.nbd, self._qmp = directory / f"{name}.nbd", directory / f"{name}.qmp"
        self._daemon: Daemon | None = None
        self._monitor: Monitor | None = None

    async def start(self) -> None:
        for path in (self.nbd, self._qmp):
            path.unlink(missing_ok=True)
        command = [
            daemon.BINARY, "--chardev", f"socket,id=monitor,path={self._qmp},server=on,wait=off",
            "--monitor", "chardev=monitor", "--nbd-server", f"addr.type=unix,addr.path={self.nbd}",
        ]  # fmt: skip
        namespace = self._node.namespace if self._node else None
        self._daemon = Daemon(command, self._directory / f"{self._name}.log", namespace=namespace)
        self._daemon.wait(self._qmp.exists, "a storage process")
        self._monitor = await Monitor.connect(self._qmp, _CONNECT_SECONDS)

    async def open(
        self, volumes: NodeVolumes, volume: Handle, metadata: dict[str, str], *, read_only: bool = False
    ) -> None:
        """As hn-agent does. Raises VolumeError, QmpError."""
        assert self._monitor is not None
        source = await volumes.open(volume, metadata, read_only=read_only)
        for command, arguments in daemon.opening(source, metadata, {}, read_only=read_only):
            await self._monitor.run(command, arguments)
        await volumes.opened(volume, metadata, read_only=read_only)
        for command, arguments in daemon.exporting(read_only=read_only):
            await self._monitor.run(command, arguments)

    async def exports(self) -> list[object]:
        assert self._monitor is not None
        found: list[object] = await self._monitor.run("query-block-exports")
        return found

    def client(self, seconds: float = 60.0) -> Client:
        return Client(self.nbd, daemon.EXPORT, seconds)

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Twice is no error."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._daemon is not None:
            os.killpg(self._daemon.pid, number)
            self._daemon.stop()
            self._daemon = None
