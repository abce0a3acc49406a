"""Patches at a steady rate, each with the time at which it was to be sent; RATE 0 is as fast as they are answered.

    python -m benchmarks.load.patching PORT CA TOKEN COUNT RATE SECONDS CONNECTIONS

A patch that must wait for a free connection still carries the time at which it was due: waiting counts as delay.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.load import pods
from benchmarks.load.servers import client_context
from benchmarks.load.watching import STAMP

_STAMP = STAMP.decode()


class Patcher:
    """One connection with one patch at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader, self._writer = reader, writer
        self._head = (
            f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"
            "Content-Type: application/merge-patch+json\r\n"
        )

    async def patch(self, number: int, due_ns: int) -> None:
        body = f'{{"metadata":{{"annotations":{{{_STAMP}{due_ns:016d}"}}}}}}'
        request = f"PATCH {pods.PATH}/pod-{number} {self._head}Content-Length: {len(body)}\r\n\r\n{body}"
        self._writer.write(request.encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"a patch was refused: {head[:300]!r}")
        length = head.lower().index(b"content-length:") + len(b"content-length:")
        await self._reader.readexactly(int(head[length : head.index(b"\r", length)]))


async def main() -> None:
    port, ca, token = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    count, rate, seconds, connections = int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7])
    context = client_context(ca)
    opened = [await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20) for _ in range(connections)]
    patchers = [Patcher(*each, token) for each in opened]
    began = time.monotonic_ns()
    end = began + int(seconds * 1e9)
    sent = 0

    async def work(patcher: Patcher) -> None:
        nonlocal sent
        while True:
            number, sent = sent, sent + 1
            due = began + int(number / rate * 1e9) if rate else time.monotonic_ns()
            if due >= end:
                return
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            await patcher.patch(1 + number * 7 % count, due)

    async with asyncio.TaskGroup() as tasks:
        for patcher in patchers:
            tasks.create_task(work(patcher))
    took = (time.monotonic_ns() - began) / 1e9
    print(json.dumps({"patches": sent - connections, "seconds": took, "cpu": time.process_time()}))


if __name__ == "__main__":
    uvloop.run(main())
