"""Stories of a stream: what the peer sends, in pieces, and what is read of it."""

import asyncio
from typing import Any, cast

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingReceived, RequestReceived

from hypernetes.apiserver.storage import etcd_stream
from hypernetes.apiserver.storage.etcd_stream import Stream, StreamFailed


class Peer:
    """The other end, in memory: a transport to the stream, an HTTP/2 server to the story."""

    def __init__(self) -> None:
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.http.initiate_connection()
        self.events: list[Any] = []
        self.aborted = False
        self.stream = Stream()
        self.stream.connection_made(cast(asyncio.Transport, self))
        self.stream.begin("etcd:2379", "/service/Method", [("hasleader", "true")], b"request")
        self.http.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        self.deliver()

    def write(self, data: bytes) -> None:
        self.events += self.http.receive_data(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def deliver(self) -> None:
        self.stream.data_received(self.http.data_to_send())

    def send(self, data: bytes) -> None:
        """As many frames as it takes; fails where the stream doesn't let the peer go on."""
        while data:
            size = min(len(data), 16_384, self.http.local_flow_control_window(1))
            if not size:
                raise BlockingIOError
            self.http.send_data(1, data[:size])
            data = data[size:]
            self.deliver()


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


async def test_the_request_is_sent_with_its_metadata() -> None:
    peer = Peer()
    (request,) = [event for event in peer.events if isinstance(event, RequestReceived)]
    headers: list[Any] = request.headers
    assert {(":path", "/service/Method"), ("hasleader", "true")} <= {tuple(header) for header in headers}
    assert [event.data for event in peer.events if isinstance(event, DataReceived)] == [framed(b"request")]


async def test_all_that_has_arrived_is_read_at_once() -> None:
    peer = Peer()
    peer.send(framed(b"a") + framed(b"") + framed(b"bc"))
    peer.send(framed(b"d") + framed(b"cut")[:6])
    assert await peer.stream.read() == [b"a", b"", b"bc", b"d"]
    reading = asyncio.create_task(peer.stream.read())
    await asyncio.sleep(0)
    peer.send(framed(b"cut")[6:])
    assert await reading == [b"cut"]


async def test_a_message_may_be_larger_than_what_the_peer_may_send_unasked() -> None:
    peer = Peer()
    message = bytes(3 * etcd_stream._WINDOW_BYTES)
    peer.send(framed(message))
    assert await peer.stream.read() == [message]


async def test_a_peer_waits_while_too_much_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_stream, "_AHEAD_BYTES", 1000)
    peer = Peer()
    message = framed(bytes(1000))
    with pytest.raises(BlockingIOError):
        peer.send(message * (etcd_stream._WINDOW_BYTES // 500))
    await peer.stream.read()
    peer.send(message)


async def test_what_came_before_a_refusal_is_read_and_then_the_reason() -> None:
    peer = Peer()
    peer.send(framed(b"a"))
    peer.http.send_headers(1, [("grpc-status", "14"), ("grpc-message", "no leader")], end_stream=True)
    peer.deliver()
    assert await peer.stream.read() == [b"a"]
    with pytest.raises(StreamFailed, match="gRPC status 14 no leader"):
        await peer.stream.read()
    assert peer.aborted


async def test_a_lost_connection_wakes_the_reader() -> None:
    peer = Peer()
    reading = asyncio.create_task(peer.stream.read())
    await asyncio.sleep(0)
    peer.stream.connection_lost(ConnectionResetError("reset"))
    with pytest.raises(StreamFailed, match="reset"):
        await reading


async def test_what_is_no_http2_ends_the_stream() -> None:
    peer = Peer()
    peer.stream.data_received(b"\0\0\1\0\0\0\0\0\0x")  # data of no stream
    with pytest.raises(StreamFailed, match="HTTP/2"):
        await peer.stream.read()


async def test_a_silent_peer_is_asked_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_stream, "_QUIET_SECONDS", 0.01)
    peer = Peer()
    reading = asyncio.create_task(peer.stream.read())
    while not any(isinstance(event, PingReceived) for event in peer.events):
        await asyncio.sleep(0.001)
    peer.deliver()  # its answer
    await asyncio.sleep(0)
    assert not reading.done()
    monkeypatch.setattr(etcd_stream, "_ANSWER_SECONDS", 0.01)
    with pytest.raises(StreamFailed, match="no sign of life"):
        await reading
