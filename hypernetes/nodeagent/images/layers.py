"""Layers applied one over the other, and the result as one tar stream.

The layers' headers are read bottom up into a tree; a hard link shares the file object of its target, so a target that
a later layer removes or replaces stays what it was for the link. Contents are copied from the layers only when the
result is written, once per file.

Names are data here: nothing is ever opened by a name from a layer. `..` can't leave the root, devices are left out.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

MAX_ENTRIES = 1_000_000
MAX_CONTENT_BYTES = 32 << 30
MAX_NAME_BYTES = 4096
MAX_DEPTH = 200
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class LayerError(Exception):
    """A layer that can't be applied; the message is for the pod's owner."""


@dataclass(slots=True, eq=False)
class Node:
    """A file, directory, link or FIFO of the image, in the state of the last layer that names it."""

    header: tarfile.TarInfo | None = None  # None: a directory that no layer describes
    layer: int = -1
    children: "dict[str, Node]" = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        return self.header is None or self.header.isdir()


@dataclass(slots=True)
class Tree:
    """The image's file system. `apply` the layers from the bottom up."""

    root: Node = field(default_factory=Node)
    entries: int = 0
    content_bytes: int = 0
    max_entries: int = MAX_ENTRIES
    max_content_bytes: int = MAX_CONTENT_BYTES

    def apply(self, index: int, archive: tarfile.TarFile) -> None:
        """Lays one layer over the tree: first it hides what its whiteouts name, then come its own entries, whatever
        their order in the archive. Raises LayerError for a layer that passes a bound or is malformed."""
        entries: list[tuple[tarfile.TarInfo, list[str]]] = []
        try:
            for header in archive:
                self._count(header)
                entries.append((header, split(header.name)))
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise LayerError(f"layer {index + 1} is not a valid tar archive: {error}") from error
        _check_whole(index, archive, [header for header, _ in entries])
        for _, parts in entries:
            if parts and parts[-1].startswith(_WHITEOUT):
                self._hide(parts)
        for header, parts in entries:
            if not parts and header.isdir():
                self.root.header, self.root.layer = header, index
            elif parts and parts[-1].startswith(_WHITEOUT):
                self._directory(parts[:-1])
            elif parts:
                self._take(index, header, parts)

    def _count(self, header: tarfile.TarInfo) -> None:
        self.entries += 1
        self.content_bytes += max(header.size, 0)
        if self.entries > self.max_entries:
            raise LayerError(f"the image has more than {self.max_entries} files")
        if self.content_bytes > self.max_content_bytes:
            raise LayerError(f"the image holds more than {self.max_content_bytes >> 20} MiB")

    def _hide(self, parts: Sequence[str]) -> None:
        directory = self.find(parts[:-1])
        if directory is None or not directory.is_directory:
            return
        if parts[-1] == _OPAQUE:
            directory.children.clear()
        else:
            directory.children.pop(parts[-1].removeprefix(_WHITEOUT), None)

    def _take(self, index: int, header: tarfile.TarInfo, parts: Sequence[str]) -> None:
        parent, name = self._directory(parts[:-1]), parts[-1]
        if header.islnk():
            target = self.find(split(header.linkname))
            if target is None or target.is_directory:
                linked = f"hard link {header.name!r} to {header.linkname!r}"
                raise LayerError(f"layer {index + 1}: {linked}, which isn't there")
            parent.children[name] = target
        elif header.isdir() and (existing := parent.children.get(name)) is not None and existing.is_directory:
            existing.header, existing.layer = header, index
        elif header.isdir() or header.isreg() or header.issym() or header.isfifo():
            parent.children[name] = Node(header, index)

    def _directory(self, parts: Sequence[str]) -> Node:
        """The directory at a path, made where it is missing; what is no directory there gives way."""
        node = self.root
        for part in parts:
            child = node.children.get(part)
            if child is None or not child.is_directory:
                child = node.children[part] = Node()
            node = child
        return node

    def find(self, parts: Sequence[str]) -> Node | None:
        node: Node | None = self.root
        for part in parts:
            node = node.children.get(part) if node is not None else None
        return node

    def walk(self) -> Iterator[tuple[str, Node]]:
        """(path, node) of all but the root, parents first, sorted."""
        stack = [("", self.root)]
        while stack:
            prefix, node = stack.pop()
            if prefix:
                yield prefix, node
            for name in sorted(node.children, reverse=True):
                stack.append((f"{prefix}/{name}" if prefix else name, node.children[name]))


def _check_whole(index: int, archive: tarfile.TarFile, headers: Sequence[tarfile.TarInfo]) -> None:
    """tarfile takes an archive that breaks off for one that ends."""
    file: Any = archive.fileobj
    length = file.seek(0, 2)
    if any(header.isreg() and header.offset_data + header.size > length and not header.sparse for header in headers):
        raise LayerError(f"layer {index + 1} is not a valid tar archive: it breaks off")


def split(name: str) -> list[str]:
    """The components of a name inside the image; `..` goes up no further than the root, as chroot has it."""
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES or "\0" in name:
        raise LayerError("a name in a layer is longer than 4096 bytes or holds a NUL")
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if parts:
                parts.pop()
            continue
        parts.append(part)
    if len(parts) > MAX_DEPTH:
        raise LayerError(f"a name in a layer is deeper than {MAX_DEPTH} directories")
    return parts


def write(tree: Tree, layers: Sequence[tarfile.TarFile], output: IO[bytes]) -> None:
    """The tree as one tar archive, sorted by name; equal trees give equal bytes."""
    written: dict[int, str] = {}
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        if tree.root.header is not None:
            archive.addfile(_header(tree.root.header, "./"))
        for path, node in tree.walk():
            if node.header is None:
                directory = tarfile.TarInfo(path)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(directory)
            elif not node.is_directory and id(node) in written:
                link = _header(node.header, path)
                link.type, link.linkname, link.size = tarfile.LNKTYPE, written[id(node)], 0
                archive.addfile(link)
            else:
                written[id(node)] = path
                content = layers[node.layer].extractfile(node.header) if node.header.isreg() else None
                archive.addfile(_header(node.header, path), content)


def _header(source: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """A clean header: only what an image may decide."""
    header = tarfile.TarInfo(path)
    header.type = tarfile.REGTYPE if source.isreg() else source.type
    header.mode = source.mode & 0o7777
    header.uid, header.gid = source.uid & 0xFFFFFFFF, source.gid & 0xFFFFFFFF
    header.size = source.size if source.isreg() else 0
    header.mtime = min(max(int(source.mtime), 0), 0xFFFFFFFF)
    header.linkname = source.linkname if source.issym() else ""
    header.pax_headers = {
        key: value for key, value in source.pax_headers.items() if key.startswith("SCHILY.xattr.security.capability")
    }
    return header
