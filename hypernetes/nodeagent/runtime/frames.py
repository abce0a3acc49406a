"""Frames of the guest link and the fields inside messages: bytes in, frames out, no I/O.

    frame   = u32 length, u8 type, u8 flags, u16 zero, u32 id, u32 crc, payload     little endian
    field   = u16 tag, u32 length, value

A connection begins with zeros that end any half frame, then MAGIC and a random epoch, which the guest repeats. The crc
is seeded by the epoch, so nothing of an earlier connection is taken for a frame of this one. Frames of ours may reach
the guest behind half of another, so it covers them whole; of the guest's, read from MAGIC on, the head alone.
What comes from the guest is hostile: every length is checked before it is believed.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.protocol import Tag

HEADER = struct.Struct("<IBBHII")
FRAME_MAX = 32768  # payload; more would delay control messages behind bulk data
MAGIC = bytes((0x9E, *b"hn-link", 0xD1, 0x00, 0xC3, 0x5A, 0x17, 0xE8, 0x0D, 0x0A))
EPOCH_SIZE = 16
# Before its hello the guest may still send what an earlier connection left in the port's buffers.
STALE_MAX = 8 << 20

_FIELD = struct.Struct("<HI")


class ProtocolError(MachineError):
    """The guest sent what no hn-init sends. Its link is closed for good.

    A MachineError, so that whoever reads an answer's fields needs no thought of it: a guest harms its machine only.
    """

    def __init__(self, message: str) -> None:
        super().__init__("GuestMisbehaved", f"the machine's guest broke the protocol: {message}")


@dataclass(frozen=True, slots=True)
class Frame:
    type: int
    flags: int
    id: int
    payload: bytes


def seed_of(epoch: bytes) -> int:
    return zlib.crc32(epoch)


def encode(seed: int, frame: Frame) -> bytes:
    """A frame of the host's."""
    head = HEADER.pack(len(frame.payload), frame.type, frame.flags, 0, frame.id, 0)[:12]
    return head + zlib.crc32(frame.payload, zlib.crc32(head, seed)).to_bytes(4, "little") + frame.payload


def greeting(epoch: bytes) -> bytes:
    """What a connection begins with."""
    return bytes(HEADER.size + FRAME_MAX) + MAGIC + epoch


class FrameParser:
    """Frames of one connection, from whatever pieces the socket gives."""

    def __init__(self, epoch: bytes) -> None:
        self._start = MAGIC + epoch
        self._seed = seed_of(epoch)
        self._buffer = bytearray()
        self._synced = False
        self._skipped = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises ProtocolError."""
        self._buffer += data
        if not self._synced and not self._find_start():
            return
        while len(self._buffer) >= HEADER.size:
            length, kind, flags, zero, id_, crc = HEADER.unpack_from(self._buffer)
            if length > FRAME_MAX or zero != 0:
                raise ProtocolError(f"a frame of {length} bytes")
            if len(self._buffer) < HEADER.size + length:
                return
            head = bytes(self._buffer[:12])
            if crc != zlib.crc32(head, self._seed):
                raise ProtocolError("a frame with a wrong checksum")
            payload = bytes(self._buffer[HEADER.size : HEADER.size + length])
            del self._buffer[: HEADER.size + length]
            yield Frame(kind, flags, id_, payload)

    def _find_start(self) -> bool:
        at = self._buffer.find(self._start)
        if at >= 0:
            del self._buffer[: at + len(self._start)]
            self._synced = True
            return True
        stale = max(0, len(self._buffer) - len(self._start) + 1)
        self._skipped += stale
        if self._skipped > STALE_MAX:
            raise ProtocolError("no greeting")
        del self._buffer[:stale]
        return False


class Fields:
    """The fields of a message, strictly read. Every accessor raises ProtocolError on a value of the wrong shape."""

    def __init__(self, payload: bytes) -> None:
        self.items: list[tuple[int, bytes]] = []
        at = 0
        while at < len(payload):
            if len(payload) - at < _FIELD.size:
                raise ProtocolError("a field without a head")
            tag, length = _FIELD.unpack_from(payload, at)
            at += _FIELD.size
            if length > len(payload) - at:
                raise ProtocolError("a field beyond its message")
            self.items.append((tag, payload[at : at + length]))
            at += length

    def raw(self, tag: Tag) -> bytes | None:
        return next((value for known, value in self.items if known == tag), None)

    def all(self, tag: Tag) -> list[bytes]:
        return [value for known, value in self.items if known == tag]

    def text(self, tag: Tag, default: str = "") -> str:
        value = self.raw(tag)
        if value is None:
            return default
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"the field {tag.name} is no text") from error

    def number(self, tag: Tag) -> int | None:
        value = self.raw(tag)
        if value is None:
            return None
        if len(value) > 8:
            raise ProtocolError(f"the field {tag.name} has {len(value)} bytes")
        return int.from_bytes(value, "little")


class MessageBuilder:
    """Fields for the guest. Text ends in a NUL there, so it can't hold one."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def blob(self, tag: Tag, value: bytes) -> Self:
        self._parts += (_FIELD.pack(tag, len(value)), value)
        return self

    def text(self, tag: Tag, value: str) -> Self:
        if "\0" in value:
            raise ValueError(f"{tag.name.lower()} holds a NUL character")
        return self.blob(tag, value.encode() + b"\0")

    def number(self, tag: Tag, value: int) -> Self:
        return self.blob(tag, value.to_bytes(8, "little", signed=value < 0))

    def build(self) -> bytes:
        return b"".join(self._parts)
