"""How fast hn-apiserver answers on SQLite, over TLS: `python -m benchmarks.api [--json FILE]`.

Server and clients share one process here, so every figure includes what the client costs.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.report import Figure, report
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving

PATH = "/api/v1/namespaces/default/configmaps"
OBJECTS = 1_000
CLIENTS = 16
WATCHERS = 100
EVENTS = 50


def _config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v" * 500}}


async def _spread(count: int, do: Callable[[int], Awaitable[Any]]) -> float:
    """Calls per second of `count` calls by CLIENTS at a time."""
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            await do(number)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return count / (time.perf_counter() - began)


async def _fan_out(admin: User) -> float:
    """Events delivered per second to WATCHERS watches of one namespace."""
    revision = (await admin("GET", PATH, limit="1")).revision
    ready = asyncio.Barrier(WATCHERS + 1)

    async def watcher() -> None:
        async with admin.watch(PATH, resourceVersion=revision) as watch:
            await ready.wait()
            await watch.names(EVENTS)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(WATCHERS):
            tasks.create_task(watcher())
        await ready.wait()
        began = time.perf_counter()
        for number in range(EVENTS):
            await admin("POST", PATH, _config_map(f"event-{number}"))
    return WATCHERS * EVENTS / (time.perf_counter() - began)


async def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(str(Path(directory) / "state.db"))
        async with serving(store, Path(directory), "bench") as admin:
            creates = await _spread(OBJECTS, lambda number: admin("POST", PATH, _config_map(f"c{number}")))
            gets = await _spread(3 * OBJECTS, lambda number: admin("GET", f"{PATH}/c{number % OBJECTS}"))
            lists = await _spread(60, lambda number: admin("GET", PATH))
            events = await _fan_out(admin)
        await store.close()
    return [
        Figure("create", creates, "objects/s"),
        Figure("get", gets, "objects/s"),
        Figure(f"list of {OBJECTS}", lists * OBJECTS, "objects/s"),
        Figure(f"watch events to {WATCHERS} watchers", events, "events/s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report(uvloop.run(measure()), arguments.json)


if __name__ == "__main__":
    main()
