"""The portforward subresource of pods."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec, portforward
from hypernetes.apiserver.dialer import CLOSE_SECONDS, HEARTBEAT_SECONDS, Agent
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.reading import find
from hypernetes.apiserver.portforward import PROTOCOL
from hypernetes.apiserver.portforward.sessions import Connection
from hypernetes.apiserver.portforward.spdy import MAX_FRAME_BYTES
from hypernetes.apiserver.proxy import tunnel

_NODES = scheme.by_name("v1", "nodes")


async def forward(call: Call) -> web.StreamResponse:
    """Connections to the pod's loopback, as upstream's: what listens on the pod's address only isn't there."""
    offered = call.http.headers.get("Sec-WebSocket-Protocol", "")
    if call.http.headers.get("Upgrade", "").lower() != "websocket":
        raise StatusError("BadRequest", "Upgrade request required: ports are forwarded over WebSockets")
    if PROTOCOL not in [word.strip() for word in offered.split(",")]:
        raise StatusError("BadRequest", f"none of the offered subprotocols is known; known is {PROTOCOL}")
    await call.parts.freshness.now()
    entry = find(call)
    pod = codec.decode(entry.data, entry.revision)
    name, node = pod["metadata"]["name"], pod["spec"].get("nodeName") or ""
    if (pod.get("status") or {}).get("phase") != "Running" or not node:
        raise StatusError("BadRequest", f"unable to forward port because pod {name} is not running")
    found = call.parts.mirror.object(_NODES, SYSTEM_TENANT, "", node)
    agent = Agent.of(None if found is None else codec.decode(found.data, found.revision), node)
    query = [("uid", pod["metadata"]["uid"]), ("to", "loopback")]

    @asynccontextmanager
    async def connect(port: int) -> AsyncIterator[Connection]:
        parts = ["forward", call.one_tenant, call.route.namespace, name, str(port)]
        async with tunnel(call.parts.dialer, agent, parts, query) as connection:
            reader, writer = await asyncio.open_unix_connection(sock=connection)
            try:
                yield reader, writer
            finally:
                writer.close()

    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,), heartbeat=HEARTBEAT_SECONDS, timeout=CLOSE_SECONDS, compress=False,
        max_msg_size=2 * MAX_FRAME_BYTES,
    )  # fmt: skip
    await socket.prepare(call.http)
    await portforward.serve(socket, connect)
    await socket.close()
    return socket
