"""Frames as hn-init sends them: their crc covers the head alone."""

import zlib

from hypernetes.nodeagent.runtime.frames import HEADER, Frame


def encode(seed: int, frame: Frame) -> bytes:
    head = HEADER.pack(len(frame.payload), frame.type, frame.flags, 0, frame.id, 0)[:12]
    return head + zlib.crc32(head, seed).to_bytes(4, "little") + frame.payload
