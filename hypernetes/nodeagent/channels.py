"""`kubectl exec` on the wire: one WebSocket, the first byte of each message says which stream it belongs to.

Subprotocols v5.channel.k8s.io and v4.channel.k8s.io (KEP-4006): 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 a
terminal's new size; in v5, 255 and a channel's number close that channel.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from aiohttp import WSMsgType, web

from hypernetes.nodeagent.runtime.base import MachineError, Process

log = structlog.get_logger()

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
PROTOCOLS = (V5, V4)
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MAX_MESSAGE_BYTES = 1 << 20
_MAX_TERMINAL = 10_000  # columns or rows
_HANGUP = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    kill: bool = True  # the command belongs to the client (exec), or to the pod (attach)


def status_of_exit(code: int) -> dict[str, Any]:
    """The Status that ends a stream, in the form kubectl takes its own exit code from."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def status_of_error(error: MachineError) -> dict[str, Any]:
    return {
        "metadata": {}, "status": "Failure", "message": error.message, "reason": "InternalError", "code": 500,
        "details": {"causes": [{"reason": error.reason, "message": error.message}]},
    }  # fmt: skip


async def serve(socket: web.WebSocketResponse, process: Process, wanted: Wanted) -> None:
    """Carries a process's streams until it has ended or the client has gone (which ends the command, if it is the
    client's)."""
    incoming = asyncio.create_task(_incoming(socket, process, wanted))
    outgoing = asyncio.create_task(_outgoing(socket, process, wanted))
    try:
        await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
        if outgoing.done():
            outgoing.result()
            return
        incoming.result()
        await _hang_up(process, wanted)
    except MachineError as error:
        with contextlib.suppress(ConnectionError):
            await _send(socket, ERROR, orjson.dumps(status_of_error(error)))
    except ConnectionError:
        log.debug("exec.client.gone")
        await _hang_up(process, wanted)
    finally:
        for task in (incoming, outgoing):
            task.cancel()
        await asyncio.gather(incoming, outgoing, return_exceptions=True)
        await process.stdin.close()


async def _hang_up(process: Process, wanted: Wanted) -> None:
    """The client has gone."""
    if not wanted.kill:
        return
    try:
        await process.signal(_HANGUP)
    except MachineError as error:
        log.debug("exec.hangup.failed", reason=error.reason, error=error.message)


async def _outgoing(socket: web.WebSocketResponse, process: Process, wanted: Wanted) -> None:
    async for stream, data in process.output():
        channel = STDERR if stream == "stderr" else STDOUT
        if (channel == STDOUT and wanted.stdout) or (channel == STDERR and wanted.stderr):
            await _send(socket, channel, data)
    code = await process.wait()
    await _send(socket, ERROR, orjson.dumps(status_of_exit(code)))


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    await socket.send_bytes(bytes([channel]) + data)


async def _incoming(socket: web.WebSocketResponse, process: Process, wanted: Wanted) -> None:
    """Until the client has gone. What isn't the protocol is ignored: the client harms itself only."""
    open_stdin = wanted.stdin
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and open_stdin and data:
            open_stdin = await _heard(process.stdin.write(data))
        elif channel == RESIZE and wanted.tty:
            size = terminal_size(data)
            if size is not None:
                await _heard(process.resize(*size))
        elif channel == CLOSE and data == bytes([STDIN]) and open_stdin and socket.ws_protocol == V5:
            open_stdin = False
            await _heard(process.stdin.close_write())


async def _heard(said: Awaitable[None]) -> bool:
    """False where nobody is there to hear it. That is no failure: a command may end without having read its input, and
    its output and exit code are still on their way. Where the machine is gone, they tell."""
    try:
        await said
    except MachineError as error:
        log.debug("exec.input.unheard", reason=error.reason, error=error.message)
        return False
    return True


def terminal_size(data: bytes) -> tuple[int, int] | None:
    """(columns, rows) of {"Width": …, "Height": …}; None for anything else."""
    try:
        value = orjson.loads(data)
        columns, rows = value["Width"], value["Height"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not (isinstance(columns, int) and isinstance(rows, int)):
        return None
    return (columns, rows) if 0 < columns <= _MAX_TERMINAL and 0 < rows <= _MAX_TERMINAL else None
