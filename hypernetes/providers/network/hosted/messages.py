"""Messages between the two processes: a length and a pickle; both are ours, and run the same version of it."""

import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct("!I")


class Closed(Exception):
    """The other process is gone."""


@dataclass(frozen=True, slots=True)
class Question:
    """`method` "" cancels the question of that number."""

    number: int
    method: str = ""
    arguments: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: a value, or reason and message. A tap's descriptor comes beside it."""

    number: int
    value: Any = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of the host: the provider is made, or why it isn't."""

    binds_ports: bool = False
    complaint: str = ""


def packed(message: object) -> bytes:
    body = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


def receive(source: socket.socket) -> tuple[Any, list[int]]:
    """The next message, and descriptors that came with it. Blocks. Raises Closed."""
    head, descriptors, _, _ = socket.recv_fds(source, _LENGTH.size, 1)
    head += _exactly(source, _LENGTH.size - len(head)) if head else b""
    if not head:
        raise Closed
    return pickle.loads(_exactly(source, _LENGTH.unpack(head)[0])), descriptors


def send(target: socket.socket, message: object, descriptors: list[int]) -> None:
    """Blocks."""
    data = packed(message)
    sent = socket.send_fds(target, [data], descriptors)
    target.sendall(data[sent:])


def _exactly(source: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = source.recv(count - len(parts))
        if not part:
            raise Closed
        parts += part
    return bytes(parts)
