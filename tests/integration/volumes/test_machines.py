"""Persistent volumes in real machines: runtime, storage process, QEMU and hn-init together."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hypernetes.nodeagent.runtime.base import GuestConfig, Machine, MachineError, Mount, Output, VolumeDisk
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime
from hypernetes.nodeagent.storage import daemon
from hypernetes.nodeagent.storage.processes import Key, StorageProcesses
from tests.integration.runtime.conftest import guest, image  # noqa: F401 - fixtures
from tests.integration.runtime.suite import Services, container, machine_spec, output_of
from tests.integration.runtime.test_qemu import QemuBench

from .nbd import Client, Refused
from .test_processes import MIB, Node

pytestmark = pytest.mark.vm


class Site:
    """A node with machines and storage."""

    def __init__(self, node: Node, processes: StorageProcesses, runtime: QemuRuntime, image: Path) -> None:  # noqa: F811
        self.node, self.processes, self.runtime, self.image = node, processes, runtime, image

    async def blank(self, size: int = 64 * MIB) -> str:
        uid = str(uuid.uuid4())
        await self.node.files.make(uid, size, None)
        return uid

    def file(self, uid: str) -> Path:
        return self.node.directory / "volumes" / f"{uid}.img"

    @contextlib.asynccontextmanager
    async def machine(self, name: str) -> AsyncIterator[Machine]:
        machine = await self.runtime.create(machine_spec(name), Services())
        try:
            await machine.configure(GuestConfig("pod", None))
            await machine.attach_disk("image", self.image, read_only=True)
            yield machine
        finally:
            await machine.shutdown(20)
            for opened in self.processes.opened(name):
                await self.processes.close(opened.key)

    async def give(self, machine: Machine, uid: str, **changes: object) -> Key:
        wanted = self.node.opened(uid, machine.id, read_only=bool(changes.get("read_only")))
        await self.processes.open(wanted)
        await self.processes.grant(wanted.key, machine.uid)
        disk = VolumeDisk("data", self.processes.socket(wanted.key), daemon.EXPORT)
        await machine.attach_volume(replace(disk, **changes))  # type: ignore[arg-type]
        return wanted.key


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hn-test-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
async def site(directory: Path, guest: Path, image: Path) -> AsyncIterator[Site]:  # noqa: F811
    bench = QemuBench(directory, guest, image)
    node = Node(directory)
    runtime = await bench.open_as_it_is()
    try:
        async with node.agent() as processes:
            yield Site(node, processes, runtime, image)
    finally:
        await runtime.close()
        await node.clean()


MOUNT = (Mount("data", "/data"),)


async def run(machine: Machine, script: str, name: str = "c.0") -> str:
    text, code = await output_of(await machine.exec(name, ["sh", "-c", script]))
    assert code == 0, text
    return text.decode()


async def test_a_blank_volume_is_formatted_once_and_keeps_what_is_written(site: Site) -> None:
    uid = await site.blank()
    for name in ("m1", "m2"):
        async with site.machine(name) as machine:
            await site.give(machine, uid, group=2000)
            await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
            await run(machine, f"echo {name} >> /data/log && sync -f /data/log 2>/dev/null || sync")
            assert (await run(machine, "stat -c '%g %a' /data")).split() == ["2000", "2775"]
            assert "/data ext4" in await run(machine, "grep ' /data ' /proc/mounts")
            assert "discard" in await run(machine, "grep ' /data ' /proc/mounts")
            if name == "m2":
                assert await run(machine, "cat /data/log") == "m1\nm2\n"
    # Closed as it should be: nothing is left for a journal to recover (bit 4 of the incompatible features).
    superblock = site.file(uid).read_bytes()[1024:2048]
    assert superblock[0x38:0x3A] == b"\x53\xef"
    assert not superblock[0x60] & 4


async def test_xfs_is_made_grown_and_mounted(site: Site) -> None:
    uid = await site.blank(400 * MIB)
    async with site.machine("m1") as machine:
        key = await site.give(machine, uid, file_system="xfs")
        await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
        before = int((await run(machine, "df -k /data | tail -1")).split()[1])
        await run(machine, "echo here > /data/file; sync")
        await site.node.files.grow(uid, 600 * MIB)
        await site.processes.resize(key, 600 * MIB)
        await machine.grow_volume("data", 600 * MIB)
        assert int((await run(machine, "df -k /data | tail -1")).split()[1]) > before * 1.3
        assert await run(machine, "cat /data/file") == "here\n"


async def test_ext4_grows_while_it_is_written(site: Site) -> None:
    uid = await site.blank()
    async with site.machine("m1") as machine:
        key = await site.give(machine, uid)
        await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
        before = int((await run(machine, "df -k /data | tail -1")).split()[1])
        writing = await machine.exec("c.0", ["sh", "-c", "for i in $(seq 200); do echo $i >> /data/log; sync; done"])
        await site.node.files.grow(uid, 128 * MIB)
        await site.processes.resize(key, 128 * MIB)
        await machine.grow_volume("data", 128 * MIB)
        assert (await output_of(writing))[1] == 0
        assert int((await run(machine, "df -k /data | tail -1")).split()[1]) > before * 1.7
        assert (await run(machine, "wc -l < /data/log")).strip() == "200"


@pytest.mark.parametrize(
    ("at", "content", "named"),
    [(0, b"LUKS\xba\xbe", "LUKS"), (65600, b"_BHRfS_M", "btrfs"), (700_000, b"x", "unknown kind")],
)
async def test_what_others_wrote_is_not_touched(site: Site, at: int, content: bytes, named: str) -> None:
    uid = await site.blank()
    with site.file(uid).open("r+b") as file:
        file.seek(at)
        file.write(content)
    before = site.file(uid).read_bytes()
    async with site.machine("m1") as machine:
        with pytest.raises(MachineError, match=named) as caught:
            await site.give(machine, uid)
        assert caught.value.reason == "ForeignContent"
    assert site.file(uid).read_bytes() == before


async def test_a_format_that_was_cut_off_is_done_again(site: Site) -> None:
    uid = await site.blank()
    with site.file(uid).open("r+b") as file:
        file.write(b"hypernetes: this device is being formatted\n")
        file.seek(100_000)
        file.write(os.urandom(500_000))
    async with site.machine("m1") as machine:
        await site.give(machine, uid)
        await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
        assert (await run(machine, "ls -A /data")).split() == ["lost+found"]


async def test_a_device_is_given_raw(site: Site) -> None:
    uid = await site.blank()
    device = (Mount("data", "/dev/disk", block=True),)
    async with site.machine("m1") as machine:
        await site.give(machine, uid, block=True)
        await machine.start_container(container(["sleep", "1000"], mounts=device))
        await run(machine, "test -b /dev/disk && printf raw | dd of=/dev/disk conv=fsync 2>/dev/null")
    assert site.file(uid).read_bytes()[:3] == b"raw"


async def test_nobody_writes_what_is_read_only(site: Site) -> None:
    uid = await site.blank()
    async with site.machine("m1") as machine:
        await site.give(machine, uid)
        await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
        await run(machine, "echo kept > /data/file; sync")
    before = site.file(uid).read_bytes()
    async with site.machine("m2") as machine:
        await site.give(machine, uid, read_only=True)
        await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
        assert (
            await run(machine, "cat /data/file; (echo x > /data/file) 2>/dev/null || echo refused") == "kept\nrefused\n"
        )
    assert site.file(uid).read_bytes() == before


# Prints a line only once it is on the volume.
LOGGER = (
    "i=0; while true; do i=$((i+1)); printf '%08d\\n' $i | dd of=/data/log oflag=append conv=notrunc,fsync 2>/dev/null"
    " && echo $i; done"
)


async def acknowledged(machine: Machine, at_least: int, seen: list[int], name: str = "c.0") -> None:
    """Reads what the logger says until it has said `at_least`."""
    async with asyncio.timeout(120):
        async for event in machine.events():
            if isinstance(event, Output) and event.container_id == name:
                await machine.acknowledge(event.sequence)
                seen += [int(line) for line in event.data.split()]
                if seen and seen[-1] >= at_least:
                    return


async def test_every_acknowledged_line_survives_the_death_of_storage_process_and_machine(site: Site) -> None:
    uid = await site.blank()
    seen: list[int] = []
    async with site.machine("m1") as machine:
        key = await site.give(machine, uid)
        await machine.start_container(container(["sh", "-c", LOGGER], mounts=MOUNT))
        await acknowledged(machine, 10, seen)
        for _ in range(3):
            (opened,) = site.processes.opened("m1")
            assert opened.process is not None
            os.kill(opened.process.pid, signal.SIGKILL)
            await acknowledged(machine, seen[-1] + 20, seen)  # it pauses and goes on: no line is missing
        assert seen == list(range(1, seen[-1] + 1))
        os.kill(machine.pid, signal.SIGKILL)
    assert key.volume == "data"
    async with site.machine("m2") as machine:
        await site.give(machine, uid)
        await machine.start_container(container(["sleep", "1000"], mounts=MOUNT))
        lines = [int(line) for line in (await run(machine, "cat /data/log")).split()]
        assert lines[: len(seen)] == seen


# What one pod's QEMU could do, done from its uid and namespaces: list, read, and connect to whatever it finds.
SEARCH = """
import os, socket, stat, sys
found, listed = [], [os.path.join(at, name) for top in sys.argv[2:] for at, _, names in os.walk(top) for name in names]
for path in [*listed, *sys.argv[2:]]:
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            socket.socket(socket.AF_UNIX).connect(path)
        elif not os.path.isdir(path):
            open(path, "rb").close()
        else:
            continue
    except OSError:
        continue
    found.append(path)
try:
    os.listdir(f"/proc/{sys.argv[1]}/fd")
    found.append("descriptors")
except OSError:
    pass
print("\\n".join(found))
"""


async def test_a_hypervisor_reaches_its_own_volume_and_no_other(site: Site) -> None:
    """Whatever a tenant makes of its QEMU, another tenant's image is neither listed nor opened, nor its export."""
    async with site.machine("m1") as mine, site.machine("m2") as theirs:
        own = await site.give(mine, await site.blank())
        other = await site.give(theirs, await site.blank())
        (storage,) = site.processes.opened("m2")
        assert storage.process is not None
        # What lies in directories that it can't list it may know by name.
        known = [site.processes.socket(own), site.processes.socket(other), *(site.node.directory / "volumes").iterdir()]
        known += (site.node.run_directory / "volumes").glob("*/*")
        places = [str(path) for path in (site.node.directory, site.node.run_directory, *known)]
        enter = ["nsenter", "--target", str(mine.pid), "--all", "setpriv", f"--reuid={mine.uid}", f"--regid={mine.uid}"]
        argv = [*enter, "--clear-groups", "/usr/bin/python3", "-c", SEARCH, str(storage.process.pid), *places]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=True, timeout=60)
        reached = set(done.stdout.split("\n")) - {""}
        volumes = {path for path in reached if path.endswith((".nbd", ".qmp", ".img")) or path == "descriptors"}
        assert volumes == {str(site.processes.socket(own))}
        assert str(site.processes.socket(other)) not in reached
        # The socket that it reaches has one export, and that is its own volume.
        with pytest.raises(Refused):
            Client(site.processes.socket(own), "another")
