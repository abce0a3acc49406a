"""The way to an APIService's server: a pod of its service, through the agent of that pod's node; TLS inside."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from yarl import URL

from hypernetes.api.status import StatusError
from hypernetes.apiserver import proxy
from hypernetes.apiserver.aggregation.identity import Headers
from hypernetes.apiserver.aggregation.registered import Registered
from hypernetes.apiserver.dialer import Dialer
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.proxy import Target, finding
from hypernetes.apiserver.proxy.connection import TLS, OneConnection
from hypernetes.apiserver.proxy.relay import unanswered

_PIECE_BYTES = 64 << 10


class Reach:
    """`certificate` and `key` are hn-apiserver's own: by them the servers know that it is the one who asks."""

    def __init__(self, mirror: Mirror, dialer: Dialer, certificate: Path, key: Path) -> None:
        self._mirror, self._dialer = mirror, dialer
        self._certificate, self._key = certificate, key

    @asynccontextmanager
    async def connection(self, registered: Registered) -> AsyncIterator[socket.socket]:
        """To one of the service's pods. The socket is the caller's to close. Raises StatusError."""
        tenant, namespace = registered.tenant, registered.namespace
        target = Target("https", registered.service, str(registered.port))
        port = finding.endpoint(self._mirror, tenant, namespace, target)
        pod = finding.pod(self._mirror, tenant, namespace, port)
        agent = finding.agent(self._mirror, pod["spec"].get("nodeName") or "")
        way = finding.way(tenant, namespace, port)
        async with proxy.tunnel(self._dialer, agent, way, [("uid", pod["metadata"]["uid"])]) as connection:
            yield connection

    def tls(self, registered: Registered) -> TLS:
        """Made anew for each connection: the certificate may have been renewed. Raises StatusError 503."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate, self._key)
        if registered.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif registered.ca_bundle:
            try:
                # Between certificates people write what they like, which OpenSSL's binding takes in ASCII only.
                context.load_verify_locations(cadata=registered.ca_bundle.decode("ascii", errors="ignore"))
            except (ssl.SSLError, ValueError, TypeError) as error:
                raise StatusError("ServiceUnavailable", "spec.caBundle holds no usable certificate") from error
        else:
            context.load_default_certs()
        return TLS(context, registered.host)

    async def fetch(
        self, registered: Registered, path: str, headers: Headers, *, limit: int, seconds: float
    ) -> tuple[int, bytes]:
        """Code and body of a GET; a body of `limit` bytes at most. Raises StatusError 503."""
        url = URL.build(scheme="https", host=registered.host, port=registered.port, path=path)
        try:
            async with asyncio.timeout(seconds), self.connection(registered) as connection:
                connector = OneConnection(connection, self.tls(registered))
                try:
                    return await _get(connector, url, headers, limit)
                finally:
                    connector.abandon()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unanswered(error) from error


async def _get(connector: OneConnection, url: URL, headers: Headers, limit: int) -> tuple[int, bytes]:
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
    asked = [*headers, ("Accept", "application/json"), ("Accept-Encoding", "identity")]
    async with session, session.get(url, headers=asked, allow_redirects=False) as answer:
        body = b""
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            body += piece
            if len(body) > limit:
                raise StatusError("ServiceUnavailable", f"it answers with more than {limit} bytes")
        return answer.status, body
