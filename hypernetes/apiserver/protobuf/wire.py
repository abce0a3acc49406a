"""The little of protobuf's wire format that is put around messages (https://protobuf.dev/programming-guides/encoding)."""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)  # wire types
FIRST, SECOND = b"\x0a", b"\x12"  # the tags of fields 1 and 2 where they are text, bytes or messages


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place of a message of ours, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def chunk(tag: bytes, data: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return b"".join((tag, varint(len(data)), data))


def tags(data: bytes) -> Iterator[tuple[int, int]]:
    """Number and wire type of each field of a message that the protobuf library could read."""
    at = depth = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        wire_type = tag & 7
        if wire_type == VARINT:
            _, at = read_varint(data, at)
        elif wire_type == BYTES:
            length, at = read_varint(data, at)
            at += length
        elif wire_type in (FIXED64, FIXED32):
            at += 8 if wire_type == FIXED64 else 4
        else:
            depth += 1 if wire_type == GROUP else -1
        if not depth:  # what is in a group is of no field that we know
            yield tag >> 3, wire_type
