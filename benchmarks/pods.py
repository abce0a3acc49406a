"""How long pods take to start, as a watch sees it, and what a running one costs: a whole cluster, real machines.

python -m benchmarks.pods [--json FILE] [--part PART]... [--runs N] [--density N] [--guest DIR]

starts     a pod of a cached image from POST to Running, one by one; a Deployment's pod replaced; 20 pods at once
memory     what MemAvailable falls by with 16 pods that run, then with more, up to --density; hn-agent's own memory, and
           its processor while nothing happens
streams    a command in a running container, and bytes there and back in one; a log followed while it is written
crun       the same container under Debian's crun, on the host's kernel

Guest and demo images must be built (`make guest images`). The cluster is made in a directory of its own and taken down.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click

from benchmarks.load.clusters import until
from benchmarks.load.servers import cpu_seconds, rss_bytes
from benchmarks.report import Figure, report
from hypernetes.api.models.core_v1 import Pod, ServiceAccount
from hypernetes.client import Client, ClientConfig
from hypernetes.client.credentials import tls_context
from tests.e2e.clusters import GUEST, REGISTRY, Cluster, free_port

_NAMESPACE = "benchmark"
_PODS = f"/api/v1/namespaces/{_NAMESPACE}/pods"
_SETTLE_SECONDS = 3.0  # between starts: what the last pod leaves behind is not what is measured
_TOGETHER = 20
_MEMORY_PODS = 16
_AGENT_PODS = 50
_IDLE_SECONDS = 30.0
_COMMANDS = 40
_LOG_BYTES = 100 << 20
_BUFFER_BYTES = 1 << 20
# Lines of 63 characters. What writes them must not be what is measured: of `yes` and `head`, which move byte by byte,
# an emulated processor does 10 MB/s.
_MAKE_LINES = f"yes {'0123456789' * 6}012 | head -c {1 << 20} > /tmp/lines"
_SAY_LINES = f"cat $(yes /tmp/lines | head -n {_LOG_BYTES >> 20})"
_DEADLINE_SECONDS = 300.0
_MILLI = 1000.0
_SEE_CGROUP2 = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


@dataclass(slots=True)
class Bench:
    cluster: Cluster
    client: Client
    runs: int
    density: int

    def agent(self) -> int:
        """hn-agent's pid."""
        return next(pid for name, pid in self.cluster.control_pids().items() if name.startswith("hn-agent"))

    def processor(self) -> float:
        """Seconds of the cluster's processes, machines that run included."""
        return sum(cpu_seconds(each.pid) for each in self.cluster.processes())


async def make_namespace(client: Client) -> None:
    """With its service account, which pods can't be without."""
    await client.request("POST", "/api/v1/namespaces", json={"metadata": {"name": _NAMESPACE}})

    async def there() -> bool:
        return bool((await client.list(ServiceAccount, namespace=_NAMESPACE)).items)

    await until(there, within=_DEADLINE_SECONDS)


def pod(name: str, *command: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": f"{REGISTRY}/busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": list(command) or ["sleep", "100000"],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


class PodWatch:
    """What happens to the namespace's pods, and when."""

    def __init__(self) -> None:
        self.running: dict[str, float] = {}  # by name, by time.monotonic()
        self.gone: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def run(self, client: Client) -> None:
        version = (await client.list(Pod, namespace=_NAMESPACE)).resource_version
        while True:
            async for event in client.watch(Pod, namespace=_NAMESPACE, resource_version=version):
                version = event.resource_version or version
                if event.object is not None:
                    self._take(event.type, event.object)

    def _take(self, kind: str, seen: Pod) -> None:
        now, name = time.monotonic(), seen.metadata.name or ""
        if kind == "DELETED":
            self.gone[name] = now
        elif seen.status.phase == "Running" and not seen.metadata.deletion_timestamp:
            self.running.setdefault(name, now)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def watching(client: Client) -> AsyncIterator[PodWatch]:
    watch = PodWatch()
    task = asyncio.create_task(watch.run(client))
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def start(bench: Bench, watch: PodWatch, *names: str) -> float:
    """Seconds from the first POST until the last of them is Running."""
    began = time.monotonic()
    await asyncio.gather(*(bench.client.request("POST", _PODS, json=pod(name)) for name in names))
    await watch.until(lambda: all(name in watch.running for name in names))
    return max(watch.running[name] for name in names) - began


async def remove(bench: Bench, watch: PodWatch, *names: str) -> None:
    for name in names:
        await bench.client.request("DELETE", f"{_PODS}/{name}", params={"gracePeriodSeconds": "0"})
    await watch.until(lambda: all(name in watch.gone for name in names))


async def starts(bench: Bench) -> list[Figure]:
    async with watching(bench.client) as watch:
        await start(bench, watch, "first")  # pulls the image
        await remove(bench, watch, "first")
        took, used = [], []
        for number in range(bench.runs):
            await asyncio.sleep(_SETTLE_SECONDS)
            before = bench.processor()
            took.append(await start(bench, watch, f"pod-{number}"))
            used.append(bench.processor() - before)
            await remove(bench, watch, f"pod-{number}")
        replaced = await replace(bench, watch)
        await asyncio.sleep(_SETTLE_SECONDS)
        names = [f"together-{number}" for number in range(_TOGETHER)]
        together = await start(bench, watch, *names)
        await remove(bench, watch, *names)
    return [
        Figure(f"POST to Running, median of {bench.runs}", statistics.median(took) * _MILLI, "ms", 650, True),
        Figure("POST to Running, p99", _p99(took) * _MILLI, "ms", 1500, True),
        Figure("  processor until then, all processes, median", statistics.median(used) * _MILLI, "ms"),
        Figure("a Deployment's pod replaced, median", statistics.median(replaced) * _MILLI, "ms", 900, True),
        Figure("  worst", max(replaced) * _MILLI, "ms"),
        Figure(f"{_TOGETHER} pods at once, all Running", together, "s", 9, True),
    ]


async def replace(bench: Bench, watch: PodWatch) -> list[float]:
    """Seconds from the deletion of a Deployment's one pod until its successor runs, several times."""
    template = pod("", labels={"app": "replaced"})
    del template["metadata"]["name"]
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "replaced"}}, "template": template}
    path = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments"
    known = set(watch.running)
    await bench.client.request("POST", path, json={"metadata": {"name": "replaced"}, "spec": spec})
    await watch.until(lambda: len(watch.running.keys() - known) == 1)
    took = []
    for _ in range(max(3, bench.runs // 3)):
        (name,) = watch.running.keys() - known
        known.add(name)
        await asyncio.sleep(_SETTLE_SECONDS)
        began = time.monotonic()
        await bench.client.request("DELETE", f"{_PODS}/{name}", params={"gracePeriodSeconds": "0"})
        await watch.until(lambda: len(watch.running.keys() - known) == 1)
        (successor,) = watch.running.keys() - known
        took.append(watch.running[successor] - began)
    await bench.client.request("DELETE", f"{path}/replaced", params={"propagationPolicy": "Background"})
    (last,) = watch.running.keys() - known
    await watch.until(lambda: last in watch.gone)
    return took


async def memory(bench: Bench) -> list[Figure]:
    figures = []
    async with watching(bench.client) as watch:
        await start(bench, watch, "first")  # the template, the image in the page cache
        await asyncio.sleep(_SETTLE_SECONDS)
        before, count = _available_bytes(), 0
        sizes = sorted({_MEMORY_PODS, *(size for size in (30, _AGENT_PODS, bench.density) if size <= bench.density)})
        for size in sizes:
            await start(bench, watch, *(f"dense-{number}" for number in range(count, size)))
            count = size
            await asyncio.sleep(_SETTLE_SECONDS)
            goal = 70.0 if size == _MEMORY_PODS else None
            each = (before - _available_bytes()) / size / 2**20
            figures.append(Figure(f"MemAvailable less per pod, {size} pods", each, "MiB", goal, True))
            if size == _AGENT_PODS:
                figures.append(Figure(f"hn-agent's RSS, {size} pods", rss_bytes(bench.agent()) / 1e6, "MB", 120, True))
                figures.append(Figure(f"hn-agent idle, {size} pods", await _idle_share(bench.agent()), "%", 3, True))
        machines = bench.cluster.machine_pids().values()
        figures += [
            Figure("  QEMU's private memory, median", statistics.median(map(_private_mib, machines)), "MiB"),
            Figure("  machines' processor while idle, each", await _idle_machines(machines), "%"),
        ]
        await remove(bench, watch, "first", *(f"dense-{number}" for number in range(count)))
    return figures


async def streams(bench: Bench) -> list[Figure]:
    config = bench.client.config
    async with watching(bench.client) as watch, aiohttp.ClientSession() as session:
        await start(bench, watch, "streams")

        def command(*argv: str, stdin: bool = False) -> Any:
            query = "&".join([f"command={each}" for each in argv] + ["stdout=true", f"stdin={str(stdin).lower()}"])
            url = f"{config.server}{_PODS}/streams/exec?{query}"
            return session.ws_connect(url, ssl=tls_context(config), protocols=["v5.channel.k8s.io"])

        took = [await _run_command(command("true")) for _ in range(_COMMANDS)][_COMMANDS // 4 :]
        async with command("cat", stdin=True) as connection:
            echoed = [await _echo(connection) for _ in range(_COMMANDS)][_COMMANDS // 4 :]
        await remove(bench, watch, "streams")
        await bench.client.request("POST", _PODS, json=pod("log", "sh", "-c", f"{_MAKE_LINES}; sleep 3; {_SAY_LINES}"))
        await watch.until(lambda: "log" in watch.running)
        before = _shares(bench)
        size, rate = await _follow(session, f"{config.server}{_PODS}/log/log?follow=true", tls_context(config))
        costs = {name: (used - before.get(name, 0.0)) / size * 1e6 for name, used in _shares(bench).items()}
        await remove(bench, watch, "log")
    return [
        Figure("a command in a container, start to exit, median", statistics.median(took) * _MILLI, "ms", 25, True),
        Figure("bytes to a command and back, median", statistics.median(echoed) * _MILLI, "ms", 25, True),
        Figure("a log followed while it is written", rate / 1e6, "MB/s", 60),
        Figure("  rotated away before it was read", (_LOG_BYTES - size) / 1e6, "MB", 0, True),
        *(Figure(f"  {name}'s processor", cost * _MILLI, "ms/MB") for name, cost in costs.items() if cost > 0.0005),
    ]


def _shares(bench: Bench) -> dict[str, float]:
    """Seconds of processor by process; `machine` is the one QEMU that runs."""
    shares = {name: cpu_seconds(pid) for name, pid in bench.cluster.control_pids().items()}
    return shares | {"machine": sum(map(cpu_seconds, bench.cluster.machine_pids().values()))}


async def _run_command(connect: Any) -> float:
    began = time.monotonic()
    async with connect as connection:
        async for message in connection:
            if message.type == aiohttp.WSMsgType.BINARY and message.data[:1] == b"\3":  # its status
                assert json.loads(message.data[1:])["status"] == "Success"
                return time.monotonic() - began
    raise ConnectionError("the command's status never came")


async def _echo(connection: aiohttp.ClientWebSocketResponse) -> float:
    began = time.monotonic()
    await connection.send_bytes(b"\0hello\n")
    while not (data := await connection.receive_bytes())[1:]:
        pass
    assert data == b"\1hello\n"
    return time.monotonic() - began


async def _follow(session: aiohttp.ClientSession, url: str, context: Any) -> tuple[int, float]:
    """Bytes, and bytes a second from the first to the last."""
    size, first, timeout = 0, 0.0, aiohttp.ClientTimeout(total=_DEADLINE_SECONDS)
    async with session.get(url, ssl=context, timeout=timeout, read_bufsize=_BUFFER_BYTES) as answer:
        async for part in answer.content.iter_any():
            first = first or time.monotonic()
            size += len(part)
    return size, size / (time.monotonic() - first)


async def crun(bench: Bench) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="hn-crun-") as directory:
        took = await asyncio.to_thread(_crun_starts, Path(directory), bench.runs)
    return [Figure("crun: a container from start to running, median", statistics.median(took) * _MILLI, "ms")]


def _crun_starts(bundle: Path, runs: int) -> list[float]:
    (bundle / "rootfs" / "bin").mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", bundle / "rootfs" / "bin" / "sleep"], check=True)
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"args": ["/bin/sleep", "1000"], "terminal": False}
    (bundle / "config.json").write_text(json.dumps(spec))
    # It takes no hierarchies of both kinds, as a machine may have them: it gets to see one, and leaves it alone.
    crun_command = ["unshare", "--mount", "sh", "-c", _SEE_CGROUP2, "crun", "crun", "--cgroup-manager=disabled"]
    took = []
    for number in range(runs):
        name = f"hn-benchmark-{number}"
        began = time.monotonic()
        subprocess.run([*crun_command, "run", "--detach", name], cwd=bundle, check=True, stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - began)
        subprocess.run([*crun_command, "delete", "--force", name], check=True)
    return took


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.99 * len(values)))]


def _available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


async def _idle_share(pid: int) -> float:
    before = cpu_seconds(pid)
    await asyncio.sleep(_IDLE_SECONDS)
    return (cpu_seconds(pid) - before) / _IDLE_SECONDS * 100


async def _idle_machines(pids: Any) -> float:
    return statistics.mean(await asyncio.gather(*(_idle_share(pid) for pid in pids)))


PARTS: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {
    "starts": starts,
    "memory": memory,
    "streams": streams,
    "crun": crun,
}


async def measure(cluster: Cluster, parts: tuple[str, ...], runs: int, density: int) -> list[Figure]:
    config = ClientConfig.from_kubeconfig(cluster.kubeconfig("acme"))
    figures: list[Figure] = []
    async with Client(config) as client:
        await make_namespace(client)
        for part in parts:
            measured = await PARTS[part](Bench(cluster, client, runs, density))
            for each in measured:
                print(f"  {each.name}: {each.value:,.1f} {each.unit}", file=sys.stderr, flush=True)
            figures += measured
    return figures


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), default=list(PARTS))
@click.option("--runs", default=30, show_default=True)
@click.option("--density", default=60, show_default=True, help="the most pods that run at once")
@click.option(
    "--guest", default=GUEST, type=click.Path(path_type=Path, file_okay=False), help="of `hn guest build-kernel`"
)
def main(path: Path | None, parts: tuple[str, ...], runs: int, density: int, guest: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hypernetes-benchmark-") as directory:
        cluster = Cluster(Path(directory) / "data", free_port(), guest=guest.absolute())
        try:
            cluster.up()
            cluster.create_tenant("acme")
            figures = asyncio.run(measure(cluster, parts, runs, density))
        finally:
            cluster.kill_everything()
    report(figures, path)


if __name__ == "__main__":
    main()
