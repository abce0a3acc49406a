"""HTTP over a socket that is open already."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest


@dataclass(frozen=True, slots=True)
class TLS:
    """How it is begun, and whom the certificate must name; "": whoever."""

    context: ssl.SSLContext
    server_name: str


def unchecked() -> TLS:
    """Without a look at the certificate, as upstream's proxy does: a pod's certificate is signed by whoever, and who
    answers is settled by the tunnel."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TLS(context, "")


class OneConnection(aiohttp.BaseConnector):
    """A connector whose only connection is this socket. `tls` None: unchecked, where the URL asks for TLS at all."""

    def __init__(self, connection: socket.socket, tls: TLS | None = None) -> None:
        super().__init__(force_close=True)
        self._connection: socket.socket | None = connection
        self._tls = tls

    async def _create_connection(self, req: ClientRequest, traces: Any, timeout: Any) -> ResponseHandler:
        connection, self._connection = self._connection, None
        if connection is None:
            raise aiohttp.ClientConnectionError("the connection was used already")
        options: dict[str, Any] = {}
        if req.is_ssl():
            tls = self._tls or unchecked()
            options = {"ssl": tls.context, "server_hostname": tls.server_name}
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_unix_connection(lambda: ResponseHandler(loop), sock=connection, **options)
        return protocol

    def abandon(self) -> None:
        """Closes the socket if no connection came of it."""
        if self._connection is not None:
            self._connection.close()
