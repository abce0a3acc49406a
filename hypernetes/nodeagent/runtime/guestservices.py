"""Answering a guest: its DNS questions and its connections to the API, carried to base.GuestServices.

A guest may ask as much as it likes: what is in progress is bounded, and what goes beyond is dropped (a resolver asks
again) or closed.
"""

import asyncio
import contextlib

import dns.exception
import structlog

from hypernetes.nodeagent import dns as cluster_dns
from hypernetes.nodeagent.runtime.base import ByteStream, GuestServices, MachineError
from hypernetes.nodeagent.runtime.link import GuestLink
from hypernetes.nodeagent.runtime.state import MachineRecord
from hypernetes.nodeagent.runtime.streams import LinkStream

log = structlog.get_logger(__name__)

RESOLVERS = 8
QUESTIONS_MAX = 64
CONNECTIONS_MAX = 64
RESOLVE_SECONDS = 10.0
CONNECT_SECONDS = 10.0
LINGER_SECONDS = 30.0
API_PORT = 443


class GuestServer:
    def __init__(self, record: MachineRecord, services: GuestServices) -> None:
        self._record = record
        self._machine_id = record.id
        self._services = services
        self._questions: asyncio.Queue[tuple[GuestLink, int, bytes, bool]] = asyncio.Queue(QUESTIONS_MAX)
        self._connections: asyncio.Queue[tuple[GuestLink, LinkStream]] = asyncio.Queue(CONNECTIONS_MAX)
        self._open = asyncio.Semaphore(CONNECTIONS_MAX)

    def ask(self, link: GuestLink, id_: int, question: bytes, *, udp: bool) -> None:
        if not self._questions.full():
            self._questions.put_nowait((link, id_, question, udp))

    def connect(self, link: GuestLink, stream: LinkStream) -> None:
        if self._connections.full():
            stream.refuse()
        else:
            self._connections.put_nowait((link, stream))

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Serves until cancelled; its tasks live in `group`."""
        for _ in range(RESOLVERS):
            group.create_task(self._resolve_all())
        while True:
            link, stream = await self._connections.get()
            await self._open.acquire()
            group.create_task(self._carry(link, stream))

    async def _resolve_all(self) -> None:
        while True:
            link, id_, question, udp = await self._questions.get()
            try:
                async with asyncio.timeout(RESOLVE_SECONDS):
                    answer = await self._services.resolve(question, udp=udp)
            except dns.exception.DNSException as error:
                log.info("a DNS question can't be answered", machine=self._machine_id, error=str(error))
                if len(question) < cluster_dns.HEADER_BYTES:
                    continue
                answer = cluster_dns.failure(question)
            except (OSError, TimeoutError, ValueError) as error:
                log.info("a DNS question went unanswered", machine=self._machine_id, error=str(error))
                continue
            link.answer_question(id_, answer)

    async def _carry(self, link: GuestLink, stream: LinkStream) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                server = await self._services.connect(self._record.kubernetes_address, API_PORT)
        except (OSError, TimeoutError) as error:
            log.info("no connection to the API for the guest", machine=self._machine_id, error=str(error))
            stream.refuse()
            self._open.release()
            return
        try:
            link.accept(stream)
            async with asyncio.TaskGroup() as both:
                both.create_task(_upload(stream, server))
                both.create_task(_copy(server, stream))
        except* (OSError, MachineError) as errors:
            log.debug("a connection to the API broke", machine=self._machine_id, errors=str(errors.exceptions))
        finally:
            await stream.close()
            await server.close()
            self._open.release()


async def _upload(stream: ByteStream, server: ByteStream) -> None:
    """A server may refuse a request before it has read all of it: what it said still goes to the guest, and what the
    guest says is read on for a while, since a guest that can't send doesn't read."""
    try:
        await _copy(stream, server)
    except ConnectionError:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await stream.read():
                    pass


async def _copy(source: ByteStream, target: ByteStream) -> None:
    while data := await source.read():
        await target.write(data)
    await target.close_write()
