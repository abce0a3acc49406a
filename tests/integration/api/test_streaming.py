"""Streams through a real TLS connection to an agent that a test plays, with the cluster's own kind of certificates."""

import asyncio
import json
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import streaming
from hypernetes.apiserver.dialer import Agent, Dialer
from hypernetes.pki.contexts import client_context, server_context
from hypernetes.pki.directory import PkiDirectory

CLUSTER = "abc123"
V5 = "v5.channel.k8s.io"
POD = {
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
    "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
    "status": {"phase": "Running"},
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = PkiDirectory(tmp_path_factory.mktemp("pki"), CLUSTER)
    now = datetime.now(UTC)
    directory.ensure_authority(now)
    for role in ("apiserver-kubelet-client", "node-n1", "node-other"):
        directory.ensure(role, now, addresses=("127.0.0.1",) if role.startswith("node-") else ())
    return directory


def node(port):
    return {
        "metadata": {"name": "n1"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }


class Cluster:
    """An agent played by the test, and an API server that has nothing but the streams."""

    def __init__(self, stack, pki):
        self._stack, self._pki = stack, pki
        self.seen = []

    async def start(self, agent_handler, pod=POD, certificate="node-n1"):
        context = server_context(
            self._pki.certificate(certificate),
            self._pki.key(certificate),
            self._pki.ca_certificate,
            require_client=True,
        )
        self.agent_port = await self._serve(agent_handler, context)
        role = "apiserver-kubelet-client"
        trust = client_context(self._pki.ca_certificate, self._pki.certificate(role), self._pki.key(role))
        dialer = await self._stack.enter_async_context(Dialer(trust))
        doors = {"log": streaming.read_log, "exec": streaming.execute, "attach": streaming.attach}

        async def serve(request):
            try:
                return await doors[request.path.strip("/")](request, dialer, "acme", pod, node(self.agent_port))
            except StatusError as error:
                return web.json_response(error.to_dict(), status=error.code)

        self.url = f"http://127.0.0.1:{await self._serve(serve)}"
        self.client = await self._stack.enter_async_context(aiohttp.ClientSession())
        return self

    async def _serve(self, handler, context=None):
        listener = socket.create_server(("127.0.0.1", 0))
        runner = web.ServerRunner(web.Server(handler, handler_cancellation=context is not None), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener, ssl_context=context).start()
        return listener.getsockname()[1]


@pytest.fixture
async def cluster(pki):
    async with AsyncExitStack() as stack:
        yield Cluster(stack, pki)


@asynccontextmanager
async def exec_socket(cluster, query="command=sh&stdin=true&stdout=true&stderr=true", protocols=(V5,)):
    async with cluster.client.ws_connect(f"{cluster.url}/exec?{query}", protocols=protocols) as socket_:
        yield socket_


async def test_a_log_is_read_from_the_agent_of_the_pods_node(cluster):
    async def agent(request):
        cluster.seen.append((request.path, sorted(request.query.items())))
        return web.Response(text="one\ntwo\n")

    await cluster.start(agent)
    async with cluster.client.get(f"{cluster.url}/log?tailLines=2&timestamps=true") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        assert await response.text() == "one\ntwo\n"
    assert cluster.seen == [
        ("/containerLogs/acme/shop/web/main", [("tailLines", "2"), ("timestamps", "true"), ("uid", "u1")])
    ]


async def test_a_followed_log_arrives_line_by_line_and_stops_when_the_reader_goes(cluster, monkeypatch):
    monkeypatch.setattr(streaming, "LOOK_SECONDS", 0.05)
    gone = asyncio.Event()

    async def agent(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        try:
            await asyncio.Event().wait()
        finally:  # cancelled when the connection ends
            gone.set()

    await cluster.start(agent)
    response = await cluster.client.get(f"{cluster.url}/log?follow=true")
    assert await response.content.readline() == b"first\n"
    response.close()
    async with asyncio.timeout(10):
        await gone.wait()


async def test_a_log_that_breaks_off_is_not_whole_for_the_client(cluster):
    async def agent(request):
        response = web.StreamResponse()
        response.content_length = 1000
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    await cluster.start(agent)
    with pytest.raises(aiohttp.ClientError):
        async with cluster.client.get(f"{cluster.url}/log") as response:
            await response.read()


async def test_the_agents_status_reaches_the_client(cluster):
    error = StatusError("BadRequest", 'container "main" in pod "web" is waiting to start: ErrImagePull')

    async def agent(request):
        return web.json_response(error.to_dict(), status=400)

    await cluster.start(agent)
    async with cluster.client.get(f"{cluster.url}/log") as response:
        assert (response.status, (await response.json())["message"]) == (400, error.message)
    # On a refused upgrade kubectl would try SPDY, and show the refusal of that.
    async with exec_socket(cluster) as socket_:
        message = (await socket_.receive()).data
        assert message[:1] == b"\x03"
        assert json.loads(message[1:])["message"] == error.message
        assert (await socket_.receive()).type is WSMsgType.CLOSE


async def test_a_body_that_is_no_status_stays_inside(cluster):
    async def agent(request):
        return web.Response(status=500, text="secret of the node")

    await cluster.start(agent)
    async with cluster.client.get(f"{cluster.url}/log") as response:
        assert response.status == 500
        assert "secret" not in await response.text()


async def test_exec_carries_messages_both_ways_and_closes_with_the_agents_code(cluster):
    async def agent(request):
        cluster.seen.append((request.path, list(request.query.items())))
        socket_ = web.WebSocketResponse(protocols=(V5,))
        await socket_.prepare(request)
        message = await socket_.receive()
        await socket_.send_bytes(b"\x01" + message.data[1:].upper())
        await socket_.send_bytes(b'\x03{"status":"Success"}')
        await socket_.close(code=1000)
        return socket_

    await cluster.start(agent)
    async with exec_socket(cluster, "command=sh&command=-c&command=echo+%3B&stdin=1&stdout=1") as socket_:
        assert socket_.protocol == V5
        await socket_.send_bytes(b"\x00hello")
        received = [message.data async for message in socket_]
        assert received == [b"\x01HELLO", b'\x03{"status":"Success"}']
        assert socket_.close_code == 1000
    words = [("command", "sh"), ("command", "-c"), ("command", "echo ;")]
    assert cluster.seen == [
        ("/exec/acme/shop/web/main", [("uid", "u1"), *words, ("stdin", "true"), ("stdout", "true")])
    ]


async def test_attaching_reaches_the_containers_own_process(cluster):
    async def agent(request):
        cluster.seen.append((request.path, list(request.query.items())))
        socket_ = web.WebSocketResponse(protocols=(V5,))
        await socket_.prepare(request)
        await socket_.send_bytes(b"\x01output")
        await socket_.close()
        return socket_

    await cluster.start(agent)
    async with cluster.client.ws_connect(f"{cluster.url}/attach?stdout=true", protocols=(V5,)) as socket_:
        assert [message.data async for message in socket_] == [b"\x01output"]
    assert cluster.seen == [("/attach/acme/shop/web/main", [("uid", "u1"), ("stdout", "true")])]


async def test_an_agent_of_another_protocol_is_an_error_of_the_stream(cluster):
    async def agent(request):
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        await socket_.close()
        return socket_

    await cluster.start(agent)
    async with exec_socket(cluster) as socket_:
        message = (await socket_.receive()).data
    assert message[:1] == b"\x03"
    assert json.loads(message[1:])["reason"] == "InternalError"


async def test_the_agent_learns_that_the_client_has_gone(cluster):
    ended = asyncio.get_running_loop().create_future()

    async def agent(request):
        socket_ = web.WebSocketResponse(protocols=(V5,))
        await socket_.prepare(request)
        await socket_.send_bytes(b"\x01ready")
        async for _ in socket_:
            pass
        ended.set_result(socket_.close_code)
        return socket_

    await cluster.start(agent)
    async with exec_socket(cluster) as socket_:
        assert (await socket_.receive()).data == b"\x01ready"
        socket_._response.connection.transport.abort()  # as a client that is killed
        async with asyncio.timeout(10):
            assert await ended == 1001


async def test_a_client_that_does_not_read_stops_the_agent_from_sending(cluster):
    sent = 0
    stalled = asyncio.Event()

    async def agent(request):
        nonlocal sent
        socket_ = web.WebSocketResponse(protocols=(V5,))
        await socket_.prepare(request)
        chunk = b"\x01" + bytes(32 << 10)
        while True:
            try:
                async with asyncio.timeout(1):
                    await socket_.send_bytes(chunk)
            except TimeoutError:
                stalled.set()
                return socket_
            sent += len(chunk)
            assert sent < 256 << 20, "nothing holds the agent back"

    await cluster.start(agent)
    async with exec_socket(cluster) as socket_:
        await socket_.receive()
        socket_._response.connection.transport.pause_reading()
        async with asyncio.timeout(60):
            await stalled.wait()
        socket_._response.connection.transport.abort()


async def test_a_message_too_large_ends_the_stream_on_both_sides(cluster):
    ended = asyncio.get_running_loop().create_future()

    async def agent(request):
        socket_ = web.WebSocketResponse(protocols=(V5,))
        await socket_.prepare(request)
        async for _ in socket_:
            pass
        ended.set_result(True)
        return socket_

    await cluster.start(agent)
    async with exec_socket(cluster) as socket_:
        await socket_.send_bytes(bytes(2 << 20))
        message = await socket_.receive(timeout=10)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
        async with asyncio.timeout(10):
            assert await ended


async def test_an_older_client_gets_the_older_protocol_and_an_unknown_one_is_refused(cluster):
    async def agent(request):
        socket_ = web.WebSocketResponse(protocols=(V5, "v4.channel.k8s.io"))
        await socket_.prepare(request)
        await socket_.close()
        return socket_

    await cluster.start(agent)
    async with exec_socket(cluster, protocols=("v4.channel.k8s.io",)) as socket_:
        assert socket_.protocol == "v4.channel.k8s.io"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with exec_socket(cluster, protocols=("base64.channel.k8s.io",)):
            pass
    assert refused.value.status == 400
    async with cluster.client.post(f"{cluster.url}/exec?command=ls&stdout=true") as response:
        assert (response.status, (await response.json())["reason"]) == (400, "BadRequest")


async def test_another_nodes_certificate_is_not_accepted(cluster):
    async def agent(request):
        return web.Response(text="not mine")

    await cluster.start(agent, certificate="node-other")
    # Both certificates say 127.0.0.1, so only the node's name tells them apart.
    async with cluster.client.get(f"{cluster.url}/log") as response:
        body = await response.json()
    assert (response.status, body["reason"]) == (503, "ServiceUnavailable")
    assert "127.0.0.1" not in body["message"]


async def test_a_dead_agent_is_unavailable(cluster, pki):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    async with Dialer(client_context(pki.ca_certificate)) as dialer:
        with pytest.raises(StatusError) as refused:
            await dialer.websocket(Agent("n1", "127.0.0.1", port), ["exec"], [], V5)
    assert refused.value.code == 503


async def test_an_agent_accepts_nobody_without_the_certificate(cluster, pki):
    await cluster.start(lambda request: None)
    anonymous = client_context(pki.ca_certificate)
    assert anonymous.verify_mode == ssl.CERT_REQUIRED
    async with Dialer(anonymous) as dialer:
        with pytest.raises(StatusError) as refused:
            async with dialer.get(Agent("n1", "127.0.0.1", cluster.agent_port), ["x"], [], silence_seconds=5):
                pass
    assert refused.value.code == 503


def test_a_node_that_says_no_address_or_port_is_unavailable():
    for status in ({}, {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}):
        with pytest.raises(StatusError) as refused:
            Agent.of({"status": status}, "n1")
        assert refused.value.code == 503
    with pytest.raises(StatusError):
        Agent.of(None, "n1")
