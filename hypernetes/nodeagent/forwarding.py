"""DNS questions about other people's names, carried to the node's own resolvers."""

import asyncio
import ipaddress
import secrets
from collections.abc import Sequence
from pathlib import Path

from hypernetes.nodeagent.hosts import NodeResolver

TRY_SECONDS = 2.0
_MAX_RESOLVERS = 3  # as resolv.conf(5)
_TRUNCATED = 0x02


class ForwardError(Exception):
    """No resolver of the node answered."""


def read_resolv_conf(path: Path = Path("/etc/resolv.conf")) -> NodeResolver:
    """The node's resolvers; none where the file is missing (forwarding then fails, cluster names still work)."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return NodeResolver((), ())
    nameservers: list[str] = []
    searches: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                nameservers.append(str(ipaddress.ip_address(words[1])))
            except ValueError:
                continue
        elif len(words) >= 2 and words[0] in ("search", "domain"):
            searches = words[1:]
    return NodeResolver(tuple(nameservers[:_MAX_RESOLVERS]), tuple(searches))


class Forwarder:
    """Asks one resolver after the other; by UDP, and by TCP where the answer was cut short."""

    def __init__(self, nameservers: Sequence[str], port: int = 53, try_seconds: float = TRY_SECONDS) -> None:
        self._nameservers, self._port, self._try_seconds = tuple(nameservers), port, try_seconds

    async def ask(self, question: bytes) -> bytes:
        """The answer in wire form, with the question's own id. Raises ForwardError."""
        problems = []
        for nameserver in self._nameservers:
            try:
                async with asyncio.timeout(self._try_seconds):
                    return await self._ask_one(nameserver, question)
            except TimeoutError:
                problems.append(f"{nameserver}: no answer within {self._try_seconds:g} s")
            except (OSError, asyncio.IncompleteReadError) as error:
                problems.append(f"{nameserver}: {error}")
        raise ForwardError("; ".join(problems) or "this node has no resolver in /etc/resolv.conf")

    async def _ask_one(self, nameserver: str, question: bytes) -> bytes:
        identity = secrets.token_bytes(2)
        message = identity + question[2:]
        answer = await self._udp(nameserver, message)
        if answer[2] & _TRUNCATED:
            answer = await self._tcp(nameserver, message)
        return question[:2] + answer[2:]

    async def _udp(self, nameserver: str, message: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: _Answer(message[:2]), remote_addr=(nameserver, self._port)
        )
        try:
            transport.sendto(message)
            return await protocol.received
        finally:
            transport.close()

    async def _tcp(self, nameserver: str, message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(nameserver, self._port)
        try:
            writer.write(len(message).to_bytes(2, "big") + message)
            await writer.drain()
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = await reader.readexactly(length)
            if length < 12 or answer[:2] != message[:2]:
                raise OSError("an answer to another question")
            return answer
        finally:
            writer.close()


class _Answer(asyncio.DatagramProtocol):
    """The first datagram that answers the question; others are ignored, as they may be forged."""

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if len(data) >= 12 and data[:2] == self._identity and not self.received.done():
            self.received.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(exc)
