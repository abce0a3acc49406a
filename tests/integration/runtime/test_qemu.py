"""Real machines, under TCG."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypernetes.nodeagent.runtime.base import (
    ContainerState,
    Exited,
    GuestConfig,
    Machine,
    MachineError,
    Mount,
    Output,
    Runtime,
)
from hypernetes.nodeagent.runtime.messages import capability_mask
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime, open_runtime
from hypernetes.nodeagent.runtime.template import Snapshot, TemplateKey, Templates
from tests.integration.runtime.suite import (
    DEADLINE_SECONDS,
    Bench,
    RuntimeSuite,
    Services,
    booted,
    collect,
    container,
    machine_spec,
    output_of,
)

pytestmark = pytest.mark.vm


async def no_template(key: TemplateKey) -> Snapshot:
    raise MachineError("BootFailed", "these machines boot cold")


class QemuBench:
    """Of machines that boot cold."""

    def __init__(self, root: Path, guest: Path, image: Path) -> None:
        self.root, self.guest, self.image = root, guest, image
        self.cluster_id = f"t{os.getpid() % 100000}"

    async def open(self) -> QemuRuntime:
        runtime = await self.open_as_it_is()
        runtime.templates = Templates(no_template)
        return runtime

    async def open_as_it_is(self) -> QemuRuntime:
        return await open_runtime(
            self.root / "node", self.guest, self.cluster_id, "tcg", run_directory=self.root / "run"
        )

    def kill(self, machine: Machine) -> None:
        os.kill(machine.pid, signal.SIGKILL)


@pytest.fixture
def bench(guest: Path, image: Path) -> Iterator[QemuBench]:
    # Not pytest's own directory: a unix socket's path has 108 bytes, and QEMU's uid must reach it.
    with tempfile.TemporaryDirectory(prefix="hn-test-") as directory:
        Path(directory).chmod(0o711)
        yield QemuBench(Path(directory), guest, image)
        left = [path.name for path in (Path(directory) / "node" / "machines").iterdir()]
        assert left == [], "machines are left behind"


class TestQemu(RuntimeSuite):
    pass


async def shell(machine: Machine, script: str, container_id: str = "c.0") -> str:
    text, code = await output_of(await machine.exec(container_id, ["sh", "-c", script]))
    assert code == 0, text
    return text.decode()


class TestMachines:
    @pytest.fixture
    async def runtime(self, bench: Bench) -> AsyncIterator[Runtime]:
        opened = await bench.open()
        yield opened
        await opened.close()

    @pytest.fixture
    async def machine(self, runtime: Runtime, bench: Bench) -> AsyncIterator[Machine]:
        async with booted(runtime, bench) as made:
            yield made

    async def test_qemu_runs_unprivileged_in_a_session_of_its_own(self, machine: Machine) -> None:
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{machine.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert int(status["Uid"].split()[0]) >= 1_000_000_000
        assert status["CapEff"] == "0000000000000000"
        assert status["Seccomp"] == "2"
        assert os.getsid(machine.pid) == machine.pid
        assert f"/{machine.id}" in Path(f"/proc/{machine.pid}/cgroup").read_text()

    async def test_the_clock_is_right_within_50_ms(self, machine: Machine) -> None:
        await machine.start_container(container(["cat"], stdin=True))
        client = await machine.attach("c.0")
        async with asyncio.timeout(DEADLINE_SECONDS):
            for _ in range(5):
                sent = time.time()
                await client.stdin.write(b"now")
                event = await anext(machine.events())
                assert isinstance(event, Output)
                assert sent - 0.05 <= event.time <= time.time() + 0.05

    async def test_a_container_has_its_own_processes_and_shares_the_host_name(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        assert (await shell(machine, "hostname")).strip() == "pod"
        assert (await shell(machine, "cat /proc/1/comm")).strip() == "sleep"

    async def test_users_capabilities_and_files_are_as_asked(self, machine: Machine) -> None:
        spec = container(
            ["sleep", "1000"],
            uid=1000,
            gid=1001,
            groups=[1002],
            cwd="/work/deep",
            no_new_privileges=True,
            files={"/etc/hosts": b"127.0.0.1 pod\n", "/etc/escape/inside": b"kept in"},
        )
        await machine.start_container(spec)
        assert (await shell(machine, "id -u; id -g; id -G; pwd")).split() == [
            "1000",
            "1001",
            "1001",
            "1002",
            "/work/deep",
        ]
        status = await shell(machine, "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status")
        assert "CapEff:\t0000000000000000" in status
        assert f"CapBnd:\t{capability_mask(spec):016x}" in status
        assert "NoNewPrivs:\t1" in status
        assert await shell(machine, "cat /etc/hosts") == "127.0.0.1 pod\n"
        assert await shell(machine, "cat /etc/elsewhere/inside") == "kept in"

    async def test_an_unprivileged_container_cannot_touch_the_kernel(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        assert (await shell(machine, "echo 1 > /proc/sys/kernel/sysrq && echo done || echo refused")).endswith(
            "refused\n"
        )
        assert (await shell(machine, "head -c1 /proc/kcore | wc -c")).strip() == "0"
        assert (await shell(machine, "mount -t tmpfs x /tmp && echo done || echo refused")).endswith("refused\n")
        assert (await shell(machine, "mknod /tmp/sda b 8 0 && echo done || echo refused")).endswith("refused\n")

    async def test_a_read_only_root_refuses_writes(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"], read_only_root=True))
        assert (await shell(machine, "touch /file && echo done || echo refused")).endswith("refused\n")

    async def test_a_file_that_is_no_program_is_not_executable(self, machine: Machine) -> None:
        with pytest.raises(MachineError) as caught:
            await machine.start_container(container(["not-executable"]))
        assert caught.value.reason == "NotExecutable"

    async def test_a_container_beyond_its_memory_is_oom_killed(self, machine: Machine) -> None:
        await machine.start_container(
            container(["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"], memory_bytes=16 << 20)
        )
        _, exited, _ = await collect(machine)
        assert exited.status.oom_killed
        assert exited.status.exit_code == 137
        await machine.start_container(container(["echo", "still here"], "d.0"))
        assert (await collect(machine, "d.0"))[0] == b"still here\n"

    async def test_a_slow_reader_gets_all_that_a_command_said_before_it_ended(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        wanted = (256 << 10) + (48 << 10)  # what may be on its way, and then less than a pipe holds
        process = await machine.exec("c.0", ["sh", "-c", f"yes | head -c {wanted}; exit 3"])
        await asyncio.sleep(3)  # nothing is read while the command ends
        output, code = await output_of(process)
        assert (len(output), code) == (wanted, 3)

    async def test_a_terminal_can_be_resized(self, machine: Machine) -> None:
        await machine.start_container(container(["sleep", "1000"]))
        process = await machine.exec("c.0", ["sh", "-c", "read go; stty size; tty"], tty=True, stdin=True)
        await process.resize(132, 43)
        await process.stdin.write(b"go\n")
        text, code = await output_of(process)
        assert code == 0
        assert b"43 132" in text
        assert b"/dev/pts/0" in text

    async def test_a_written_volume_is_replaced_atomically(self, machine: Machine) -> None:
        await machine.write_volume("config", {"a": (b"1", 0o600), "sub/b": (b"2", 0o644)})
        await machine.start_container(container(["sleep", "1000"], mounts=[Mount("config", "/config", read_only=True)]))
        assert await shell(machine, "cat /config/a /config/sub/b; ls /config") == "12a\nsub\n"
        await machine.write_volume("config", {"a": (b"3", 0o600)})
        assert await shell(machine, "ls /config; cat /config/..data/a") == "a\n3"
        assert (await shell(machine, "touch /config/x && echo done || echo refused")).endswith("refused\n")

    async def test_volumes_are_shared_between_containers_and_sub_paths_stay_inside(self, machine: Machine) -> None:
        await machine.make_volume("data")
        await machine.make_volume("memory", memory=True, size_bytes=1 << 20)
        mounts = [Mount("data", "/data"), Mount("memory", "/memory")]
        await machine.start_container(container(["sleep", "1000"], "a.0", mounts=mounts))
        await shell(machine, "echo x > /data/x; ln -s /proc /data/evil; mkdir /data/sub; echo y > /data/sub/y", "a.0")
        assert (await shell(machine, "head -c 2m /dev/zero > /memory/f || echo full", "a.0")).endswith("full\n")
        mounts = [Mount("data", "/sub", sub_path="sub"), Mount("data", "/new", sub_path="made/deep")]
        await machine.start_container(container(["sleep", "1000"], "b.0", mounts=mounts))
        assert await shell(machine, "cat /sub/y; ls /new", "b.0") == "y\n"
        with pytest.raises(MachineError) as caught:
            await machine.start_container(
                container(["sleep", "1"], "d.0", mounts=[Mount("data", "/evil", sub_path="evil/1")])
            )
        assert caught.value.reason == "MountFailed"

    async def test_containers_of_a_pod_can_share_their_processes(self, runtime: Runtime, bench: Bench) -> None:
        machine = await runtime.create(machine_spec("shared"), Services())
        try:
            await machine.configure(GuestConfig("pod", None, share_process_namespace=True))
            await machine.attach_disk("image", bench.image, read_only=True)
            await machine.start_container(container(["sleep", "1000"], "a.0"))
            await machine.start_container(container(["sleep", "2000"], "b.0"))
            assert "sleep 1000" in await shell(machine, "ps", "b.0")
            await machine.signal_container("a.0", 9)
            _, exited, _ = await collect(machine, "a.0")
            assert exited.status.exit_code == 137
        finally:
            await machine.shutdown(5)

    async def test_much_output_without_an_agent_is_kept_in_order(self, bench: QemuBench) -> None:
        first = await bench.open()
        machine = await first.create(machine_spec("loud"), Services())
        await machine.configure(GuestConfig("pod", None))
        await machine.attach_disk("image", bench.image, read_only=True)
        await machine.start_container(container(["seq", "1", "600000"]))
        await first.close()
        await asyncio.sleep(2)  # it goes on into the scratch disk while nobody listens
        second = await bench.open()
        machine = (await second.adopt({"loud": Services()}))["loud"]
        try:
            text, exited, _ = await collect(machine)
            assert exited.status.exit_code == 0
            assert text == b"".join(b"%d\n" % number for number in range(1, 600001))
        finally:
            await machine.shutdown(5)
            await second.close()

    async def test_a_disk_can_be_detached_and_its_place_used_again(self, machine: Machine, bench: Bench) -> None:
        await machine.attach_disk("second", bench.image, read_only=True)
        await machine.detach_disk("second")
        await machine.detach_disk("second")
        await machine.attach_disk("third", bench.image, read_only=True)

    async def test_a_volume_disk_is_mounted_and_keeps_its_content(
        self, runtime: Runtime, bench: QemuBench, tmp_path: Path
    ) -> None:
        disk = tmp_path / "volume.img"
        with disk.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(disk)], check=True, env={"PATH": "/usr/sbin:/sbin"})
        for name, script in (("one", "echo kept > /data/file"), ("two", "cat /data/file")):
            async with booted(runtime, bench, name=name) as machine:
                await machine.attach_disk("volume", disk, read_only=False, volume="data")
                await machine.start_container(container(["sh", "-c", script], mounts=[Mount("data", "/data")]))
                text, _, _ = await collect(machine)
        assert text == b"kept\n"

    async def test_memory_use_is_told(self, machine: Machine) -> None:
        assert 8 << 20 < (await machine.usage()).memory_bytes < 192 << 20

    async def test_what_a_container_uses_is_told_while_it_runs(self, machine: Machine) -> None:
        script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exec sleep 600"
        await machine.start_container(container(["sh", "-c", script], name="busy.0"))
        used = (await machine.usage()).containers["busy.0"]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (now := (await machine.usage()).containers["busy.0"]).cpu_seconds < used.cpu_seconds + 0.01:
                await asyncio.sleep(0.1)
        assert 16 << 10 < now.memory_bytes < 64 << 20
        await machine.signal_container("busy.0", 9)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await machine.usage()).containers:
                await asyncio.sleep(0.1)

    async def test_too_little_memory_is_an_error_that_says_so(self, runtime: Runtime) -> None:
        spec = machine_spec("tiny")
        with pytest.raises(MachineError) as caught:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await runtime.create(type(spec)("tiny", 8 << 20, 1, None, 64 << 20), Services())
        assert caught.value.reason in ("BootFailed", "LinkLost")

    async def test_a_fast_writer_does_not_lose_or_reorder(self, machine: Machine) -> None:
        await machine.start_container(container(["seq", "1", "200000"]))
        text, _, seen = await collect(machine)
        assert text == b"".join(b"%d\n" % number for number in range(1, 200001))
        assert any(isinstance(event, Output) for event in seen)
        assert isinstance(seen[-1], Exited)
        assert [one.state for one in await machine.containers()] == [ContainerState.EXITED]
