"""Logs, exec and attach: bytes carried between a client and the agent of the pod's node.

    client ──HTTP──► log ──HTTP──► agent
    client ◄─WebSocket─► exec ◄─WebSocket─► agent      (v5 or v4.channel.k8s.io, the messages unopened)

Nothing is buffered but what the two sockets hold: a side that doesn't read stops the other. What is wrong with the
request is a Status with its code; what the agent says against it is one too for a log, and for a WebSocket a Status on
its error channel, as upstream does it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import podstreams
from hypernetes.apiserver.connections import gone
from hypernetes.apiserver.dialer import (
    CLOSE_SECONDS,
    HEARTBEAT_SECONDS,
    MAX_MESSAGE_BYTES,
    Agent,
    Dialer,
    Query,
)
from hypernetes.apiserver.podstreams import Stream

SILENCE_SECONDS = 60.0  # an agent that says nothing for so long while it isn't following is given up
LOOK_SECONDS = 5.0  # how often a silent log looks whether its client is still there
_ERROR_CHANNEL = b"\x03"
_UNSENDABLE_CODES = (1005, 1006, 1015)  # RFC 6455 §7.4.1: never in a frame

Object = Mapping[str, Any]
Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

log = structlog.get_logger()


async def read_log(
    request: web.BaseRequest, dialer: Dialer, tenant: str, pod: Object, node: dict[str, Any] | None
) -> web.StreamResponse:
    """`GET …/pods/NAME/log`; `node` is the Node of spec.nodeName. StatusError for what can't be answered."""
    stream = podstreams.log(pod, request.query)
    if not stream.node:
        return web.Response(status=204)  # not scheduled, so there is nothing to read yet
    agent = Agent.of(node, stream.node)
    silence = None if stream.follow else SILENCE_SECONDS
    parts = _parts("containerLogs", tenant, pod, stream)
    async with dialer.get(agent, parts, _query(pod, stream), silence_seconds=silence) as source:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            await _copy(source, response, request)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            if gone(request):
                log.debug("the reader of a log went away", node=agent.node)
            else:
                # The answer has begun. Without its last chunk the client learns that it isn't whole.
                log.warning("a log broke off", node=agent.node, error=str(error))
                _cut(request)
        return response


async def execute(
    request: web.BaseRequest, dialer: Dialer, tenant: str, pod: Object, node: dict[str, Any] | None
) -> web.StreamResponse:
    """`…/pods/NAME/exec` as a WebSocket; otherwise as `read_log`."""
    stream = podstreams.execution(pod, request.query)
    parts = _parts("exec", tenant, pod, stream)
    return await _attach(request, dialer, parts, _query(pod, stream), stream.node, node)


async def attach(
    request: web.BaseRequest, dialer: Dialer, tenant: str, pod: Object, node: dict[str, Any] | None
) -> web.StreamResponse:
    """`…/pods/NAME/attach` as a WebSocket; otherwise as `read_log`."""
    stream = podstreams.attachment(pod, request.query)
    parts = _parts("attach", tenant, pod, stream)
    return await _attach(request, dialer, parts, _query(pod, stream), stream.node, node)


async def _attach(
    request: web.BaseRequest, dialer: Dialer, parts: list[str], query: Query, name: str, node: dict[str, Any] | None
) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() != "websocket" or request.method != "GET":
        raise StatusError("BadRequest", "Upgrade request required: streams are WebSockets")
    protocol = podstreams.choose_protocol(request.headers.get("Sec-WebSocket-Protocol", ""))
    near = web.WebSocketResponse(
        protocols=(protocol,), heartbeat=HEARTBEAT_SECONDS, timeout=CLOSE_SECONDS, max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,
    )  # fmt: skip
    try:
        far = await dialer.websocket(Agent.of(node, name), parts, query, protocol)
    except StatusError as error:
        # A refused upgrade makes kubectl try SPDY next, and show what becomes of that instead of this.
        await near.prepare(request)
        await near.send_bytes(_ERROR_CHANNEL + orjson.dumps(error.to_dict()))
        await near.close()
        return near
    try:
        await near.prepare(request)
        async with asyncio.TaskGroup() as group:
            group.create_task(relay_messages(near, far))
            group.create_task(relay_messages(far, near))
    finally:
        await far.close()
    return near


async def relay_messages(source: Socket, target: Socket) -> None:
    """Carries messages until the source is closed, and then closes the target, which ends the other direction."""
    code: int = WSCloseCode.GOING_AWAY
    try:
        async for message in source:
            if message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            else:  # an error in the protocol: a frame too large, a dead peer
                break
        if source.close_code is not None and source.close_code not in _UNSENDABLE_CODES:
            code = source.close_code
    except ConnectionError:
        log.debug("a stream's other end went away")
    finally:
        await target.close(code=code)


async def _copy(source: aiohttp.ClientResponse, target: web.StreamResponse, request: web.BaseRequest) -> None:
    """Writes what comes as it comes. A silent log looks now and then whether there is still a reader."""
    read = asyncio.ensure_future(source.content.readany())
    try:
        while True:
            done, _ = await asyncio.wait({read}, timeout=LOOK_SECONDS)
            if gone(request):
                raise ConnectionResetError("the reader went away")
            if not done:
                continue
            chunk = read.result()
            if not chunk:
                break
            await target.write(chunk)
            read = asyncio.ensure_future(source.content.readany())
    finally:
        read.cancel()
        await asyncio.wait({read})
    await target.write_eof()


def _cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def _parts(verb: str, tenant: str, pod: Object, stream: Stream) -> list[str]:
    metadata = pod["metadata"]
    return [verb, tenant, metadata["namespace"], metadata["name"], stream.container]


def _query(pod: Object, stream: Stream) -> Query:
    """With the UID: a pod that ends may have a successor of its name on the same node."""
    return [("uid", pod["metadata"]["uid"]), *stream.query]
