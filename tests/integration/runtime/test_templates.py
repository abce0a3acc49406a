"""Machines that are clones of a template: they keep the runtime's promises, and nothing of another's identity."""

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypernetes.nodeagent import balancer, sizing
from hypernetes.nodeagent.runtime import hypervisor, qemu_runtime, template
from hypernetes.nodeagent.runtime.base import GuestConfig, Machine, Mount, Nic
from hypernetes.nodeagent.runtime.qemu import Accel
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime
from hypernetes.nodeagent.runtime.template import Snapshot, TemplateKey, Templates
from tests.integration.networks.namespaces import Namespace
from tests.integration.runtime.suite import (
    DEADLINE_SECONDS,
    RuntimeSuite,
    Services,
    booted,
    collect,
    container,
    machine_spec,
)
from tests.integration.runtime.test_network import HAPROXY, MAP, NETWORK, NFTABLES, greet, listening, open_tap
from tests.integration.runtime.test_qemu import QemuBench, shell

pytestmark = pytest.mark.vm


class KeptTemplates(Templates):
    """Of one test for the next: making one takes seconds."""

    def serve(self, runtime: QemuRuntime) -> None:
        self._make = runtime.templates._make
        runtime.templates = self

    async def close(self) -> None:
        await self.settled()
        self._making = None  # a task of this test's event loop


class CloneBench(QemuBench):
    def __init__(self, root: Path, guest: Path, image: Path, kept: KeptTemplates) -> None:
        super().__init__(root, guest, image)
        self.kept = kept

    async def open(self) -> QemuRuntime:
        runtime = await self.open_as_it_is()
        self.kept.serve(runtime)
        # The first one of a shape has a template made.
        while not self.kept._ready:
            machine = await runtime.create(machine_spec("first"), Services())
            await machine.shutdown(5)
            await self.kept.settled()
            assert not self.kept._broken
        return runtime


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptTemplates]:
    async def unserved(key: TemplateKey) -> Snapshot:
        raise AssertionError("no runtime is open")

    templates = KeptTemplates(unserved)
    yield templates
    asyncio.run(Templates.close(templates))


@pytest.fixture
def bench(guest: Path, image: Path, kept: KeptTemplates) -> Iterator[CloneBench]:
    with tempfile.TemporaryDirectory(prefix="hn-test-") as directory:
        Path(directory).chmod(0o711)
        yield CloneBench(Path(directory), guest, image, kept)
        assert list((Path(directory) / "node" / "machines").iterdir()) == [], "machines are left behind"


def is_clone(machine: Machine) -> bool:
    return b"\0-incoming\0" in Path(f"/proc/{machine.pid}/cmdline").read_bytes()


class TestClones(RuntimeSuite):
    async def test_machines_here_are_clones(self, machine: Machine) -> None:
        assert is_clone(machine)

    async def test_two_clones_share_nothing_that_should_be_their_own(
        self, runtime: QemuRuntime, bench: CloneBench
    ) -> None:
        seen = []
        async with AsyncExitStack() as stack:
            for name in ("one", "two"):
                machine = await stack.enter_async_context(booted(runtime, bench, name=name))
                await machine.start_container(container(["sleep", "1000"]))
                boot_id = (await shell(machine, "cat /proc/sys/kernel/random/boot_id")).strip()
                assert boot_id == machine.boot_id
                assert re.fullmatch(r"[0-9a-f-]{36}", boot_id)
                seen.append((boot_id, await shell(machine, "head -c 32 /dev/urandom | od -An -tx1")))
        assert seen[0][0] != seen[1][0]
        assert seen[0][1] != seen[1][1]

    async def test_a_clones_clock_is_right_from_the_start(self, runtime: QemuRuntime, bench: CloneBench) -> None:
        await asyncio.sleep(0.2)  # the template's time is past in any case
        async with booted(runtime, bench) as machine:
            before = time.time()
            await machine.start_container(container(["true"]))
            after = time.time()
            (status,) = await machine.containers()
            assert status.started_at is not None
            assert before - 0.05 <= status.started_at <= after + 0.05

    async def test_a_clone_is_not_killed_for_the_templates_pages(
        self, runtime: QemuRuntime, bench: CloneBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel charges it twice for pages that it is the first to touch: the template's, and its copy."""
        monkeypatch.setitem(qemu_runtime.OVERHEAD_BYTES, Accel.TCG, 32 << 20)
        async with booted(runtime, bench) as machine:
            await machine.make_volume("memory", memory=True, size_bytes=100 << 20)
            script = "head -c 96m /dev/zero > /memory/file && wc -c < /memory/file"
            await machine.start_container(container(["sh", "-c", script], mounts=[Mount("memory", "/memory")]))
            assert (await collect(machine))[0] == b"%d\n" % (96 << 20)

    async def test_a_clone_that_is_killed_while_it_starts_costs_the_others_no_template(
        self, runtime: QemuRuntime, bench: CloneBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It did: for five minutes all machines of its shape booted cold, since one of them was killed."""
        resume = template.resume

        async def killed_before(monitor: Any, *more: Any) -> Any:
            (pid,) = hypervisor.running_under(runtime._host.name_of("victim"))
            os.kill(pid, signal.SIGKILL)
            return await resume(monitor, *more)

        monkeypatch.setattr(template, "resume", killed_before)
        async with booted(runtime, bench, name="victim") as machine:
            assert not is_clone(machine)
        monkeypatch.setattr(template, "resume", resume)
        async with booted(runtime, bench, name="another") as machine:
            assert is_clone(machine)

    async def test_what_a_killed_agent_left_of_a_template_in_the_making_is_removed(self, runtime: QemuRuntime) -> None:
        left = runtime._host.directory / "template-scratch-0123456789ab"
        left.write_bytes(b"a disk")
        await runtime.adopt({})
        assert not left.exists()

    async def test_a_template_is_sealed_against_its_clones(self, runtime: QemuRuntime, machine: Machine) -> None:
        (snapshot,) = runtime.templates._ready.values()
        with pytest.raises(PermissionError):
            os.pwrite(snapshot.memory, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(snapshot.memory, 0)


def tap_in(namespace: Namespace) -> int:
    tap = namespace.run(lambda: open_tap("tap0"))
    for line in ("ip link set lo up", "ip addr add 10.0.0.1/24 dev tap0", "ip link set tap0 up"):
        namespace.command(line)
    return tap


@asynccontextmanager
async def wired(runtime: QemuRuntime, bench: QemuBench, tap: int, mac: str, name: str) -> AsyncIterator[Machine]:
    spec = replace(machine_spec(name, Nic(tap, mac)), scratch_bytes=sizing.DEFAULT_SCRATCH_BYTES)
    machine = await runtime.create(spec, Services())
    try:
        await machine.configure(GuestConfig(name, NETWORK))
        await machine.attach_disk("image", bench.image, read_only=True)
        await machine.start_container(container(["sleep", "1000"]))
        yield machine
    finally:
        await machine.shutdown(5)


async def test_clones_have_a_mac_and_a_network_of_their_own(bench: QemuBench) -> None:
    runtime = await bench.open_as_it_is()
    with closing(Namespace()) as namespace, closing(Namespace()) as other:
        taps = tap_in(namespace), tap_in(other)
        try:
            async with (
                wired(runtime, bench, taps[0], "02:00:00:00:00:05", "one") as one,
                wired(runtime, bench, taps[1], "02:00:00:00:00:06", "two") as two,
                await asyncio.start_server(greet, sock=listening(namespace, 8080)),
            ):
                assert is_clone(one)
                assert is_clone(two)
                assert await shell(one, "hostname; cat /sys/class/net/eth0/address") == "one\n02:00:00:00:00:05\n"
                assert await shell(two, "hostname; cat /sys/class/net/eth0/address") == "two\n02:00:00:00:00:06\n"
                await serve_by_commands(one)
                await one.start_container(container(["nc", "10.254.0.10", "80"], "client.0", stdin=True))
                assert (await collect(one, "client.0"))[0] == b"from 10.0.0.5\n"
                # Commands that HAProxy doesn't know: it loads the configuration.
                await one.set_services(HAPROXY, {"services.map": MAP}, None, ["no such command"])
                await one.start_container(container(["nc", "10.254.0.10", "80"], "client.1", stdin=True))
                assert (await collect(one, "client.1"))[0] == b"from 10.0.0.5\n"
        finally:
            for tap in taps:
                os.close(tap)
            await runtime.close()


async def serve_by_commands(machine: Machine) -> None:
    """Leads 10.254.0.10:80 to the bench's server: the configuration that goes along is one that can't be loaded."""
    assert machine.services_idle
    served = balancer.IDLE.with_services({"10.254.0.10:80": ("10.0.0.1:8080",)})
    table = {balancer.MAP_NAME: served.table()}
    await machine.set_services(b"nonsense", table, NFTABLES, served.commands_from(balancer.IDLE))
    assert not machine.services_idle


async def test_a_clone_starts_with_its_scratch_disk_and_its_images_in_place(bench: QemuBench) -> None:
    runtime = await bench.open_as_it_is()
    images = {"image": bench.image, "gone": bench.image.with_name("gone"), "second": bench.image, "third": bench.image}
    spec = replace(machine_spec("one"), scratch_bytes=sizing.DEFAULT_SCRATCH_BYTES, images=images)
    try:
        for name in ("one", "two"):
            machine = await runtime.create(replace(spec, id=name), Services())
            try:
                assert is_clone(machine)
                await machine.configure(GuestConfig(name, None))
                assert machine.plugged.keys() == {"image", "second"}, "there are two places"
                for disk in ("image", "third", "second"):
                    await machine.attach_disk(disk, bench.image, read_only=True)
                assert not machine.plugged
                for disk in ("image", "second", "third"):
                    await machine.start_container(replace(container(["sleep", "1000"], f"{disk}.0"), image_disk=disk))
                text = await shell(machine, "cat /marker; echo mine > /marker; sync; df -m / | tail -n 1", "image.0")
                used, size = "mine" in text, int(text.split()[-5])
                assert not used, "what the first clone wrote is on its own disk"
                assert size > 3500
            finally:
                await machine.shutdown(5)
    finally:
        await runtime.close()


async def test_a_machine_finds_the_template_that_was_prepared(bench: QemuBench) -> None:
    runtime = await bench.open_as_it_is()
    made = runtime.templates._make
    keys = []

    async def counted(key: TemplateKey) -> Snapshot:
        keys.append(key)
        return await made(key)

    runtime.templates = Templates(counted)
    with closing(Namespace()) as namespace:
        tap = tap_in(namespace)
        try:
            await runtime.prepare(sizing.PLAIN_POD_MEMORY_BYTES, sizing.PLAIN_POD_CPUS)
            assert len(runtime.templates._ready) == 1
            async with wired(runtime, bench, tap, "02:00:00:00:00:05", "one") as machine:
                assert is_clone(machine)
            assert len(keys) == 1, "the machine's shape is another than the prepared one"
        finally:
            os.close(tap)
            await runtime.close()


async def test_a_broken_template_is_dropped_and_the_machine_boots_cold(bench: CloneBench) -> None:
    runtime = await bench.open_as_it_is()
    made = runtime.templates._make

    async def broken(key: TemplateKey) -> Snapshot:
        snapshot = await made(key)
        os.close(snapshot.state)
        state = os.memfd_create("garbage")
        os.write(state, b"no device state at all" * 100)
        return Snapshot(snapshot.memory, state)

    runtime.templates = Templates(broken)
    try:
        async with booted(runtime, bench) as machine:
            assert not is_clone(machine)
            assert not runtime.templates._ready
            await machine.start_container(container(["echo", "all the same"]))
            assert (await collect(machine))[0] == b"all the same\n"
        async with booted(runtime, bench):
            await runtime.templates.settled()
            assert not runtime.templates._ready, "it is tried again at once"
    finally:
        await runtime.close()


async def test_an_agent_that_ends_while_it_makes_a_template_leaves_nothing(bench: QemuBench) -> None:
    runtime = await bench.open_as_it_is()
    creating = asyncio.create_task(runtime.create(machine_spec("m1"), Services()))
    machines = bench.root / "node" / "machines"
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (machines.exists() and any(path.name.startswith("template-") for path in machines.iterdir())):
            assert not runtime.templates._ready, "it was made before it could be interrupted"
            await asyncio.sleep(0)
    creating.cancel()
    await asyncio.wait([creating])
    assert creating.cancelled()
    await runtime.close()
    assert list(machines.iterdir()) == []
    assert list((bench.root / "run").glob("hn*/template-*")) == []
