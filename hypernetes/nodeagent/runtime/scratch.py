"""The scratch disk: an ext4 for writable layers, emptyDirs and spooled output; sparse, and gone with its pod.

That of a usual size is in the template, plugged and mounted: a clone gets a copy of the template's file, which is what
its memory takes the disk to be. So a pod's start neither makes nor mounts it.
"""

import errno
import os
import shutil
from pathlib import Path

from hypernetes.nodeagent.runtime import tools
from hypernetes.nodeagent.runtime.base import MachineError

_PIECE_BYTES = 1 << 20


async def make(path: Path, size: int) -> None:
    """Without a journal: a pod's writable layers end with it. Raises MachineError."""
    with path.open("wb") as file:
        file.truncate(size)
    tool = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin") or "mke2fs"
    options = ("-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")
    await tools.run(tool, *options, str(path), package="e2fsprogs")


def copy(source: int, path: Path) -> None:
    """A copy of an open file that is as sparse. Its place isn't moved. Raises MachineError."""
    size = os.fstat(source).st_size
    try:
        with path.open("wb") as file:
            file.truncate(size)
            for begin, end in _extents(source, size):
                for at in range(begin, end, _PIECE_BYTES):
                    piece = os.pread(source, min(_PIECE_BYTES, end - at), at)
                    os.pwrite(file.fileno(), piece, at)
    except OSError as error:
        reason = "DiskFull" if error.errno == errno.ENOSPC else "ToolFailed"
        raise MachineError(reason, f"the machine's scratch disk can't be made: {error.strerror}") from error


def _extents(source: int, size: int) -> list[tuple[int, int]]:
    """Where the file has data."""
    # Of a description of its own: looking for data moves the place of all that share one.
    fd = os.open(f"/proc/self/fd/{source}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found, at = [], 0
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break  # a hole up to the end
                raise
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            found.append((begin, at))
        return found
    finally:
        os.close(fd)
