"""The initramfs: a cpio archive (newc) of hn-init, the kernel modules it loads and their order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from stat import S_IFDIR, S_IFREG

DIRECTORIES = ("dev", "modules", "proc", "run", "sys", "tmp")


def archive(entries: Sequence[tuple[str, int, bytes]]) -> bytes:
    """A newc archive of (name, mode, content), owned by root and without times: equal input gives equal bytes."""
    parts: list[bytes] = []
    for inode, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        links = 2 if mode & S_IFDIR == S_IFDIR else 1
        fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        parts += [head, b"\0" * (-len(head) % 4), content, b"\0" * (-len(content) % 4)]
    return b"".join(parts)


def build(init: bytes, modules: Sequence[Path]) -> bytes:
    """`modules` in load order; /modules/list names them so."""
    contents: Mapping[str, bytes] = {path.name: path.read_bytes() for path in modules}
    listing = "".join(f"/modules/{name}\n" for name in contents).encode()
    entries = [(name, S_IFDIR | 0o755, b"") for name in DIRECTORIES]
    entries.append(("init", S_IFREG | 0o755, init))
    entries.append(("modules/list", S_IFREG | 0o644, listing))
    entries += [(f"modules/{name}", S_IFREG | 0o644, content) for name, content in contents.items()]
    return archive(entries)
