"""A uid of its own for every machine: a QEMU that its guest took over can touch no other pod's.

A cluster's range is 65,536 uids, found from its id; within it a machine claims the first free one by creating a file
in a directory that all agents of the cluster on this host share.
"""

import zlib
from pathlib import Path

FIRST_UID = 1_000_000_000  # above what distributions and user namespaces hand out
RANGE_SIZE = 65_536
RANGES = 8_192


def first_uid(cluster_id: str) -> int:
    return FIRST_UID + zlib.crc32(cluster_id.encode()) % RANGES * RANGE_SIZE


def claim(directory: Path, cluster_id: str, machine_id: str) -> int:
    """The machine's uid; the same one again if it has one. Raises OSError when all are taken."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    start = zlib.crc32(machine_id.encode())
    for offset in range(RANGE_SIZE):
        slot = (start + offset) % RANGE_SIZE
        path = directory / str(slot)
        try:
            with path.open("x") as file:
                file.write(machine_id)
        except FileExistsError:
            if path.read_text() != machine_id:
                continue
        return first_uid(cluster_id) + slot
    raise OSError("every uid of the cluster's range is in use")


def release(directory: Path, machine_id: str) -> None:
    """Gives back what `claim` gave. A machine that has none is no error."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        try:
            if path.read_text() == machine_id:
                path.unlink()
        except FileNotFoundError:  # released by another agent of the cluster meanwhile
            continue
