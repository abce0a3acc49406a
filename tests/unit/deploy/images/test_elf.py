import struct

import pytest
from demoimages import elf


def program(libraries: list[str], loader: str | None) -> bytes:
    """A minimal ELF64 file: one loaded segment at 0x1000, a dynamic section and perhaps an interpreter."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in libraries)
    offsets, position = [], 1
    for name in libraries:
        offsets.append(position)
        position += len(name) + 1
    header_size, segment_size = 64, 56
    count = 3 if loader else 2
    strings_at = header_size + count * segment_size
    dynamic_at = strings_at + len(strings)
    tags = [(1, offset) for offset in offsets] + [(5, 0x1000 + strings_at), (0, 0), (1, 999)]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    loader_at = dynamic_at + len(dynamic)
    loader_bytes = (loader or "").encode() + b"\0"
    total = loader_at + len(loader_bytes)
    segments = [(1, 0, 0x1000, total), (2, dynamic_at, 0x1000 + dynamic_at, len(dynamic))]
    if loader:
        segments.append((3, loader_at, 0x1000 + loader_at, len(loader_bytes)))
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, header_size, 0, 0, 64, segment_size, count, 0, 0, 0)
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, offset, address, address, size, size, 8)
        for kind, offset, address, size in segments
    )
    return header + table + strings + dynamic + loader_bytes


def test_a_programs_libraries_and_loader_are_read() -> None:
    found = elf.needs(program(["libssl.so.3", "libc.so.6"], "/lib64/ld-linux-x86-64.so.2"))
    assert found == elf.Needs(("libssl.so.3", "libc.so.6"), "/lib64/ld-linux-x86-64.so.2")


def test_a_library_has_no_loader() -> None:
    assert elf.needs(program(["libc.so.6"], None)) == elf.Needs(("libc.so.6",))


def test_a_static_program_needs_nothing() -> None:
    assert elf.needs(program([], None)) == elf.Needs()


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fEL"])
def test_what_is_no_elf_file_needs_nothing(data: bytes) -> None:
    assert elf.needs(data) == elf.Needs()


def test_another_word_size_is_refused() -> None:
    with pytest.raises(ValueError, match="64-bit"):
        elf.needs(b"\x7fELF\x01\x01" + bytes(60))
