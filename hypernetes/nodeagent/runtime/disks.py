"""Giving a QEMU disks while it runs: as open descriptors, since its uid can reach no directory."""

import asyncio
import contextlib
import os
from pathlib import Path

from hypernetes.nodeagent.runtime import qemu
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.qmp import Monitor


def node_of(lun: int) -> str:
    """The name of a disk's block node."""
    return f"lun{lun}"


async def plug(monitor: Monitor, path: Path, lun: int, *, read_only: bool) -> int:
    """Plugs a file in as a LUN; the number of QEMU's set of descriptors that has it. Raises MachineError."""
    try:
        fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError("DiskMissing", f"the disk {path.name} can't be opened: {error.strerror}") from error
    try:
        added = await monitor.run("add-fd", fd=fd)
    finally:
        os.close(fd)
    try:
        fd_set = int(added["fdset-id"])
    except (KeyError, TypeError, ValueError) as error:
        raise MachineError("HypervisorRefused", "QEMU did not say which descriptor it was given") from error
    block, device = qemu.plug_arguments(node_of(lun), fd_set, lun, read_only=read_only)
    try:
        await monitor.run("blockdev-add", block)
        await monitor.run("device_add", device)
    except BaseException:
        await asyncio.shield(_undo(monitor, lun, fd_set))
        raise
    return fd_set


async def _undo(monitor: Monitor, lun: int, fd_set: int) -> None:
    """What a disk that didn't get all the way in has left: else nothing could be plugged there again."""
    for command, arguments in (("blockdev-del", {"node-name": node_of(lun)}), ("remove-fd", {"fdset-id": fd_set})):
        with contextlib.suppress(MachineError):
            await monitor.run(command, arguments)


async def plug_empty(monitor: Monitor, lun: int) -> None:
    """Plugs in one of the disks that a template has for images. Raises MachineError."""
    block, device = qemu.empty_arguments(node_of(lun), lun)
    await monitor.run("blockdev-add", block)
    await monitor.run("device_add", device)


async def plug_export(monitor: Monitor, socket: Path, export: str, lun: int, *, read_only: bool) -> None:
    """Plugs in what a storage process exports. Raises MachineError."""
    block, device = qemu.export_arguments(node_of(lun), str(socket), export, lun, read_only=read_only)
    await monitor.run("blockdev-add", block)
    try:
        await monitor.run("device_add", device)
    except MachineError:
        await monitor.run("blockdev-del", {"node-name": node_of(lun)})
        raise


async def unplug(monitor: Monitor, lun: int, fd_set: int | None) -> None:
    """Takes a disk out that the guest has let go; without a set of descriptors an export. Raises MachineError."""
    node = node_of(lun)
    await monitor.run("device_del", {"id": f"disk-{node}"})
    await monitor.wait_event("DEVICE_DELETED", device=f"disk-{node}")
    await monitor.run("blockdev-del", {"node-name": node})
    if fd_set is not None:
        await monitor.run("remove-fd", {"fdset-id": fd_set})
