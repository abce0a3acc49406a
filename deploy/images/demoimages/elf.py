"""What a program needs to run: the names of its libraries and its loader, read from its ELF headers."""

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF"
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # ELF64, little-endian, after e_ident
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_LOAD, _DYNAMIC_SECTION, _INTERPRETER = 1, 2, 3  # p_type
_END, _NEEDED, _STRINGS = 0, 1, 5  # d_tag


@dataclass(frozen=True, slots=True)
class Needs:
    libraries: tuple[str, ...] = ()
    loader: str | None = None


def needs(data: bytes) -> Needs:
    """Of a file's content; nothing for what is no ELF file. Raises ValueError for another word size or byte order."""
    if data[:4] != MAGIC:
        return Needs()
    if data[4:6] != b"\x02\x01":
        raise ValueError("only 64-bit little-endian ELF files are understood")
    fields = _HEADER.unpack_from(data)
    offset, count = fields[4], fields[9]
    segments = [_PROGRAM.unpack_from(data, offset + number * _PROGRAM.size) for number in range(count)]
    loader, entries = None, []
    for kind, _, start, _, _, size, *_ in segments:
        if kind == _INTERPRETER:
            loader = data[start : start + size].rstrip(b"\0").decode()
        elif kind == _DYNAMIC_SECTION:
            entries = list(_DYNAMIC.iter_unpack(data[start : start + size - size % _DYNAMIC.size]))
    entries = entries[: next((n for n, (tag, _) in enumerate(entries) if tag == _END), len(entries))]
    wanted = [value for tag, value in entries if tag == _NEEDED]
    if not wanted:
        return Needs(loader=loader)
    strings = _file_offset(segments, dict(entries)[_STRINGS])
    return Needs(tuple(_string(data, strings + value) for value in wanted), loader)


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, start, virtual, _, size, *_ in segments:
        if kind == _LOAD and virtual <= address < virtual + size:
            return start + address - virtual
    raise ValueError(f"address {address:#x} is in no segment")


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
