"""The audit log on a file that takes what it is given, or doesn't."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from hypernetes.apiserver.audit import log
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.log import BLOCKING, AuditLog


class File:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.full = False
        self.tried = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def write(self, lines: bytes) -> None:
        self._loop.call_soon_threadsafe(self.tried.set)
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines += lines.splitlines()

    def close(self) -> None:
        pass


@asynccontextmanager
async def running(writer: AuditLog) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_all_is_written_in_order_by_the_end() -> None:
    file, counts = File(), Counts()
    writer = AuditLog(file, counts)
    async with running(writer):
        for number in range(1000):
            writer.add(b"%d\n" % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
    assert file.lines == [b"%d" % number for number in range(1000)]
    assert counts.errors["log"] == 0


async def test_lines_wait_until_the_disk_takes_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_AGAIN_SECONDS", 0.01)
    file, counts = File(), Counts()
    file.full = True
    writer = AuditLog(file, counts)
    async with running(writer):
        writer.add(b"one\n")
        await file.tried.wait()
        writer.add(b"two\n")
        file.full = False
    assert file.lines == [b"one", b"two"]
    assert counts.errors["log"] == 0


async def test_what_is_beyond_the_bound_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_WAITING", 5)
    file, counts = File(), Counts()
    writer = AuditLog(file, counts)
    for number in range(8):
        writer.add(b"%d\n" % number)
    assert counts.errors["log"] == 3
    file.full = True
    async with running(writer):
        await file.tried.wait()
    assert counts.errors["log"] == 8  # the others with the end of the server, on a disk that is full


async def test_who_waits_is_told_whether_it_was_written() -> None:
    file, counts = File(), Counts()
    writer = AuditLog(file, counts, BLOCKING)
    async with running(writer):
        assert await asyncio.gather(*(writer.write(b"%d\n" % number) for number in range(3))) == [True] * 3
        file.full = True
        assert await writer.write(b"lost\n") is False
        file.full = False
        assert await writer.write(b"3\n") is True
    assert file.lines == [b"0", b"1", b"2", b"3"]
    assert counts.errors["log"] == 1
