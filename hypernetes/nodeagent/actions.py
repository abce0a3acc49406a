"""What probes and lifecycle hooks do: run a command in a container, open a connection to the pod, ask by HTTP or
gRPC.

The guest forwards bytes only. HTTP, gRPC and TLS are spoken here, so their answers are read as a stranger's: bounded,
and no further than the status line.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import (
    Container,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
    TCPSocketAction,
)
from hypernetes.nodeagent import grpchealth
from hypernetes.nodeagent.runtime.base import ByteStream, Machine, MachineError

MAX_OUTPUT_BYTES = 10 * 1024  # of a probe's command, for the event's message
_MAX_HEAD_BYTES = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: |\r?\n)")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@dataclass(frozen=True, slots=True)
class Outcome:
    ok: bool
    message: str = ""


class ActionError(Exception):
    """An action that can't be tried as it is written."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where actions happen."""

    machine: Machine
    container: Container
    container_id: str
    pod_ip: str


async def act(target: Target, action: Probe | LifecycleHandler, timeout: float) -> Outcome:
    """Does what a probe or hook says within `timeout` seconds; every failure is an outcome."""
    try:
        async with asyncio.timeout(timeout):
            return await _act(target, action)
    except TimeoutError:
        return Outcome(False, f"timed out after {timeout:g} s")
    except (MachineError, ActionError, OSError, ssl.SSLError) as error:
        return Outcome(False, str(error))


async def _act(target: Target, action: Probe | LifecycleHandler) -> Outcome:
    if action.exec is not None:
        return await _exec(target, action.exec)
    if action.http_get is not None:
        return await _http(target, action.http_get)
    if action.tcp_socket is not None:
        return await _tcp(target, action.tcp_socket)
    if isinstance(action, Probe) and action.grpc is not None:
        return await _grpc(target, action.grpc)
    if isinstance(action, LifecycleHandler) and action.sleep is not None:
        await asyncio.sleep(action.sleep.seconds)
        return Outcome(True)
    raise ActionError("this kind of probe or hook is not supported by the node")


async def _exec(target: Target, action: ExecAction) -> Outcome:
    process = await target.machine.exec(target.container_id, action.command)
    await process.stdin.close_write()
    output = bytearray()
    async for _, data in process.output():
        if len(output) < MAX_OUTPUT_BYTES:
            output += data
    code = await process.wait()
    text = bytes(output[:MAX_OUTPUT_BYTES]).decode(errors="replace")
    return Outcome(code == 0, text if code == 0 else f"command exited with {code}: {text}".strip())


async def _tcp(target: Target, action: TCPSocketAction) -> Outcome:
    stream = await target.machine.forward(port_number(target.container, action.port), _address(target, action.host))
    await stream.close()
    return Outcome(True)


async def _http(target: Target, action: HTTPGetAction) -> Outcome:
    port = port_number(target.container, action.port)
    stream = await target.machine.forward(port, _address(target, action.host))
    try:
        if (action.scheme or "HTTP").upper() == "HTTPS":
            stream = await _Tls.over(stream)
        await stream.write(request(action, f"{target.pod_ip}:{port}"))
        status = await _status(stream)
    finally:
        await stream.close()
    if 200 <= status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def _grpc(target: Target, action: GRPCAction) -> Outcome:
    stream = await target.machine.forward(action.port, target.pod_ip)
    try:
        status = await grpchealth.check(stream, action.service or "", f"{target.pod_ip}:{action.port}")
    except grpchealth.GrpcError as error:
        return Outcome(False, f"gRPC probe failed: {error}")
    finally:
        await stream.close()
    return Outcome(True) if status == "SERVING" else Outcome(False, f"gRPC probe failed: the service is {status}")


def request(action: HTTPGetAction, host: str) -> bytes:
    """The request's bytes. Raises ActionError for headers or paths that would be more than one request."""
    headers = {"Host": host, "User-Agent": "hypernetes-probe", "Accept": "*/*", "Connection": "close"}
    for header in action.http_headers:
        if not _HEADER_NAME.match(header.name) or any(ord(character) < 32 for character in header.value):
            raise ActionError(f"the header {header.name!r} is not valid")
        headers[next((name for name in headers if name.lower() == header.name.lower()), header.name)] = header.value
    path = action.path or "/"
    path = path if path.startswith("/") else f"/{path}"
    if any(ord(character) <= 32 for character in path):
        raise ActionError(f"the path {path!r} is not valid")
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _status(stream: ByteStream) -> int:
    head = b""
    while b"\n" not in head and len(head) < _MAX_HEAD_BYTES:
        data = await stream.read()
        if not data:
            break
        head += data
    match = _STATUS_LINE.match(head)
    if match is None:
        raise ActionError("the answer is not HTTP" if head else "the connection was closed without an answer")
    return int(match[1])


def port_number(container: Container, port: int | str) -> int:
    """A number, or the container's port of that name."""
    if isinstance(port, str) and not port.isdecimal():
        named = next((each.container_port for each in container.ports if each.name == port), None)
        if named is None:
            raise ActionError(f"the container has no port named {port!r}")
        return named
    return int(port)


def _address(target: Target, host: str | None) -> str:
    """Probes go to the pod and nowhere else, whatever `host` says: the agent's network isn't the tenant's."""
    return "127.0.0.1" if host in ("localhost", "127.0.0.1") else target.pod_ip


class _Tls:
    """TLS over a ByteStream. Certificates aren't verified, as upstream's probes don't."""

    def __init__(self, stream: ByteStream) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    @classmethod
    async def over(cls, stream: ByteStream) -> "_Tls":
        self = cls(stream)
        while True:
            try:
                self._tls.do_handshake()
                await self._flush()
                return self
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()

    async def read(self) -> bytes:
        while True:
            try:
                return self._tls.read(_MAX_HEAD_BYTES)
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    async def write(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def close_write(self) -> None:
        await self._stream.close_write()

    async def close(self) -> None:
        await self._stream.close()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._stream.write(data)

    async def _fill(self) -> None:
        data = await self._stream.read()
        if not data:
            raise ActionError("the connection was closed in the middle of TLS")
        self._incoming.write(data)
