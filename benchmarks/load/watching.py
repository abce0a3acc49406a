"""Many watches at once, read as cheaply as Python can: `python -m benchmarks.load.watching PORT CA TOKEN COUNT QUERY`.

One thread, one epoll, no HTTP library: an event is found by the stamp that patching.py wrote into it, and nothing else
is parsed. Prints "ready" when all watches are open. Told on its input how many events there are in all, it prints what
it has seen as JSON once it has seen them, or has seen none for some seconds.
"""

import json
import os
import resource
import select
import socket
import ssl
import sys
import time
from array import array
from pathlib import Path

from benchmarks.load import pods
from benchmarks.load.servers import client_context

STAMP = b'"example.com/sent":"'  # followed by STAMP_DIGITS digits: CLOCK_MONOTONIC in nanoseconds
STAMP_DIGITS = 16
_READ_BYTES = 256 * 1024
_OPEN_SECONDS = 30.0
_QUIET_SECONDS = 15.0  # without an event: no more come


class Watch:
    """One connection: counts stamps across the boundaries of what is read."""

    __slots__ = ("connection", "rest")

    def __init__(self, port: int, context: ssl.SSLContext, token: str, query: str) -> None:
        plain = socket.create_connection(("127.0.0.1", port), _OPEN_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        request = (
            f"GET {pods.PATH}?watch=true&{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
        )
        self.connection.sendall(request.encode())
        head = self.connection.recv(4096)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"the watch was refused: {head[:200]!r}")
        self.connection.setblocking(False)
        self.rest = b""

    def read(self, buffer: bytearray, delays: "array[int]") -> None:
        """Takes what is there. Raises ConnectionError at the end of the stream."""
        while True:
            try:
                size = self.connection.recv_into(buffer)
            except ssl.SSLWantReadError:
                return
            if not size:
                raise ConnectionError("a watch ended")
            now = time.monotonic_ns()
            data = self.rest + buffer[:size]
            at = data.find(STAMP)
            end = 0
            while at >= 0:
                start = at + len(STAMP)
                if start + STAMP_DIGITS > len(data):
                    break
                end = start + STAMP_DIGITS
                delays.append((now - int(data[start:end])) // 1000)
                at = data.find(STAMP, end)
            self.rest = bytes(data[max(end, len(data) - len(STAMP) - STAMP_DIGITS) :])


def main() -> None:
    port, ca, token, count, query = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = client_context(ca)
    poll = select.epoll()
    watches: dict[int, Watch] = {}
    for _ in range(count):
        watch = Watch(port, context, token, query)
        watches[watch.connection.fileno()] = watch
        poll.register(watch.connection.fileno(), select.EPOLLIN)
    os.set_blocking(0, False)
    poll.register(0, select.EPOLLIN)
    print("ready", flush=True)
    delays: array[int] = array("q")  # microseconds from the patch being sent to the event being read
    buffer = bytearray(_READ_BYTES)
    first, cpu = time.monotonic(), time.process_time()
    last = first
    wanted: int | None = None
    while wanted is None or len(delays) < wanted:
        ready = poll.poll(_QUIET_SECONDS)
        if not ready and wanted is not None:
            break
        for descriptor, _ in ready:
            if descriptor == 0:
                poll.unregister(0)
                wanted = int(os.read(0, 64) or 0)
                continue
            before = len(delays)
            watches[descriptor].read(buffer, delays)
            if len(delays) > before:  # what else comes are bookmarks
                last = time.monotonic()
                first = first if before else last
    report(delays, last - first, time.process_time() - cpu)


def report(delays: "array[int]", seconds: float, cpu: float) -> None:
    ordered = sorted(delays)
    share = {name: ordered[int(len(ordered) * part)] / 1e6 if ordered else 0.0 for name, part in
             (("p50", 0.5), ("p99", 0.99))}  # fmt: skip
    print(json.dumps({"events": len(ordered), "seconds": seconds, "cpu": cpu, **share}), flush=True)


if __name__ == "__main__":
    main()
