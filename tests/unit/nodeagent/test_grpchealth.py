"""gRPC health checks: asked of a real gRPC server, and of strangers that answer otherwise."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.nodeagent import grpchealth
from tests.streams import TcpStream


class Scripted:
    """Answers with these bytes, whatever is asked."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    async def read(self) -> bytes:
        return self._answers.pop(0) if self._answers else b""

    async def write(self, data: bytes) -> None:
        """Nobody reads it."""

    async def close_write(self) -> None: ...

    async def close(self) -> None: ...


@asynccontextmanager
async def served(statuses: dict[str, int] | None) -> AsyncIterator[TcpStream]:
    """A health service that knows these; None: a gRPC server without one."""

    async def check(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        assert statuses is not None
        name = request[2:].decode()
        if name not in statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([0x08, statuses[name]])

    server = grpc.aio.server()
    if statuses is not None:
        method = grpc.unary_unary_rpc_method_handler(check)
        handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})
        server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = TcpStream(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield connection
    finally:
        await connection.close()
        await server.stop(None)


@pytest.mark.parametrize(
    ("status", "said"), [(1, "SERVING"), (2, "NOT_SERVING"), (3, "SERVICE_UNKNOWN"), (9, "UNKNOWN")]
)
async def test_a_service_says_how_it_is(status: int, said: str) -> None:
    async with served({"": 1, "db": status}) as connection:
        assert await grpchealth.check(connection, "db", "pod:1") == said


async def test_the_server_as_a_whole_is_the_service_without_a_name() -> None:
    async with served({"": 1}) as connection:
        assert await grpchealth.check(connection, "", "pod:1") == "SERVING"


@pytest.mark.parametrize(("statuses", "why"), [({"": 1}, "doesn't know the service"), (None, "doesn't implement")])
async def test_a_server_that_cannot_say_is_no_success(statuses: dict[str, int] | None, why: str) -> None:
    async with served(statuses) as connection:
        with pytest.raises(grpchealth.GrpcError, match=why):
            await grpchealth.check(connection, "other", "pod:1")


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        (b"\0\0\0\4\0\0\0\0\0",),  # settings, and then nothing
        tuple(b"\0\0\0\4\0\0\0\0\0" * 500 for _ in range(100)),  # settings for ever
        (b"\xff" * 70_000,),
    ],
)
async def test_what_is_no_grpc_is_no_success(answers: tuple[bytes, ...]) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(grpchealth.GrpcError):
            await grpchealth.check(Scripted(*answers), "", "pod:1")


@given(st.binary(max_size=64))
def test_whatever_a_body_says_is_a_status_or_an_error(body: bytes) -> None:
    with contextlib.suppress(grpchealth.GrpcError):
        assert 0 <= grpchealth.status_of(body) <= 255


def test_a_name_of_any_length_is_told_with_its_length() -> None:
    assert grpchealth.request("") == b"\0\0\0\0\0"
    assert grpchealth.request("db") == b"\0\0\0\0\4\x0a\2db"
    assert grpchealth.request("x" * 200)[5:8] == b"\x0a\xc8\x01"
    with pytest.raises(grpchealth.GrpcError):
        grpchealth.request("x" * 20_000)
