"""What a guest may ask of its node: names, and a connection to the API server. Its network has a path to neither."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import structlog

from hypernetes.nodeagent import dns
from hypernetes.nodeagent.forwarding import Forwarder, ForwardError
from hypernetes.nodeagent.runtime.base import ByteStream

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
READ_BYTES = 64 * 1024
# Of one pod at a time: a guest can't make the agent hold more than these.
MAX_CONNECTIONS = 256
MAX_QUESTIONS = 64
MAX_MESSAGE_BYTES = 65535


class TcpStream:
    """A `ByteStream` over a socket of the host. Its directions fail apart: a server that takes no more may still have
    said something, which asyncio's own streams would throw away."""

    def __init__(self, connection: socket.socket, closed: Callable[[], None]) -> None:
        self._connection, self._closed = connection, closed
        self._open = True

    async def read(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._connection, READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, data)

    async def close_write(self) -> None:
        with contextlib.suppress(OSError):  # the other side has closed it already
            self._connection.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._connection.close()
            self._closed()


async def _dial(host: str, port: int) -> socket.socket:
    """A connection to the first address of `host` that takes one. Raises OSError."""
    loop = asyncio.get_running_loop()
    error: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, address)
        except BaseException as problem:
            connection.close()
            if not isinstance(problem, OSError):
                raise
            error = problem
        else:
            return connection
    raise error or OSError(f"{host} has no address")


class GuestAccess:
    """`GuestServices` of one pod."""

    def __init__(self, view: dns.View, forwarder: Forwarder, api_host: str, api_port: int) -> None:
        self._view, self._forwarder = view, forwarder
        self._api = (api_host, api_port)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def resolve(self, question: bytes, *, udp: bool) -> bytes:
        """Raises ValueError for bytes that have no DNS header and so can't be answered."""
        if len(question) > MAX_MESSAGE_BYTES:
            raise ValueError("a DNS message of more than 65535 bytes")
        answer = await self._answer(question)
        return dns.fit(answer, question) if udp else answer

    async def _answer(self, question: bytes) -> bytes:
        answer = dns.answer(question, self._view)
        if answer is not None:
            return answer
        async with self._questions:
            try:
                return await self._forwarder.ask(question)
            except ForwardError as error:
                log.debug("dns.forward.failed", error=str(error))
                return dns.failure(question)

    async def connect(self, address: str, port: int) -> ByteStream:
        """The API server, whatever the guest says it wants: nothing else is behind this link. Raises OSError."""
        if self._connections.locked():
            raise OSError(f"this pod has {MAX_CONNECTIONS} connections to the API open already")
        await self._connections.acquire()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await _dial(*self._api)
        except BaseException as error:
            self._connections.release()
            if isinstance(error, TimeoutError):
                raise OSError("the API server did not answer in time") from error
            raise
        return TcpStream(connection, self._connections.release)
