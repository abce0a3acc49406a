"""Writes per second of both stores: one writer after the other, and many at once; and what a list costs.

    python -m benchmarks.store [--json FILE] [--directory DIR]

The figures are those of the disk that DIR is on. etcd is started from the Debian package's binary, on loopback.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import which

import click
import uvloop

from benchmarks.load import servers
from benchmarks.report import Figure, report
from hypernetes.apiserver.storage.base import Store, Unavailable
from hypernetes.apiserver.storage.opening import open_store

_VALUE = b"v" * 1200  # a small pod's size
_SINGLE, _CONCURRENT, _GROUPED = 1000, 200, 10_000
_START_SECONDS = 60.0


async def measure(name: str, store: Store, goals: tuple[float | None, float | None]) -> list[Figure]:
    started = time.perf_counter()
    for n in range(_SINGLE):
        await store.create(f"/single/{n}", _VALUE)
    single = _SINGLE / (time.perf_counter() - started)

    async def write(writer: int) -> None:
        revision = await store.create(f"/grouped/{writer}", _VALUE)
        for _ in range(_GROUPED // _CONCURRENT - 1):
            revision = await store.update(f"/grouped/{writer}", _VALUE, revision)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as writers:
        for n in range(_CONCURRENT):
            writers.create_task(write(n))
    grouped = _GROUPED / (time.perf_counter() - started)

    started = time.perf_counter()
    items = len((await store.list("/")).items)
    listed = items / (time.perf_counter() - started)
    return [
        Figure(f"{name}: writes, one at a time", single, "writes/s", goals[0]),
        Figure(f"{name}: writes, {_CONCURRENT} writers at once", grouped, "writes/s", goals[1]),
        Figure(f"{name}: list", listed, "objects/s"),
    ]


@contextlib.asynccontextmanager
async def etcd(directory: Path) -> AsyncIterator[Store]:
    async with servers.etcd(directory) as location:
        store = await open_store(location)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while True:
                    with contextlib.suppress(Unavailable):
                        await store.revision()
                        break
                    await asyncio.sleep(0.1)
            yield store
        finally:
            await store.close()


async def run(directory: Path) -> list[Figure]:
    store = await open_store(str(directory / "state.db"))
    figures = await measure("sqlite", store, (None, 15_000))
    await store.close()
    if which("etcd") is None:
        print("etcd is not installed; only sqlite is measured")
        return figures
    async with etcd(directory / "etcd") as store:
        return figures + await measure("etcd", store, (None, None))


@click.command()
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(path: Path | None, directory: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        report(uvloop.run(run(Path(scratch))), path)


if __name__ == "__main__":
    main()
