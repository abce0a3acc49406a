"""Connections: beyond a number the one that has been idle for longest goes, and who doesn't read is cut off."""

import asyncio

import orjson
import pytest
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated

from hypernetes.apiserver import connections
from hypernetes.apiserver.connections import Departures, Server


class Transport:
    def __init__(self):
        self.written, self.aborted, self.closed, self.buffered = b"", False, False, 0

    def write(self, data):
        self.written += data

    def abort(self):
        self.aborted = True

    def close(self):
        self.closed = True

    def set_write_buffer_limits(self, high):
        pass

    def get_write_buffer_size(self):
        return self.buffered

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self):
        return self.closed or self.aborted


class Connection:
    """As much of aiohttp's as its server looks at."""

    _task_handler = None


class Request:
    def __init__(self, connection, transport):
        self.protocol, self.transport = connection, transport


@pytest.fixture
async def server():
    async def handler(request):
        await request.protocol.answered.wait()

    return Server(handler, Departures(), limit=3)


def connect(server):
    connection, transport = Connection(), Transport()
    connection.answered = asyncio.Event()
    server.connection_made(connection, transport)
    return connection, transport


def connect_multiplexed(server):
    connection, transport = server.multiplexed(), Transport()
    connection.connection_made(transport)
    return connection, transport


async def ask(server, connection, transport):
    task = asyncio.create_task(server.request_handler(Request(connection, transport)))
    await asyncio.sleep(0)
    return task


async def test_the_one_that_is_idle_for_longest_makes_room(server):
    (first, first_transport), (_, second), (_, third) = [connect(server) for _ in range(3)]
    task = await ask(server, first, first_transport)
    _, newest = connect(server)
    assert [each.aborted for each in (first_transport, second, third, newest)] == [False, True, False, False]
    first.answered.set()
    await task  # it has just been busy: the third is idle for longer
    connect(server)
    assert [each.aborted for each in (first_transport, third)] == [False, True]


async def test_where_all_are_busy_a_new_one_is_told_to_come_back(server):
    tasks = [await ask(server, *connect(server)) for _ in range(3)]
    _, newest = connect(server)
    assert newest.closed
    head, _, body = newest.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 1" in head
    assert orjson.loads(body)["reason"] == "TooManyRequests"
    for task in tasks:
        task.cancel()


async def test_who_does_not_take_an_answer_is_cut_off_after_a_while(server, monkeypatch):
    _, quiet = connect(server)
    _, stuck = connect(server)
    stuck.buffered = 1
    server.cut_stalled()
    assert not stuck.aborted
    monkeypatch.setattr(connections, "STALLED_SECONDS", -1.0)
    server.cut_stalled()
    assert (stuck.aborted, quiet.aborted) == (True, False)


async def test_connections_that_are_gone_are_forgotten(server):
    for _ in range(10):
        connection, transport = connect(server)
        server.connection_lost(connection)
        assert not transport.aborted
    assert server.connections == []


async def test_connections_of_both_kinds_make_room_for_each_other(server):
    _, first = connect(server)
    _, second = connect_multiplexed(server)
    connect(server)
    connect_multiplexed(server)
    assert (first.aborted, second.aborted) == (True, False)


async def test_a_client_of_http_2_that_finds_no_room_is_told_so(server):
    tasks = [await ask(server, *connect(server)) for _ in range(3)]
    connection, transport = connect_multiplexed(server)
    assert transport.closed
    client = H2Connection()
    client.initiate_connection()
    events = client.receive_data(transport.written)
    assert [event.error_code for event in events if isinstance(event, ConnectionTerminated)] == [
        ErrorCodes.ENHANCE_YOUR_CALM
    ]
    connection.connection_lost(None)
    for task in tasks:
        task.cancel()


async def test_connections_of_http_2_are_closed_when_they_were_idle_for_long(server, monkeypatch):
    _, plain = connect(server)
    connection, idle = connect_multiplexed(server)
    busy_connection, busy = connect_multiplexed(server)
    server.busy(busy_connection)
    server.close_idle()
    assert not idle.closed
    monkeypatch.setattr(connections, "IDLE_SECONDS", -1.0)
    server.close_idle()
    assert (plain.closed, idle.closed, busy.closed) == (False, True, False)
    connection.connection_lost(None)
    server.rests(busy_connection)
    server.close_idle()
    assert busy.closed
