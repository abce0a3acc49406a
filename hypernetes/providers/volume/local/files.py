"""The node's half: DIRECTORY/<NodeVolume uid>.img, sparse raw files in a directory that is root's alone.

A file that is being made is `<name>.new` until it is whole. Nothing is promised beyond what the file system can hold:
what existing volumes may still grow by counts as used, so a guest that fills its volume doesn't find the disk full.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hypernetes.providers.volume.base import BlockSource, Exhausted, Handle, Refused, Unavailable
from hypernetes.providers.volume.local.control import DRIVER, UID

FICLONE = 0x40049409  # ioctl(2) of Linux: dest shares all of src's extents
COPY_BYTES = 1 << 30  # at most, of one call
# Kept free whatever is asked for: images, scratch disks and logs live on the same file system.
RESERVE_FRACTION = 0.05
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class LocalFiles:
    """A base.FileKeeper. Blocking work runs in threads, one change at a time, so that space is promised once."""

    driver = DRIVER

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changing = asyncio.Lock()

    async def open(self, volume: Handle, metadata: Mapping[str, str], *, read_only: bool) -> BlockSource:
        path = self._path(metadata.get(UID, ""))
        direct = await asyncio.to_thread(_can_be_direct, path)
        if direct is None:
            raise Unavailable("NotFound", f"this node has no file of the volume {volume.id}")
        # Without the host's page cache a guest's memory is what its pages cost; flushes are fdatasync either way.
        file = {
            "driver": "file", "filename": str(path), "locking": "on", "discard": "unmap", "aio": "threads",
            "cache": {"direct": direct},
        }  # fmt: skip
        return BlockSource({"driver": "raw", "discard": "unmap", "file": file}, paths=(path,))

    async def opened(self, volume: Handle, metadata: Mapping[str, str], *, read_only: bool) -> None:
        """A node's own file needs no fence."""

    async def close(self, volume: Handle, metadata: Mapping[str, str]) -> None:
        """Nobody but root may open the file any more."""
        await asyncio.to_thread(_take_back, self._path(metadata.get(UID, "")))

    async def make(self, uid: str, size_bytes: int | None, source_uid: str | None) -> int:
        origin = None if source_uid is None else self._path(source_uid)
        path = self._path(uid)
        async with self._changing:
            size = await asyncio.to_thread(self._begin, path, size_bytes, origin)
        await asyncio.to_thread(_fill, path, origin)
        return size

    async def grow(self, uid: str, size_bytes: int) -> int:
        async with self._changing:
            return await asyncio.to_thread(self._grow, self._path(uid), size_bytes)

    async def size(self, uid: str) -> int | None:
        return await asyncio.to_thread(_size, self._path(uid))

    async def remove(self, uid: str) -> None:
        async with self._changing:
            await asyncio.to_thread(_remove, self._path(uid))

    async def kept(self) -> frozenset[str]:
        return await asyncio.to_thread(lambda: frozenset(path.stem for path in self._directory.glob("*.img")))

    async def free_bytes(self) -> int:
        return await asyncio.to_thread(self._free)

    def _path(self, uid: str) -> Path:
        if not _NAME.fullmatch(uid):
            raise Refused("BadName", f"{uid!r} is no UID of a volume")
        return self._directory / f"{uid}.img"

    def _free(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = os.statvfs(self._directory)
        promised = 0
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # finished, or removed, meanwhile
                found = path.stat()
                promised += max(0, found.st_size - found.st_blocks * 512)
        reserve = int(told.f_blocks * told.f_frsize * RESERVE_FRACTION)
        return max(0, told.f_bavail * told.f_frsize - promised - reserve)

    def _demand(self, size_bytes: int) -> None:
        free = self._free()
        if size_bytes > free:
            raise Exhausted("NoSpace", f"the node has {free} bytes left for volumes, which is less than {size_bytes}")

    def _begin(self, path: Path, size_bytes: int | None, origin: Path | None) -> int:
        """The unfinished file in its full size, so that its space counts as promised."""
        if (there := _size(path)) is not None:
            return there
        least = 0
        if origin is not None:
            found = _size(origin)
            if found is None:
                raise Refused("NotFound", f"this node has no {origin.stem} to begin with")
            least = found
        partial = path.with_suffix(".new")
        partial.unlink(missing_ok=True)
        size = max(size_bytes or 0, least)
        self._demand(size)
        try:
            with partial.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                os.ftruncate(file.fileno(), size)
        except OSError as error:
            raise _full(error) from error
        return size

    def _grow(self, path: Path, size_bytes: int) -> int:
        there = _size(path)
        if there is None:
            raise Refused("NotFound", f"this node has no volume {path.stem}")
        if size_bytes <= there:
            return there
        self._demand(size_bytes - there)
        with path.open("r+b") as file:
            os.ftruncate(file.fileno(), size_bytes)
            os.fsync(file.fileno())
        return size_bytes


def _fill(path: Path, origin: Path | None) -> None:
    """Gives the unfinished file its content and its name. One that has its name already stays."""
    partial = path.with_suffix(".new")
    if path.exists():
        return
    try:
        with partial.open("r+b") as file:
            if origin is not None:
                size = os.fstat(file.fileno()).st_size
                with origin.open("rb") as content:
                    copy(content.fileno(), file.fileno(), os.fstat(content.fileno()).st_size)
                os.ftruncate(file.fileno(), size)  # a clone has its source's
            os.fsync(file.fileno())
        partial.rename(path)
        _sync(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _full(error) from error


def copy(source: int, target: int, size: int) -> None:
    """The content of one open file in another, empty one: shared where the file system can, else without the holes."""
    try:
        fcntl.ioctl(target, FICLONE, source)
        return
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            raise
    for start, end in extents(source, size):
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            copied = os.copy_file_range(source, target, min(end - start, COPY_BYTES))
            if copied == 0:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            start += copied


def extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is data in a sparse file."""
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole
                return
            raise
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield start, min(at, size)


def _full(error: OSError) -> Exception:
    if error.errno in _FULL:
        return Exhausted("NoSpace", "the node's disk is full")
    return Unavailable("FileError", f"the file can't be made: {error.strerror}")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _can_be_direct(path: Path) -> bool | None:
    """Whether its file system does O_DIRECT (tmpfs doesn't); None where there is no such file."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _take_back(path: Path) -> None:
    try:
        os.chown(path, 0, 0)
    except FileNotFoundError:
        return


def _remove(path: Path) -> None:
    for each in (path, path.with_suffix(".new")):
        each.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
