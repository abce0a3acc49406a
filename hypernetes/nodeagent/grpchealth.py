"""One question of gRPC's health checking protocol (grpc.health.v1.Health/Check) over a stream to a pod.

The answer is a stranger's: HTTP/2 is parsed by a library, and no more is read than a small answer needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from hypernetes.nodeagent.runtime.base import ByteStream

_PATH = "/grpc.health.v1.Health/Check"
_MAX_READ_BYTES = 64 * 1024  # of everything that comes
_MAX_SERVICE_BYTES = 16 * 1024
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_OK, _UNIMPLEMENTED, _NOT_FOUND = "0", "12", "5"
_REASONS = {
    _UNIMPLEMENTED: "the server doesn't implement the gRPC health protocol (grpc.health.v1.Health)",
    _NOT_FOUND: "the server doesn't know the service",
}


class GrpcError(Exception):
    """The answer isn't one of a gRPC server's health service."""


@dataclass(slots=True)
class _Answer:
    body: bytearray = field(default_factory=bytearray)
    code: str = ""  # grpc-status
    ended: bool = False


async def check(stream: ByteStream, service: str, authority: str) -> str:
    """The service's serving status: "SERVING" for one that is well. Raises GrpcError, OSError."""
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    number = connection.get_next_available_stream_id()
    connection.send_headers(number, _headers(authority))
    connection.send_data(number, request(service), end_stream=True)
    await stream.write(connection.data_to_send())
    answer, size = _Answer(), 0
    while not answer.ended:
        data = await stream.read()
        size += len(data)
        if not data or size > _MAX_READ_BYTES:
            raise GrpcError("the connection was closed without an answer" if not data else "the answer is too long")
        try:
            _take(connection.receive_data(data), answer, number)
        except (ProtocolError, UnicodeDecodeError) as error:
            raise GrpcError("the answer is not gRPC") from error
        await stream.write(connection.data_to_send())
    if answer.code != _OK:
        raise GrpcError(_REASONS.get(answer.code, f"the server answered with status {answer.code or 'none'}"))
    return _STATUSES.get(status_of(bytes(answer.body)), "UNKNOWN")


def _headers(authority: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"), (":scheme", "http"), (":path", _PATH), (":authority", authority),
        ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "hypernetes-probe"),
    ]  # fmt: skip


def _take(events: Iterable[Event], answer: _Answer, number: int) -> None:
    for event in events:
        if getattr(event, "stream_id", number) != number:
            continue
        if isinstance(event, ResponseReceived | TrailersReceived):
            answer.code = dict(event.headers or ()).get("grpc-status", answer.code)  # type: ignore[call-overload]
        elif isinstance(event, DataReceived):
            answer.body += event.data or b""
        elif isinstance(event, StreamEnded | StreamReset):
            answer.ended = True


def request(service: str) -> bytes:
    """HealthCheckRequest{service = 1}, as one uncompressed message. Raises GrpcError for a name that is no name."""
    name = service.encode()
    if len(name) > _MAX_SERVICE_BYTES:
        raise GrpcError("the service's name is too long")
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4) + message


def status_of(body: bytes) -> int:
    """HealthCheckResponse{status = 1}; 0 where it says none. Raises GrpcError."""
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5]) != len(body) - 5:
        raise GrpcError("the answer is not one plain message")
    message = body[5:]
    if not message:
        return 0
    if len(message) != 2 or message[0] != 0x08:
        raise GrpcError("the answer is no health status")
    return message[1]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
