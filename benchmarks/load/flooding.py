"""Many connections that ask for one list again and again, as fast as it is answered.

    python -m benchmarks.load.flooding PORT CA TOKEN PATH CONNECTIONS BYTES

Says `ready` once all of them are open. Who is told to come back later does so. Ends when its input does, though not
before it has got so many BYTES, and then says in JSON how many lists it got, how many requests were refused, and the
bytes.
"""

import asyncio
import json
import random
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.load.servers import client_context

_AT_ONCE = 50  # connections being opened
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.05


class Flood:
    def __init__(self, port: int, context: ssl.SSLContext, token: str, path: str) -> None:
        self._port, self._context = port, context
        self.request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        self.lists = self.refused = self.bytes = 0

    async def open(self) -> "Connection":
        loop = asyncio.get_running_loop()
        make = partial(Connection, self)
        _, connection = await loop.create_connection(make, "127.0.0.1", self._port, ssl=self._context)
        return connection


class Connection(asyncio.Protocol):
    """One request after the other. What comes is looked at, at its beginning and its end, and thrown away."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._head, self._tail, self._left = b"", b"", 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self) -> None:
        self._head, self._tail, self._left = b"", b"", 0
        if not self._transport.is_closing():
            self._transport.write(self._flood.request)

    def data_received(self, data: bytes) -> None:
        self._flood.bytes += len(data)
        if b"\r\n\r\n" not in self._head:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            at = lower.find(b"content-length:")
            self._left = -1 if at < 0 else int(lower[at + 15 :].split(b"\r", 1)[0])
        if self._left >= 0:
            self._left -= len(data)
            if self._left <= 0:
                self._answered()
            return
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n":
            self._answered()

    def _answered(self) -> None:
        if b" 200 " in self._head[:16]:
            self._flood.lists += 1
            self.ask()
        else:
            self._flood.refused += 1
            asyncio.get_running_loop().call_later(_RETRY_SECONDS * random.uniform(0.5, 1.5), self.ask)


async def main() -> None:
    port, ca, token, path, count = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
    flood, places = Flood(port, client_context(ca), token, path), asyncio.Semaphore(_AT_ONCE)

    async def opened() -> Connection:
        async with places:
            return await flood.open()

    connections = await asyncio.gather(*(opened() for _ in range(count)))
    for connection in connections:
        connection.ask()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while flood.bytes < int(sys.argv[6]):  # noqa: ASYNC110  many connections count
        await asyncio.sleep(_LOOK_SECONDS)
    print(json.dumps({"lists": flood.lists, "refused": flood.refused, "bytes": flood.bytes}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
