"""Which templates are made, kept and given up."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from hypernetes.nodeagent.runtime import boot, qemu
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.template import TEMPLATES_MAX, Snapshot, TemplateKey, Templates


def key(memory_mib: int = 128, *, offloads: bool = True, guest: bytes = b"{}") -> TemplateKey:
    shape = qemu.Shape(memory_mib, 1, nic=True, accel=qemu.Accel.TCG, tsc_khz=2_500_000)
    return TemplateKey(shape, offloads, "7.2.22", guest)


def memfd(content: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, content)
    return fd


class Maker:
    """Makes snapshots whose state says for which memory they are, or fails for those in `fails`."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.made: list[Snapshot] = []
        self.fails: set[int] = set()
        self.error: Exception = MachineError("BootFailed", "no such luck")
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, wanted: TemplateKey) -> Snapshot:
        memory_mib = wanted.shape.memory_mib
        self.asked.append(memory_mib)
        await self.gate.wait()
        if memory_mib in self.fails:
            raise self.error
        self.made.append(Snapshot(memfd(b"memory"), memfd(b"%d" % memory_mib)))
        return self.made[-1]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture
async def maker() -> Maker:
    return Maker()


@pytest.fixture
async def templates(maker: Maker) -> AsyncIterator[Templates]:
    made = Templates(maker)
    yield made
    await made.close()
    assert not any(is_open(fd) for snapshot in maker.made for fd in (snapshot.memory, snapshot.state))


async def have(templates: Templates, wanted: TemplateKey) -> None:
    assert templates.take(wanted) is None
    await templates.settled()


async def test_the_first_machine_boots_cold_and_the_next_ones_are_clones(templates: Templates) -> None:
    await have(templates, key())
    for _ in range(2):
        snapshot = templates.take(key())
        assert snapshot is not None
        assert os.read(snapshot.state, 10) == b"128", "each reads the state from its start"
        snapshot.close()


async def test_machines_of_another_shape_guest_or_tap_are_no_clones_of_it(templates: Templates) -> None:
    await have(templates, key())
    for other in (key(256), key(offloads=False), key(guest=b"another")):
        await have(templates, other)


async def test_one_template_is_made_at_a_time(templates: Templates, maker: Maker) -> None:
    maker.gate.clear()
    for memory_mib in (128, 128, 256):
        assert templates.take(key(memory_mib)) is None
        await asyncio.sleep(0)
    assert maker.asked == [128]
    maker.gate.set()
    await templates.settled()
    await have(templates, key(256))
    assert maker.asked == [128, 256]


async def test_the_least_recently_used_template_goes_first(templates: Templates, maker: Maker) -> None:
    for number in range(TEMPLATES_MAX):
        await have(templates, key(128 + number))
    used = templates.take(key(128))
    assert used is not None
    await have(templates, key(1024))
    assert not is_open(maker.made[1].memory)
    again = templates.take(key(128))
    assert again is not None
    assert templates.take(key(129)) is None
    for snapshot in (used, again):
        snapshot.close()


@pytest.mark.parametrize("error", [MachineError("BootFailed", "no such luck"), KeyError("a fault of ours")])
async def test_a_shape_whose_template_failed_is_not_tried_again_at_once(
    templates: Templates, maker: Maker, error: Exception
) -> None:
    maker.fails, maker.error = {128}, error
    await have(templates, key())
    await have(templates, key())
    assert maker.asked == [128]
    await have(templates, key(256))
    assert maker.asked == [128, 256]


async def test_a_template_that_was_killed_in_the_making_is_made_by_whoever_needs_it(
    templates: Templates, maker: Maker
) -> None:
    maker.fails, maker.error = {128}, MachineError(boot.HYPERVISOR_KILLED, "killed")
    await have(templates, key())
    maker.fails = set()
    await have(templates, key())
    assert maker.asked == [128, 128]
    snapshot = templates.take(key())
    assert snapshot is not None
    snapshot.close()


async def test_a_template_whose_clone_failed_is_dropped_and_its_copies_stay_whole(
    templates: Templates, maker: Maker
) -> None:
    await have(templates, key())
    copy = templates.take(key())
    assert copy is not None
    templates.drop(key(), "the clone died")
    assert not is_open(maker.made[0].memory)
    assert os.read(copy.state, 10) == b"128"
    copy.close()
    await have(templates, key())
    assert maker.asked == [128]


async def test_closing_gives_up_what_is_being_made(maker: Maker) -> None:
    templates = Templates(maker)
    maker.gate.clear()
    assert templates.take(key()) is None
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await templates.close()
    assert maker.made == []


async def test_machines_that_need_a_template_wait_for_it(templates: Templates, maker: Maker) -> None:
    maker.gate.clear()
    waiting = [asyncio.create_task(templates.take_when_made(key(size))) for size in (128, 256, 128)]
    await asyncio.sleep(0)
    maker.gate.set()
    snapshots = [await each for each in waiting]
    assert maker.asked == [128, 256]
    for snapshot in snapshots:
        assert snapshot is not None
        snapshot.close()


async def test_nobody_waits_for_a_template_that_is_broken(templates: Templates) -> None:
    templates.drop(key(), "it came to nothing")
    assert await templates.take_when_made(key()) is None
