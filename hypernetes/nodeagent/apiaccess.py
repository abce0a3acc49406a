"""What a guest may ask of its node: names, and a connection to the API server. Its network has a path to neither."""

import asyncio

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
    """A `ByteStream` over a socket of the host."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close_write(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()


class _Counted(TcpStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slots: asyncio.Semaphore) -> None:
        super().__init__(reader, writer)
        self._slots: asyncio.Semaphore | None = slots

    async def close(self) -> None:
        await super().close()
        if self._slots is not None:
            self._slots.release()
            self._slots = None


class GuestAccess:
    """`GuestServices` of one pod."""

    def __init__(self, view: dns.View, forwarder: Forwarder, api_host: str, api_port: int) -> None:
        self._view, self._forwarder = view, forwarder
        self._api = (api_host, api_port)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def resolve(self, question: bytes) -> bytes:
        """Raises ValueError for bytes that have no DNS header and so can't be answered."""
        if len(question) > MAX_MESSAGE_BYTES:
            raise ValueError("a DNS message of more than 65535 bytes")
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
                reader, writer = await asyncio.open_connection(*self._api)
        except BaseException as error:
            self._connections.release()
            if isinstance(error, TimeoutError):
                raise OSError("the API server did not answer in time") from error
            raise
        return _Counted(reader, writer, self._connections)
