"""GETs of one path at a steady rate, and how long each took.

    python -m benchmarks.load.asking PORT CA TOKEN PATH RATE SECONDS CONNECTIONS PID

Prints in JSON how many there were, and their p50 and p99 in seconds, each counted from when it was sent; and `net`, the
p99 without the time in which the server (PID) and this process waited for a processor: it tells of the server, and not
of how busy the machine is.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.load.servers import client_context

_NICE = -15


class Asker:
    """One connection with one request at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, path: str, pid: int
    ) -> None:
        self._reader, self._writer = reader, writer
        self._scheduled = [Path(f"/proc/{each}/task/{each}/schedstat") for each in (pid, os.getpid())]
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

    async def ask(self) -> tuple[float, float]:
        """How long it took, and how long without waiting for a processor."""
        waited, sent = self._waited(), time.monotonic()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"a request was refused: {head[:300]!r}")
        at = head.lower().index(b"content-length:") + len(b"content-length:")
        await self._reader.readexactly(int(head[at : head.index(b"\r", at)]))
        took = time.monotonic() - sent
        return took, max(0.0, took - (self._waited() - waited))

    def _waited(self) -> float:
        return sum(int(path.read_text().split()[1]) for path in self._scheduled) / 1e9


async def main() -> None:
    with contextlib.suppress(PermissionError):
        os.nice(_NICE)
    port, ca, token, path = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    rate, seconds, connections = float(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7])
    context = client_context(ca)
    opened = [await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20) for _ in range(connections)]
    took: list[tuple[float, float]] = []

    async def work(asker: Asker, turn: int) -> None:
        began = time.monotonic()
        for number in range(turn, int(rate * seconds), connections):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            took.append(await asker.ask())

    askers = [Asker(*each, token, path, int(sys.argv[8])) for each in opened]
    await asyncio.gather(*(work(asker, turn) for turn, asker in enumerate(askers)))
    times, net = sorted(each[0] for each in took), sorted(each[1] for each in took)
    late = int(len(took) * 0.99)
    told = {"requests": len(took), "p50": times[len(took) // 2], "p99": times[late], "net": net[late]}
    print(json.dumps(told))


if __name__ == "__main__":
    uvloop.run(main())
