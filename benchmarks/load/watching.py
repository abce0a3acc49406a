"""Many watches at once, read as cheaply as Python can: `… -m benchmarks.load.watching PORT CA TOKEN COUNT EACH QUERY`.

With EACH 0, every watch has a connection of its own (HTTP/1.1), else so many share one (HTTP/2). One thread, one epoll,
no HTTP library: an event is found by the stamp that patching.py wrote into it, and little else is parsed. Prints
"ready" when all watches are open. Told on its input how many events there are in all, it prints what it has seen as
JSON once it has seen them, or has seen none for some seconds.
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
from collections.abc import Iterator
from pathlib import Path

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from benchmarks.load import pods
from benchmarks.load.servers import client_context

STAMP = b'"example.com/sent":"'  # followed by STAMP_DIGITS digits: CLOCK_MONOTONIC in nanoseconds
STAMP_DIGITS = 16
_READ_BYTES = 256 * 1024
_WINDOW_BYTES = 2**31 - 1
_OPEN_SECONDS = 30.0
_QUIET_SECONDS = 15.0  # without an event: no more come


class Watch:
    """One connection: counts stamps across the boundaries of what is read."""

    __slots__ = ("connection", "rest")

    def __init__(self, port: int, context: ssl.SSLContext, token: str, query: str) -> None:
        plain = socket.create_connection(("127.0.0.1", port), _OPEN_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.open(token, query)
        self.connection.setblocking(False)
        self.rest = b""

    def open(self, token: str, query: str) -> None:
        request = (
            f"GET {pods.PATH}?watch=true&{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
        )
        self.connection.sendall(request.encode())
        head = self.connection.recv(4096)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"the watch was refused: {head[:200]!r}")

    def read(self, buffer: bytearray, delays: "array[int]") -> None:
        """Takes what is there. Raises ConnectionError at the end of the stream."""
        while True:
            try:
                size = self.connection.recv_into(buffer)
            except ssl.SSLWantReadError:
                return
            if not size:
                raise ConnectionError("a watch ended")
            self.take(buffer[:size], delays)

    def take(self, data: bytes, delays: "array[int]") -> None:
        self.rest = count(self.rest + data, delays)


def count(data: bytes, delays: "array[int]") -> bytes:
    """Notes the delay of each stamp; gives the end of the data, where the next stamp may have begun."""
    now = time.monotonic_ns()
    at = data.find(STAMP)
    end = 0
    while at >= 0:
        start = at + len(STAMP)
        if start + STAMP_DIGITS > len(data):
            break
        end = start + STAMP_DIGITS
        delays.append((now - int(data[start:end])) // 1000)
        at = data.find(STAMP, end)
    return bytes(data[max(end, len(data) - len(STAMP) - STAMP_DIGITS) :])


class Shared(Watch):
    """One connection with many watches, whose windows never fill."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str, query: str, watches: int) -> None:
        self.watches = watches
        self.rests: dict[int, bytes] = {}
        super().__init__(port, context, token, query)

    def open(self, token: str, query: str) -> None:
        encoder = Encoder()
        settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: _WINDOW_BYTES})
        window = WindowUpdateFrame(0, window_increment=_WINDOW_BYTES - 65_535)
        message = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings.serialize() + window.serialize()
        for number in range(self.watches):
            block = encoder.encode([
                (":method", "GET"), (":scheme", "https"), (":authority", "127.0.0.1"),
                (":path", f"{pods.PATH}?watch=true&{query}"), ("authorization", f"Bearer {token}"),
                ("accept", "application/json"),
            ])  # fmt: skip
            frame = HeadersFrame(1 + 2 * number, data=block, flags=["END_HEADERS", "END_STREAM"])
            message += frame.serialize()
        self.connection.sendall(message)
        self.rest, answered, decoder = b"", 0, Decoder()
        while answered < self.watches:
            data = self.connection.recv(_READ_BYTES)
            if not data:
                raise RuntimeError("the watches were refused")
            for kind, _, payload in self.frames(data):
                if kind == HeadersFrame.type:
                    if (":status", "200") not in decoder.decode(payload):
                        raise RuntimeError("a watch was refused")
                    answered += 1
        self.connection.sendall(SettingsFrame(0, flags=["ACK"]).serialize())

    def frames(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Type, stream and payload of what is whole."""
        data, at = self.rest + data, 0
        while at + 9 <= len(data):
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            yield data[at + 3], int.from_bytes(data[at + 5 : at + 9], "big"), data[at + 9 : end]
            at = end
        self.rest = data[at:]

    def take(self, data: bytes, delays: "array[int]") -> None:
        for kind, stream, payload in self.frames(bytes(data)):
            if kind == DataFrame.type:
                self.rests[stream] = count(self.rests.get(stream, b"") + payload, delays)
            elif kind in (RstStreamFrame.type, GoAwayFrame.type):
                raise ConnectionError("a watch ended")


def main() -> None:
    port, ca, token, query = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[6]
    total, each = int(sys.argv[4]), int(sys.argv[5])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = client_context(ca)
    poll = select.epoll()
    watches: dict[int, Watch] = {}
    context.set_alpn_protocols(["h2" if each else "http/1.1"])
    for number in range(0, total, each or 1):
        watch = (
            Shared(port, context, token, query, min(each, total - number))
            if each
            else Watch(port, context, token, query)
        )
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
