"""One client's connection, against the state machine of another library: what is answered, and what is cut short."""

import asyncio
import time

import orjson
import pytest
from aiohttp import web
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.http2.connection import CONNECTION_WINDOW_BYTES, QUEUED_BYTES, Connection
from hypernetes.apiserver.http2.states import MAX_STREAMS, STREAM_WINDOW_BYTES

LINE_BYTES = 32 * 1024
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/here")]
POST = [(":method", "POST"), *GET[1:]]


class Owner:
    def __init__(self):
        self.heard, self.gone = [], []

    def arrived(self, connection, transport):
        self.heard.append("arrived")

    def busy(self, connection):
        self.heard.append("busy")

    def rests(self, connection):
        self.heard.append("rests")

    def departed(self, stream):
        self.gone.append(stream.id)

    def lost(self, connection):
        self.heard.append("lost")

    def done(self, connection):
        self.heard.append("done")


class Transport:
    """Holds what is written; while it is full, the protocol is told to pause."""

    def __init__(self):
        self.protocol, self.written, self.closed, self.aborted = None, bytearray(), False, False
        self.full, self.reading, self.writes = False, True, 0

    def write(self, data):
        assert not self.closed
        self.written += data
        self.writes += 1
        if self.full and not self.protocol.output.paused:
            self.protocol.pause_writing()

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = self.aborted = True

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def get_extra_info(self, name, default=None):
        return {"peername": ("192.0.2.1", 5)}.get(name, default)


def made(message, body, protocol, writer, task):
    return web.BaseRequest(message, body, protocol, writer, task, asyncio.get_running_loop())


class Wire:
    """A client and the connection under test, byte for byte."""

    def __init__(self, handler):
        self.owner, self.transport = Owner(), Transport()
        self.connection = Connection(self.owner, handler, LINE_BYTES, made)
        self.transport.protocol = self.connection
        self.client = H2Connection(
            H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.client.initiate_connection()
        self.events = []
        self.connection.connection_made(self.transport)

    async def turn(self, raw=b""):
        """Carries what there is both ways until nobody has anything more to say."""
        for _ in range(20):
            data, raw = self.client.data_to_send() + raw, b""
            if data and not self.transport.closed:
                self.connection.data_received(data)
            for _ in range(4):
                await asyncio.sleep(0)
            if self.transport.written:
                received = bytes(self.transport.written)
                self.transport.written.clear()
                self.events += self.client.receive_data(received)

    def ask(self, number, fields=GET, *, end=True):
        self.client.send_headers(number, fields, end_stream=end)

    def of(self, kind, number=None):
        return [each for each in self.events if isinstance(each, kind) and (number is None or each.stream_id == number)]

    def status(self, number):
        return [dict(each.headers)[":status"] for each in self.of(ResponseReceived, number)]

    def body(self, number):
        return b"".join(each.data for each in self.of(DataReceived, number))

    def resets(self):
        return {each.stream_id: each.error_code for each in self.of(StreamReset)}

    @property
    def goodbye(self):
        return [each.error_code for each in self.of(ConnectionTerminated)]


def frames(data):
    """What the library above doesn't read any more once it has seen GOAWAY."""
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


async def hello(request):
    return web.Response(text=f"{request.method} {request.path_qs}")


class Gate:
    """A handler that answers once it is told to, and counts."""

    def __init__(self):
        self.open, self.begun = asyncio.Event(), 0

    async def __call__(self, request):
        self.begun += 1
        await self.open.wait()
        return web.Response(text="late")


async def test_requests_are_answered_each_on_its_stream():
    wire = Wire(hello)
    for number in (1, 3, 5):
        wire.ask(number)
    await wire.turn()
    for number in (1, 3, 5):
        assert wire.status(number) == ["200"]
        assert wire.body(number) == b"GET /here"
        assert len(wire.of(StreamEnded, number)) == 1
    assert wire.owner.heard == ["arrived", "busy", "rests"]
    names = [name for name, _ in wire.of(ResponseReceived, 1)[0].headers]
    assert "content-length" in names
    assert not {"connection", "transfer-encoding"} & set(names)


async def test_what_a_request_knows_of_its_client():
    seen = []

    async def handler(request):
        seen.append((request.host, request.remote, request.body_exists, request.transport.get_extra_info("nothing")))
        return web.Response(status=204)

    wire = Wire(handler)
    wire.ask(1)
    await wire.turn()
    assert seen == [("x", "192.0.2.1", False, None)]
    assert wire.status(1) == ["204"]
    assert wire.body(1) == b""


async def test_answers_to_many_go_out_in_one_write():
    gate = Gate()
    wire = Wire(gate)
    for number in range(1, 41, 2):
        wire.ask(number)
    await wire.turn()
    before = wire.transport.writes
    gate.open.set()
    await wire.turn()
    assert wire.transport.writes - before <= 2
    assert all(wire.body(number) == b"late" for number in range(1, 41, 2))


async def test_a_body_comes_as_it_is_read_and_no_more_of_it():
    read = []
    go_on = asyncio.Event()

    async def handler(request):
        await go_on.wait()
        while piece := await request.content.readany():
            read.append(len(piece))
        return web.Response(text="thanks")

    wire = Wire(handler)
    wire.ask(1, POST, end=False)
    await wire.turn()
    sent = 0
    while (room := min(wire.client.local_flow_control_window(1), wire.client.max_outbound_frame_size)) > 0:
        wire.client.send_data(1, b"a" * room)
        sent += room
        await wire.turn()
    assert sent == STREAM_WINDOW_BYTES  # all that waits to be read
    go_on.set()
    await wire.turn()
    assert wire.client.local_flow_control_window(1) > STREAM_WINDOW_BYTES // 2
    wire.client.send_data(1, b"", end_stream=True)
    await wire.turn()
    assert (sum(read), wire.body(1)) == (sent, b"thanks")


async def test_bodies_that_nobody_reads_fill_no_more_than_the_connection_may_hold():
    wire = Wire(Gate())
    sent = 0
    for number in range(1, 41, 2):
        wire.ask(number, POST, end=False)
        await wire.turn()
        while (room := min(wire.client.local_flow_control_window(number), 16_384)) > 0:
            wire.client.send_data(number, b"a" * room)
            sent += room
        await wire.turn()
    assert sent == CONNECTION_WINDOW_BYTES


async def test_the_rest_of_a_body_that_nobody_wants_is_declined_and_its_room_given_back():
    wire = Wire(hello)
    wire.ask(1, POST, end=False)
    wire.client.send_data(1, b"a" * 16_384)
    await wire.turn()
    assert wire.status(1) == ["200"]
    assert wire.resets() == {1: ErrorCodes.NO_ERROR}
    for number in range(3, 203, 2):  # more than a connection's window in all
        wire.ask(number, POST, end=False)
        wire.client.send_data(number, b"a" * 16_384)
        await wire.turn()
        assert wire.status(number) == ["200"]


async def test_a_large_answer_waits_for_the_clients_windows():
    written = []

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(10):
            await response.write(bytes([number]) * 50_000)
            written.append(number)
        await response.write_eof()
        return response

    wire = Wire(handler)
    wire.ask(1)
    await wire.turn()
    assert written == [0]  # the window is 65,535 bytes
    for _ in range(200):
        taken = sum(each.flow_controlled_length for each in wire.of(DataReceived, 1))
        acknowledged = getattr(wire, "acknowledged", 0)
        if taken > acknowledged:
            wire.client.acknowledge_received_data(taken - acknowledged, 1)
        wire.acknowledged = taken
        await wire.turn()
        if wire.of(StreamEnded, 1):
            break
    assert wire.body(1) == b"".join(bytes([number]) * 50_000 for number in range(10))


async def test_streams_take_turns_when_there_is_room_again():
    async def handler(request):
        return web.Response(body=b"a" * 100_000)

    wire = Wire(handler)
    wire.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for number in (1, 3):
        wire.ask(number)
    await wire.turn()
    assert wire.body(1) == wire.body(3) == b""
    wire.client.increment_flow_control_window(40_000, 1)
    wire.client.increment_flow_control_window(40_000, 3)
    await wire.turn()
    order = [each.stream_id for each in wire.of(DataReceived)]
    assert order[:4] == [1, 3, 1, 3]


async def test_who_opens_no_window_is_asked_to_wait_with_more_requests():
    async def handler(request):
        return web.Response(body=b"a" * 128 * 1024)

    wire = Wire(handler)
    wire.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for number in range(1, 41, 2):
        wire.ask(number)
        await wire.turn()
    refused = [number for number, code in wire.resets().items() if code == ErrorCodes.REFUSED_STREAM]
    assert refused
    assert 128 * 1024 * (20 - len(refused)) <= QUEUED_BYTES + 128 * 1024


async def test_an_answer_that_is_not_taken_is_broken_off_after_a_while():
    async def handler(request):
        return web.Response(body=b"a" * 100_000)

    wire = Wire(handler)
    wire.ask(1)
    await wire.turn()
    now = asyncio.get_running_loop().time()
    assert wire.connection.cut_stalled(now - 60) == 0
    assert wire.connection.cut_stalled(now + 1) == 1
    await wire.turn()
    assert wire.resets() == {1: ErrorCodes.INTERNAL_ERROR}
    assert wire.owner.heard[-1] == "rests"


async def test_who_reads_nothing_is_not_listened_to():
    wire = Wire(hello)
    await wire.turn()
    wire.transport.full = True
    wire.client.ping(b"12345678")
    wire.connection.data_received(wire.client.data_to_send())
    await asyncio.sleep(0)
    assert not wire.transport.reading
    wire.transport.full = False
    wire.connection.resume_writing()
    assert wire.transport.reading
    await wire.turn()
    assert len([each for each in wire.events if isinstance(each, PingAckReceived)]) == 1


async def test_a_reset_tells_who_serves_the_stream_and_only_that():
    gate = Gate()
    wire = Wire(gate)
    for number in (1, 3):
        wire.ask(number)
    await wire.turn()
    wire.client.reset_stream(1, ErrorCodes.CANCEL)
    await wire.turn()
    assert wire.owner.gone == [1]
    gate.open.set()
    await wire.turn()
    assert (wire.status(1), wire.body(3)) == ([], b"late")
    assert wire.goodbye == []


async def test_a_lost_connection_tells_all_and_is_done_when_the_last_handler_is():
    gate = Gate()
    wire = Wire(gate)
    for number in (1, 3):
        wire.ask(number)
    await wire.turn()
    wire.transport.closed = True
    wire.connection.connection_lost(None)
    assert sorted(wire.owner.gone) == [1, 3]
    assert wire.owner.heard == ["arrived", "busy", "lost"]
    gate.open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert wire.owner.heard == ["arrived", "busy", "lost", "done"]


async def test_an_answer_that_fails_in_the_middle_does_not_look_whole():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return web.Response()

    wire = Wire(handler)
    wire.ask(1)
    await wire.turn()
    assert wire.body(1) == b"half"
    assert wire.resets() == {1: ErrorCodes.INTERNAL_ERROR}
    assert wire.of(StreamEnded) == []


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, ("x", "a\0b")], [*GET, ("X-Upper", "a")], [*GET, ("connection", "close")], GET[:3],
        [*GET, ("x", "a" * (LINE_BYTES + 1))], [*GET, *[("x", "a")] * 200],
    ],
)  # fmt: skip
async def test_a_malformed_request_is_a_status_and_others_go_on(fields):
    gate = Gate()
    wire = Wire(gate)
    wire.ask(1)
    wire.ask(3, fields)
    await wire.turn()
    assert wire.status(3) == ["400"]
    assert orjson.loads(wire.body(3))["reason"] == "BadRequest"
    gate.open.set()
    await wire.turn()
    assert wire.body(1) == b"late"


async def test_who_has_no_credential_may_ask_again_on_another_connection():
    async def handler(request):
        return web.Response(status=401)

    wire = Wire(handler)
    wire.ask(1)
    await wire.turn()
    assert (wire.status(1), wire.goodbye) == (["401"], [ErrorCodes.NO_ERROR])
    assert wire.transport.closed


async def test_an_idle_connection_says_goodbye():
    wire = Wire(hello)
    wire.ask(1)
    await wire.turn()
    wire.connection.close()
    await wire.turn()
    assert (wire.goodbye, wire.transport.closed) == ([ErrorCodes.NO_ERROR], True)


async def test_at_the_end_requests_under_way_are_answered_and_new_ones_sent_elsewhere():
    gate = Gate()
    wire = Wire(gate)
    wire.ask(1)
    await wire.turn()
    wire.connection.close()
    wire.client.send_headers(3, GET, end_stream=True)  # was under way already
    wire.connection.data_received(wire.client.data_to_send())
    ending = asyncio.create_task(wire.connection.shutdown(60))
    await asyncio.sleep(0)
    gate.open.set()
    await ending
    assert [(type(frame), frame.stream_id) for frame in frames(bytes(wire.transport.written))] == [
        (GoAwayFrame, 0), (RstStreamFrame, 3), (HeadersFrame, 1), (DataFrame, 1),
    ]  # fmt: skip
    assert gate.begun == 1
    assert wire.transport.closed


async def test_at_the_end_who_takes_too_long_is_ended():
    wire = Wire(Gate())
    wire.ask(1)
    await wire.turn()
    await wire.connection.shutdown(0)
    assert wire.transport.closed
    assert wire.owner.gone == [1]


async def test_streams_at_once_have_a_bound_and_so_have_handlers_whose_streams_were_reset():
    gate = Gate()
    wire = Wire(gate)
    await wire.turn()
    assert wire.client.remote_settings.max_concurrent_streams == MAX_STREAMS
    number = 1
    for _ in range(MAX_STREAMS + 50):
        wire.ask(number)
        wire.client.reset_stream(number, ErrorCodes.CANCEL)
        number += 2
    wire.ask(number)
    await wire.turn()
    assert gate.begun == MAX_STREAMS
    assert wire.resets()[number] == ErrorCodes.REFUSED_STREAM
    gate.open.set()
    await wire.turn()
    wire.ask(number + 2)
    await wire.turn()
    assert wire.body(number + 2) == b"late"


async def test_resets_in_rapid_succession_end_the_connection():
    wire = Wire(hello)
    number, began = 1, time.monotonic()
    for _ in range(60):
        for _ in range(50):
            wire.ask(number)
            wire.client.reset_stream(number, ErrorCodes.CANCEL)
            number += 2
        wire.connection.data_received(wire.client.data_to_send())
        await asyncio.sleep(0)
        if wire.transport.closed:
            break
    assert wire.transport.closed
    # A thousand at once, 33 a second, and what was sent before the end was seen.
    assert number / 2 < 1000 + 33 * (time.monotonic() - began) + 100
    wire.events += wire.client.receive_data(bytes(wire.transport.written))
    assert wire.goodbye == [ErrorCodes.ENHANCE_YOUR_CALM]


def changed_settings():
    frame = SettingsFrame(0)
    frame.settings = {SettingCodes.INITIAL_WINDOW_SIZE: 70_000}
    return frame


EMPTY = {
    "pings": PingFrame(0, opaque_data=b"12345678").serialize(),
    "settings": changed_settings().serialize(),
    "priorities": PriorityFrame(3, depends_on=0, stream_weight=1).serialize(),
    "empty data": DataFrame(1).serialize(),
    "small windows": WindowUpdateFrame(1, window_increment=1).serialize(),
    "unknown frames": b"\0\0\0\xbb\0\0\0\0\0",
}


@pytest.mark.parametrize("flood", EMPTY)
async def test_frames_that_bring_nothing_have_a_bound(flood):
    wire = Wire(Gate())
    wire.ask(1, POST, end=False)
    await wire.turn()
    sent = 0
    while not wire.transport.closed and sent < 10_000:
        wire.connection.data_received(EMPTY[flood])
        await asyncio.sleep(0)
        sent += 1
    assert 1500 < sent < 2500
    assert wire.owner.gone == [1]


async def test_headers_that_do_not_end_have_a_bound():
    wire = Wire(hello)
    await wire.turn()
    frame = HeadersFrame(1, data=b"")
    wire.connection.data_received(frame.serialize())
    received = 0
    while not wire.transport.closed and received < 10_000_000:
        raw = ContinuationFrame(1, data=b"\x00" * 16_000).serialize()
        wire.connection.data_received(raw)
        received += len(raw)
    assert wire.transport.closed
    assert received < 128 * 1024


async def test_headers_that_swell_have_a_bound():
    wire = Wire(hello)
    await wire.turn()
    wire.ask(1, [*GET, ("x-bomb", "a" * 4000)])
    await wire.turn()
    wire.ask(3, [*GET, *[("x-bomb", "a" * 4000)] * 100])  # some hundred bytes on the wire
    await wire.turn()
    assert wire.transport.closed
    assert wire.goodbye == [ErrorCodes.ENHANCE_YOUR_CALM]


async def test_the_client_can_not_make_us_keep_a_large_table_of_headers():
    numbers = iter(range(10_000))

    async def handler(request):
        return web.Response(status=204, headers={"x-other": f"{next(numbers)}" * 50})

    wire = Wire(handler)
    wire.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 10_000_000})
    for number in range(1, 101, 2):
        wire.ask(number)
        await wire.turn()
        assert wire.status(number) == ["204"]
    assert wire.connection._http.encoder.header_table_size <= 4096


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"\xff" * 100])
async def test_what_is_no_http_2_ends_the_connection(noise):
    wire = Wire(hello)
    wire.connection.data_received(noise)
    assert wire.transport.closed


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 4, 6, 7, 8, 9, 200]),  # types, of which the last is none
        st.sampled_from([0, 1, 4, 5, 8, 0x2D, 0xFF]),  # flags
        st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
        st.sampled_from([b"", b"\0\0\0\x08", b"\0\x04\xff\xff\xff\xff", b"\x82\x87\x84\x41\x01x", b"\x7f\xff\xff\xff"])
        | st.binary(max_size=40),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(FRAMES, st.integers(0, 200))
def test_any_frames_do_no_harm(sent, cut):
    asyncio.run(survives(sent, cut))


async def survives(sent, cut):
    async def echo(request):
        return web.Response(body=await request.content.read() + b"a" * 100_000)

    wire = Wire(echo)
    wire.ask(1, POST, end=False)
    data = wire.client.data_to_send() + b"".join(
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + payload
        for kind, flags, number, payload in sent
    )
    for piece in (data[:cut], data[cut:]):
        wire.connection.data_received(piece)
        for _ in range(4):
            await asyncio.sleep(0)
    wire.transport.closed = True
    wire.connection.connection_lost(None)
    for _ in range(4):
        await asyncio.sleep(0)
    assert wire.owner.heard[-1] == "done"


async def test_a_block_of_headers_that_is_none_ends_the_connection():
    wire = Wire(hello)
    await wire.turn(HeadersFrame(1, data=b"\x40", flags=["END_HEADERS", "END_STREAM"]).serialize())
    assert wire.transport.closed
    assert len(wire.goodbye) == 1
