"""Storage processes, real ones: what they open, who reaches it, and that they outlive agents and their own crashes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hypernetes.nodeagent.runtime import uids
from hypernetes.nodeagent.runtime.cgroup import Cgroups, host_hierarchy
from hypernetes.nodeagent.storage.processes import Key, Opened, StorageProcesses
from hypernetes.providers.volume.base import Owner, Unavailable
from hypernetes.providers.volume.local import DRIVER, LocalFiles

from .nbd import Client, Refused

MIB = 1 << 20
ACME, GLOBEX = Owner("acme", "uid-acme"), Owner("globex", "uid-globex")
SOMEBODY = 65_432  # a uid that nobody has


class Node:
    """A node's storage, and agents of it one after another."""

    def __init__(self, directory: Path) -> None:
        self.cluster_id = uuid.uuid4().hex[:8]
        self.directory = directory
        self.run_directory = Path("/run/hypernetes") / f"hn{self.cluster_id}"
        self.files = LocalFiles(directory / "volumes")
        self.cgroups = Cgroups(host_hierarchy(), f"hn{self.cluster_id}")

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[StorageProcesses]:
        processes = StorageProcesses(
            self.directory / "storage", self.run_directory, self.cluster_id, self.cgroups, {DRIVER: self.files}
        )
        running = asyncio.create_task(processes.run())
        await asyncio.sleep(0)  # it runs before, as in hn-agent
        await processes.adopt()
        try:
            yield processes
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def volume(
        self, owner: Owner = ACME, pod: str = "pod-1", *, read_only: bool = False, **limits: str
    ) -> Opened:
        uid = str(uuid.uuid4())
        await self.files.make(uid, 8 * MIB, None)
        return Opened(pod, "data", DRIVER, owner, f"pvc-{uid}", {"uid": uid, **limits})

    def opened(self, uid: str, pod: str, *, read_only: bool = False) -> Opened:
        return Opened(pod, "data", DRIVER, ACME, f"pvc-{uid}", {"uid": uid}, read_only)

    async def clean(self) -> None:
        """Whatever is open is closed; what would be left fails."""
        async with self.agent() as processes:
            for opened in processes.opened():
                await processes.close(opened.key)
        for path in (self.run_directory / "volumes", self.run_directory / "uids", self.run_directory):
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    yield node
    await node.clean()


async def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def pid_of(opened: Opened) -> int:
    assert opened.process is not None
    return opened.process.pid


async def test_what_is_written_and_flushed_is_in_the_file(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        with Client(processes.socket(wanted.key)) as client:
            assert (client.size, client.read_only) == (8 * MIB, False)
            client.write(MIB, b"here")
            client.flush()
            assert client.read(MIB, 6) == b"here\0\0"
        image = node.directory / "volumes" / f"{wanted.metadata['uid']}.img"
        assert image.read_bytes()[MIB : MIB + 4] == b"here"
        await processes.close(wanted.key)
        assert image.stat().st_uid == 0


async def test_it_runs_as_nobody_in_particular_and_without_a_network(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid_of(wanted)}/status").read_text().splitlines()
            if ":\t" in line
        )
        first = uids.first_uid(node.cluster_id)
        assert {int(word) for word in status["Uid"].split()} <= set(range(first, first + uids.RANGE_SIZE))
        assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"], status["Groups"].strip()) == (
            "0" * 16, "0" * 16, "1", "",
        )  # fmt: skip
        assert os.readlink(f"/proc/{pid_of(wanted)}/ns/net") != os.readlink("/proc/self/ns/net")
        assert f"hn{node.cluster_id}/volume-" in Path(f"/proc/{pid_of(wanted)}/cgroup").read_text()


async def test_only_the_pod_s_machine_reaches_the_socket(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        await processes.grant(wanted.key, SOMEBODY)
        assert connects_as(SOMEBODY, processes.socket(wanted.key))
        assert not connects_as(SOMEBODY + 1, processes.socket(wanted.key))


def connects_as(uid: int, path: Path) -> bool:
    program = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program], user=uid, group=uid, extra_groups=[], capture_output=True
    )
    assert done.returncode == 0 or b"PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


async def test_it_outlives_the_agent(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        client = Client(processes.socket(wanted.key))
    with client:
        client.write(0, b"between")
    async with node.agent() as processes:
        (found,) = processes.opened()
        assert pid_of(found) == pid_of(wanted)
        await processes.open(wanted)  # as the pod's worker does: nothing happens
        assert pid_of(processes.opened()[0]) == pid_of(wanted)
        with Client(processes.socket(wanted.key)) as client:
            assert client.read(0, 7) == b"between"


async def test_after_a_crash_it_is_there_again(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        await processes.grant(wanted.key, SOMEBODY)
        before = pid_of(wanted)
        with Client(processes.socket(wanted.key)) as client:
            client.write(0, b"kept")
            client.flush()
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: answers(processes.socket(wanted.key)))
        assert pid_of(wanted) != before
        assert connects_as(SOMEBODY, processes.socket(wanted.key))
        with Client(processes.socket(wanted.key)) as client:
            assert client.read(0, 4) == b"kept"


async def test_one_that_crashed_while_no_agent_was_there_is_started_by_the_next(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
    os.kill(pid_of(wanted), signal.SIGKILL)
    async with node.agent() as processes:
        await eventually(lambda: answers(processes.socket(wanted.key)))


def answers(path: Path) -> bool:
    try:
        with Client(path, seconds=1.0):
            return True
    except (OSError, Refused):
        return False


async def test_one_that_was_never_noted_is_ended(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
    next((node.directory / "storage").glob("*/*.json")).unlink()
    async with node.agent() as processes:
        assert processes.opened() == []
        assert wanted.process is not None
        assert not wanted.process.alive()
        await processes.open(wanted)


async def test_one_that_was_not_told_everything_is_started_anew(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        monitor = await processes._monitor(wanted.key)  # as if the agent had died before the last command
        await monitor.run("block-export-del", {"id": "volume", "mode": "hard"})
    before = pid_of(wanted)
    async with node.agent() as processes:
        await eventually(lambda: answers(processes.socket(wanted.key)))
        assert pid_of(processes.opened()[0]) != before


async def test_two_pods_never_have_it_at_once_unless_both_only_read(node: Node) -> None:
    wanted = await node.volume()
    other = Opened("pod-2", "data", DRIVER, ACME, wanted.handle, wanted.metadata)
    async with node.agent() as processes:
        await processes.open(wanted)
        with pytest.raises(Unavailable, match="in use"):
            await processes.open(other)
        await processes.close(wanted.key)
        await processes.open(other)
        await processes.close(other.key)
        for pod in ("pod-1", "pod-2"):
            reader = Opened(pod, "data", DRIVER, ACME, wanted.handle, wanted.metadata, read_only=True)
            await processes.open(reader)
            with Client(processes.socket(reader.key)) as client:
                assert client.read_only
                with pytest.raises(OSError, match="refuses"):
                    client.write(0, b"x")


async def test_an_image_that_another_process_writes_is_not_opened(node: Node) -> None:
    """QEMU's lock on the file, whoever holds it."""
    wanted = await node.volume()
    other = Opened("pod-2", "data", DRIVER, ACME, "another-handle-of-the-same-file", wanted.metadata)
    async with node.agent() as processes:
        await processes.open(wanted)
        with pytest.raises(Unavailable, match="in use"):
            await processes.open(other)
        assert [each.pod_uid for each in processes.opened()] == ["pod-1"]


async def test_the_guest_is_told_of_more_room_when_it_connects_again(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        with Client(processes.socket(wanted.key)) as before:
            before.write(0, b"old")
            await node.files.grow(wanted.metadata["uid"], 16 * MIB)
            await processes.resize(wanted.key, 16 * MIB)
            with Client(processes.socket(wanted.key)) as client:
                assert client.size == 16 * MIB
                assert client.read(0, 3) == b"old"
                client.write(15 * MIB, b"new")
            with pytest.raises(OSError):
                before.read(0, 3)


async def test_limits_are_kept(node: Node) -> None:
    wanted = await node.volume(writeIOPS="20")
    async with node.agent() as processes:
        await processes.open(wanted)
        with Client(processes.socket(wanted.key)) as client:
            began = time.monotonic()
            for _ in range(40):
                client.write(0, b"x" * 512)
            assert time.monotonic() - began > 0.7  # a second's burst, then 20 a second


async def test_a_snapshot_is_of_one_moment(node: Node) -> None:
    """What is written while it is taken isn't in it in part: the second of two writes without the first."""
    wanted = await node.volume()
    uid, copy = wanted.metadata["uid"], str(uuid.uuid4())
    async with node.agent() as processes:
        await processes.open(wanted)
        stop = asyncio.Event()

        def write() -> int:
            count = 0
            with Client(processes.socket(wanted.key), seconds=60.0) as client:
                while not stop.is_set():
                    count += 1
                    for at in (7 * MIB, 0):  # the copy goes upwards
                        client.write(at, count.to_bytes(512, "big"))
            return count

        writing = asyncio.create_task(asyncio.to_thread(write))
        try:
            for _ in range(20):
                async with processes.frozen(uid):
                    await node.files.make(copy, None, uid)
                image = (node.directory / "volumes" / f"{copy}.img").read_bytes()
                first, second = (int.from_bytes(image[at : at + 512], "big") for at in (7 * MIB, 0))
                assert first in (second, second + 1)
                await node.files.remove(copy)
                assert processes.in_use(uid)
        finally:
            stop.set()
            assert await writing > 0


async def test_nobody_begins_to_write_what_is_being_copied(node: Node) -> None:
    """Neither a pod that starts, nor a process that crashed and comes again, nor one that is to grow."""
    wanted = await node.volume()
    uid = wanted.metadata["uid"]
    async with node.agent() as processes:
        async with processes.frozen(uid):
            with pytest.raises(Unavailable, match="copied"):
                await processes.open(wanted)
            assert processes.opened() == []
            reader = node.opened(uid, "pod-2", read_only=True)
            await processes.open(reader)
            await processes.close(reader.key)
        await processes.open(wanted)
        async with processes.frozen(uid):
            with pytest.raises(Unavailable, match="copied"):
                await processes.resize(wanted.key, 16 * MIB)
            before = pid_of(wanted)
            os.kill(before, signal.SIGKILL)
            await asyncio.sleep(1.0)  # it would be there again after a tenth of a second
            assert not answers(processes.socket(wanted.key))
            with pytest.raises(Unavailable, match="copied"):
                await processes.open(wanted)
        await eventually(lambda: answers(processes.socket(wanted.key)))


async def test_two_copies_at_once_are_both_of_one_moment(node: Node) -> None:
    wanted = await node.volume()
    uid = wanted.metadata["uid"]
    async with node.agent() as processes:
        await processes.open(wanted)
        async with processes.frozen(uid):
            async with processes.frozen(uid):
                pass
            assert is_stopped(pid_of(wanted)), "the other copy isn't done"
        await eventually(lambda: answers(processes.socket(wanted.key)))


async def test_what_was_being_opened_when_a_copy_began_writes_nothing_meanwhile(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        opening = asyncio.create_task(processes.open(wanted))
        await asyncio.sleep(0)
        async with processes.frozen(wanted.metadata["uid"]):
            assert is_stopped(pid_of(wanted))
        await opening
        assert answers(processes.socket(wanted.key))


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_a_pod_of_another_tenant_finds_nothing(node: Node) -> None:
    """From inside the uid of one tenant's storage process: no other image is listed or opened."""
    mine, theirs = await node.volume(ACME, "pod-1"), await node.volume(GLOBEX, "pod-2")
    async with node.agent() as processes:
        await processes.open(mine)
        await processes.open(theirs)
        uid = int(Path(f"/proc/{pid_of(mine)}/status").read_text().split("Uid:\t")[1].split()[0])
        image = node.directory / "volumes" / f"{theirs.metadata['uid']}.img"
        program = (
            "import os,sys\n"
            f"for what in (lambda: os.listdir({str(image.parent)!r}), lambda: open({str(image)!r}), "
            f"lambda: os.open('/proc/{pid_of(theirs)}/fd', os.O_RDONLY)):\n"
            "    try: what()\n    except PermissionError: continue\n    sys.exit('opened')\n"
        )
        done = subprocess.run(
            ["/usr/bin/python3", "-c", program], user=uid, group=uid, extra_groups=[], capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert not connects_as(uid, processes.socket(theirs.key))


async def test_nothing_is_left(node: Node) -> None:
    wanted = await node.volume()
    async with node.agent() as processes:
        await processes.open(wanted)
        process = wanted.process
        await processes.close(wanted.key)
        await processes.close(wanted.key)
        await processes.close(Key("pod-1", "never"))
        assert process is not None
        assert not process.alive()
    assert list((node.directory / "storage").iterdir()) == []
    assert list((node.run_directory / "volumes").iterdir()) == []
    assert list((node.run_directory / "uids").iterdir()) == []
    groups = host_hierarchy().directories(f"hn{node.cluster_id}")
    assert not any(path.exists() for path in groups)
