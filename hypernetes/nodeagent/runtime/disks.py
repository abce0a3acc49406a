"""Giving a QEMU disks while it runs: as open descriptors, since its uid can reach no directory."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

from hypernetes.nodeagent.runtime import qemu
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.qmp import Monitor, QmpError

LET_GO_SECONDS, LET_GO_PAUSE_SECONDS = 5.0, 0.01


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


async def _undo(monitor: Monitor, lun: int, fd_set: int | None) -> None:
    """What a disk that didn't get all the way in has left: else nothing could be plugged there again."""
    with contextlib.suppress(MachineError):
        await unplug(monitor, lun, fd_set)


async def plug_empty(monitor: Monitor, lun: int) -> None:
    """Plugs in one of the disks that a template has for images. Raises MachineError."""
    block, device = qemu.empty_arguments(node_of(lun), lun)
    await monitor.run("blockdev-add", block)
    await monitor.run("device_add", device)


async def plug_export(monitor: Monitor, socket: Path, export: str, lun: int, *, read_only: bool) -> None:
    """Plugs in what a storage process exports. What an attempt that was cut off has left there goes first. Raises
    MachineError."""
    block, device = qemu.export_arguments(node_of(lun), str(socket), export, lun, read_only=read_only)
    if await _has_node(monitor, lun):
        await unplug(monitor, lun, None)
    try:
        await monitor.run("blockdev-add", block)
        await monitor.run("device_add", device)
    except BaseException:
        await asyncio.shield(_undo(monitor, lun, None))
        raise


async def unplug(monitor: Monitor, lun: int, fd_set: int | None) -> None:
    """Takes a disk out that the guest has let go; without a set of descriptors an export. Each part of it may be done
    already, by an attempt whose end nobody saw. Raises MachineError."""
    await _remove_device(monitor, f"disk-{node_of(lun)}")
    await _remove_node(monitor, lun)
    if fd_set is not None and await _has_fd_set(monitor, fd_set):
        await monitor.run("remove-fd", {"fdset-id": fd_set})


async def _remove_device(monitor: Monitor, device: str) -> None:
    monitor.forget_events("DEVICE_DELETED", device=device)  # of a former disk of this name
    try:
        await monitor.run("device_del", {"id": device})
    except QmpError as error:
        if error.reason != "HypervisorRefused":
            raise
        there = await monitor.run("qom-list", {"path": "/machine/peripheral"})
        if all(each.get("name") != device for each in there):
            return
        # It is on its way out; QEMU says when.
    await monitor.wait_event("DEVICE_DELETED", device=device)


async def _remove_node(monitor: Monitor, lun: int) -> None:
    """A device that is out of QEMU's list already still has it for a moment."""
    deadline = time.monotonic() + LET_GO_SECONDS
    while await _has_node(monitor, lun):
        try:
            await monitor.run("blockdev-del", {"node-name": node_of(lun)})
        except QmpError as error:
            if error.reason != "HypervisorRefused" or time.monotonic() > deadline:
                raise
            await asyncio.sleep(LET_GO_PAUSE_SECONDS)


async def _has_node(monitor: Monitor, lun: int) -> bool:
    nodes = await monitor.run("query-named-block-nodes", {"flat": True})
    return any(each.get("node-name") == node_of(lun) for each in nodes)


async def _has_fd_set(monitor: Monitor, fd_set: int) -> bool:
    return any(each.get("fdset-id") == fd_set for each in await monitor.run("query-fdsets"))
