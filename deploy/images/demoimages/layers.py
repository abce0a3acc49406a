"""Layers: a tree of files as a tar archive that depends on its content alone."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int = 0o644
    owner: int = 0  # user and group id


@dataclass(frozen=True, slots=True)
class Link:
    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    mode: int = 0o755
    owner: int = 0


Entry = File | Link | Directory
Tree = Mapping[str, Entry]  # by path without a leading slash


@dataclass(frozen=True, slots=True)
class Layer:
    data: bytes  # compressed
    diff_id: str  # digest of the archive before compression
    size: int  # bytes of content, uncompressed

    @property
    def digest(self) -> str:
        return digest(self.data)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pack(tree: Tree) -> Layer:
    """Parents come before what is in them, all else by name; no times, no names of users."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, entry in sorted(_with_parents(tree).items()):
            info = tarfile.TarInfo(path)
            if isinstance(entry, File):
                info.mode, info.uid, info.gid, info.size = entry.mode, entry.owner, entry.owner, len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
                continue
            if isinstance(entry, Link):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
            else:
                info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, entry.mode, entry.owner, entry.owner
            tar.addfile(info)
    content = archive.getvalue()
    size = sum(len(entry.data) for entry in tree.values() if isinstance(entry, File))
    return Layer(gzip.compress(content, mtime=0), digest(content), size)


def _with_parents(tree: Tree) -> dict[str, Entry]:
    everything = dict(tree)
    for path in tree:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            everything.setdefault("/".join(parts[:depth]), Directory())
    return everything
