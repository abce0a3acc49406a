"""QEMU's monitor: one client, commands one after another.

Not the qemu.qmp library: disks are given as open descriptors (the VM's uid can't reach the files' directories), and
sending descriptors needs the plain socket, which that library reaches only through asyncio's internals.
Protocol: docs/interop/qmp-spec of QEMU. Its answers are bounded and parsed strictly, as QEMU runs a tenant's guest.
"""

import array
import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from hypernetes.nodeagent.runtime.base import MachineError

LINE_MAX = 1 << 20
COMMAND_SECONDS = 20.0
EVENTS_MAX = 256  # the oldest are forgotten


class QmpError(MachineError):
    """QEMU refused a command, or its monitor is gone (`MonitorLost`)."""


class Monitor:
    """A connected monitor. Commands of several tasks wait for each other."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = b""
        self._lock = asyncio.Lock()
        self._next_id = 0
        self.events: list[dict[str, Any]] = []

    @classmethod
    async def connect(cls, path: Path, seconds: float = COMMAND_SECONDS) -> "Monitor":
        """Raises QmpError where nothing answers in time."""
        loop = asyncio.get_running_loop()
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        monitor = cls(connected)
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(connected, str(path))
                greeting = await monitor._read_line()
                if "QMP" not in greeting:
                    raise QmpError("MonitorLost", "QEMU's monitor does not greet")
        except (OSError, TimeoutError) as error:
            connected.close()
            raise QmpError("MonitorLost", f"QEMU's monitor does not answer: {error}") from error
        except QmpError:
            connected.close()
            raise
        await monitor.run("qmp_capabilities")
        return monitor

    async def run(self, command: str, arguments: Mapping[str, object] | None = None, *, fd: int | None = None) -> Any:
        """Runs a command, with an open descriptor for those that take one. Raises QmpError."""
        async with self._lock:
            self._next_id += 1
            text = orjson.dumps({"execute": command, "arguments": arguments or {}, "id": self._next_id})
            try:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._send(text, fd)
                    return await self._answer(command)
            except (OSError, TimeoutError) as error:
                # The answer may still come: nobody could tell it from the next one's.
                self.close()
                raise QmpError("MonitorLost", f"QEMU's monitor failed at {command}: {error}") from error

    async def wait_event(self, name: str, seconds: float = COMMAND_SECONDS, **data: Any) -> None:
        """Waits for an event whose data holds `data`. Raises QmpError after `seconds`."""
        async with self._lock:
            try:
                async with asyncio.timeout(seconds):
                    while not self._take_event(name, data):
                        self._keep_event(await self._read_line())
            except (OSError, TimeoutError) as error:
                raise QmpError("MonitorLost", f"QEMU did not report {name}") from error

    def forget_events(self, name: str, **data: Any) -> None:
        """Those that have come already."""
        while self._take_event(name, data):
            pass

    def close(self) -> None:
        self._socket.close()

    def _take_event(self, name: str, data: dict[str, Any]) -> bool:
        for event in self.events:
            if event.get("event") == name and data.items() <= event.get("data", {}).items():
                self.events.remove(event)
                return True
        return False

    def _keep_event(self, line: dict[str, Any]) -> None:
        self.events.append(line)
        del self.events[:-EVENTS_MAX]

    async def _send(self, text: bytes, fd: int | None) -> None:
        loop = asyncio.get_running_loop()
        if fd is not None:
            # With the first byte; commands are small against the empty socket's buffer.
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            sent = self._socket.sendmsg([text], ancillary)
            text = text[sent:]
        await loop.sock_sendall(self._socket, text)

    async def _answer(self, command: str) -> Any:
        while True:
            line = await self._read_line()
            if "event" in line:
                self._keep_event(line)
            elif line.get("id") == self._next_id and "return" in line:
                return line["return"]
            elif line.get("id") == self._next_id and "error" in line:
                raise QmpError("HypervisorRefused", f"QEMU refused {command}: {line['error'].get('desc', '')}")

    async def _read_line(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_MAX:
                raise OSError("an endless line")
            data = await loop.sock_recv(self._socket, 65536)
            if not data:
                raise OSError("QEMU closed the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise OSError("not JSON") from error
        if not isinstance(parsed, dict) or not all(isinstance(parsed.get(key, {}), dict) for key in ("data", "error")):
            raise OSError("not an object of the expected form")
        return parsed
