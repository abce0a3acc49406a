"""Layers applied one over the other, and the result as one tar stream.

The layers' headers are read bottom up into a tree; a hard link shares the file object of its target, so a target that
a later layer removes or replaces stays what it was for the link. Contents are copied from the layers only when the
result is written, once per file.

Names are data here: nothing is ever opened by a name from a layer. `..` can't leave the root, devices are left out.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

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
        """Lays one layer over the tree. Raises LayerError for one that passes a bound or is malformed."""
        fresh: set[int] = set()  # ids of nodes of this layer: an opaque marker hides only what is below it
        try:
            for header in archive:
                self._count(header)
                self._take(index, header, fresh)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise LayerError(f"layer {index + 1} is not a valid tar archive: {error}") from error

    def _count(self, header: tarfile.TarInfo) -> None:
        self.entries += 1
        self.content_bytes += max(header.size, 0)
        if self.entries > self.max_entries:
            raise LayerError(f"the image has more than {self.max_entries} files")
        if self.content_bytes > self.max_content_bytes:
            raise LayerError(f"the image holds more than {self.max_content_bytes >> 20} MiB")

    def _take(self, index: int, header: tarfile.TarInfo, fresh: set[int]) -> None:
        parts = split(header.name)
        if not parts:
            if header.isdir():
                self.root.header, self.root.layer = header, index
            return
        *directories, name = parts
        if name == _OPAQUE:
            self._clear(self._directory(directories, fresh), fresh)
        elif name.startswith(_WHITEOUT):
            hidden = self._directory(directories, fresh).children
            victim = hidden.get(name[len(_WHITEOUT) :])
            if victim is not None and id(victim) not in fresh:
                del hidden[name[len(_WHITEOUT) :]]
        elif header.islnk():
            self._link(index, header, directories, name, fresh)
        elif header.isdir() or header.isreg() or header.issym() or header.isfifo():
            self._put(index, header, directories, name, fresh)

    def _put(self, index: int, header: tarfile.TarInfo, directories: list[str], name: str, fresh: set[int]) -> None:
        parent = self._directory(directories, fresh)
        existing = parent.children.get(name)
        if existing is not None and existing.is_directory and header.isdir():
            existing.header, existing.layer = header, index
            fresh.add(id(existing))
            return
        node = Node(header, index)
        parent.children[name] = node
        fresh.add(id(node))

    def _link(self, index: int, header: tarfile.TarInfo, directories: list[str], name: str, fresh: set[int]) -> None:
        target = self.find(split(header.linkname))
        if target is None or target.is_directory:
            raise LayerError(f"layer {index + 1}: hard link {header.name!r} to {header.linkname!r}, which isn't there")
        self._directory(directories, fresh).children[name] = target

    def _directory(self, parts: Sequence[str], fresh: set[int]) -> Node:
        """The directory at a path, made where it is missing; what is no directory there gives way."""
        node = self.root
        for part in parts:
            child = node.children.get(part)
            if child is None or not child.is_directory:
                child = node.children[part] = Node()
                fresh.add(id(child))
            node = child
        return node

    def _clear(self, directory: Node, fresh: set[int]) -> None:
        """Hides what lower layers have here; a directory that this layer names stays, without their content."""
        for name, child in list(directory.children.items()):
            if id(child) not in fresh:
                del directory.children[name]
            elif child.is_directory:
                self._clear(child, fresh)

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
