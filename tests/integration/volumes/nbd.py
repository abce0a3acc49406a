"""A client of one NBD export, as simple as can be (https://github.com/NetworkBlockDevice/nbd, doc/proto.md)."""

import socket
import struct
from pathlib import Path

_MAGIC, _OPTION, _REQUEST, _REPLY = 0x4E42444D41474943, 0x49484156454F5054, 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3


class Refused(Exception):
    pass


class Client:
    def __init__(self, path: Path, export: str = "volume", seconds: float = 20.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._socket.connect(str(path))
        magic, _, flags = struct.unpack(">QQH", self._take(18))
        assert magic == _MAGIC
        self._socket.sendall(struct.pack(">I", flags & 3))
        self._socket.sendall(struct.pack(">QII", _OPTION, 1, len(export)) + export.encode())
        try:
            self.size, self.flags = struct.unpack(">QH", self._take(10))
        except ConnectionError as error:
            raise Refused(export) from error
        self.read_only = bool(self.flags & 2)
        if not flags & 2:
            self._take(124)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def read(self, offset: int, length: int) -> bytes:
        self._ask(READ, offset, length)
        return self._take(length)

    def write(self, offset: int, data: bytes) -> None:
        self._ask(WRITE, offset, len(data), data)

    def flush(self) -> None:
        self._ask(FLUSH, 0, 0)

    def _ask(self, command: int, offset: int, length: int, data: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">IHHQQI", _REQUEST, 0, command, 1, offset, length) + data)
        magic, error, _ = struct.unpack(">IIQ", self._take(16))
        assert magic == _REPLY
        if error:
            raise OSError(error, "the server refuses")

    def _take(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data
