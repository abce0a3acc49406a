"""A control plane as processes, hollow nodes in one more; what each of them uses; objects written in numbers."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.load.servers import cpu_seconds, rss_bytes
from hypernetes.client import Client
from tests.integration.control_plane import ControlPlane, running

T = TypeVar("T")

_WRITERS = 24  # requests under way
_STOP_SECONDS = 30.0
COMPONENTS = ("apiserver", "scheduler", "controllers")


@dataclass(slots=True)
class Cluster:
    plane: ControlPlane
    client: Client  # the provider's administrator
    pids: dict[str, int]

    def cpu(self) -> dict[str, float]:
        """Seconds that each process has used so far."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def rss_megabytes(self, name: str) -> float:
        return rss_bytes(self.pids[name]) / 1e6

    def check(self) -> None:
        """Raises RuntimeError for a process that has ended: nothing more is to be waited for."""
        for name in self.pids.keys() - {"agents"}:
            if self.plane.has_ended(name):
                end = self.plane.layout.log(name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"hn-{name} has ended:\n{end}")

    async def start(self, name: str) -> None:
        await self.plane.start(name)
        self.pids[name] = self.plane.pid(name)


@contextlib.asynccontextmanager
async def running_cluster(directory: Path, *components: str, nodes: int = 0) -> AsyncIterator[Cluster]:
    async with running(directory / "plane", *components) as (plane, client):
        cluster = Cluster(plane, client, {name: plane.pid(name) for name in ("apiserver", *components)})
        async with _agents(cluster, directory, nodes) if nodes else contextlib.nullcontext():
            yield cluster


@contextlib.asynccontextmanager
async def _agents(cluster: Cluster, directory: Path, nodes: int) -> AsyncIterator[None]:
    """One hn-agent with hollow nodes, all Ready."""
    command = [
        str(Path(sys.executable).with_name("hn-agent")), "--runtime", "fake", "--nodes", str(nodes),
        "--node-name", "hollow", "--dir", str(directory / "nodes"),
        "--kubeconfig", str(cluster.plane.layout.admin_kubeconfig), "--log-level", "error",
    ]  # fmt: skip
    with (directory / "agents.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=subprocess.STDOUT)
    try:
        cluster.pids["agents"] = process.pid
        await until(lambda: _all_ready(cluster.client, nodes))
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _all_ready(client: Client, nodes: int) -> bool:
    found = (await client.request("GET", "/api/v1/nodes"))["items"]
    ready = [
        node for node in found
        for entry in node["status"].get("conditions") or () if entry["type"] == "Ready" and entry["status"] == "True"
    ]  # fmt: skip
    return len(ready) == nodes


async def until(condition: Callable[[], Awaitable[T]], *, within: float = 400.0, every: float = 0.1) -> T:
    """What it gives once that is true. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not (result := await condition()):  # noqa: ASYNC110  what is asked about is in another process
            await asyncio.sleep(every)
        return result


async def all_of(work: Iterable[Awaitable[Any]]) -> None:
    """A bounded number of them at once."""
    waiting = iter(work)

    async def writer() -> None:
        for each in waiting:
            await each

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_WRITERS):
            tasks.create_task(writer())
