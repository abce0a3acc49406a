"""What tenants cost in one hn-apiserver: `python -m benchmarks.tenants [--tenants N] [--curve] [--json FILE]`.

Tenants are made by one client with some connections, beside the server on the same cores; nobody uses them afterwards.
Memory is what the process has more than with one tenant: after a restart that is what idle tenants cost, before it the
log of recent events (bounded, for watches) is in it. `--curve` goes on to 100,000 tenants, as far as memory and time
go.
"""

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.load import servers, wrk
from benchmarks.load.servers import TOKEN, Process
from benchmarks.report import Figure, report

TENANTS = 10_000
CURVE = (20_000, 50_000, 100_000)
_WRITERS = 16  # that make tenants side by side
_GET_CONNECTIONS, _GET_SECONDS, _GET_ROUNDS = 16, 3.0, 5
_SETTLE_SECONDS, _SETTLED_SHARE = 1.0, 0.05  # a server that used less than this share of a core for so long is idle
_SETTLE_DEADLINE_SECONDS = 180.0
_READY_SECONDS = 300.0
_CURVE_SECONDS = 900.0  # of making tenants, after which the curve ends
_LEAST_FREE_BYTES = 3 * 1024**3  # with less the curve ends
_TENANTS_PATH = "/apis/hypernetes.io/v1/tenants"
_MAPS = "/api/v1/namespaces/default/configmaps"
_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"


@dataclass(slots=True)
class Bench:
    directory: Path
    goals: bool
    figures: list[Figure] = field(default_factory=list)
    tenants: int = 0
    token: str = ""  # of a service account of the first tenant
    first: "Cost | None" = None  # with one tenant

    def note(self, what: str, value: float, unit: str, goal: float | None = None, *, lower: bool = False) -> None:
        self.figures.append(Figure(what, value, unit, goal if self.goals else None, lower))
        print(f"  {what}: {value:,.1f} {unit}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one server at some moment."""

    rss: int
    keys: int
    get_seconds: float  # server's CPU for each GET


@dataclass(slots=True)
class Server:
    """A running hn-apiserver, and the provider's administrator at it."""

    process: Process
    session: aiohttp.ClientSession

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"}
        async with self.session.request(method, self.process.url + path, data=data, headers=headers) as answer:
            if answer.status >= 400:
                raise wrk.LoadError(f"{method} {path}: {await answer.text()}")
            found: dict[str, Any] = await answer.json()
            return found

    async def ready(self) -> None:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                try:
                    async with self.session.get(f"{self.process.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    async def settled(self) -> None:
        for _ in range(int(_SETTLE_DEADLINE_SECONDS / _SETTLE_SECONDS)):
            before = self.process.cpu_seconds
            await asyncio.sleep(_SETTLE_SECONDS)
            if self.process.cpu_seconds - before < _SETTLED_SHARE * _SETTLE_SECONDS:
                return


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Server]:
    async with servers.apiserver(bench.directory, "sqlite") as process:
        connector = aiohttp.TCPConnector(limit=_WRITERS, ssl=servers.client_context(process.ca))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            server = Server(process, session)
            await server.ready()
            yield server


async def make(bench: Bench, server: Server, total: int, *, seconds: float = float("inf")) -> float:
    """Makes tenants until there are `total` or the time is over; returns how many a second."""
    begun, before = time.monotonic(), bench.tenants

    async def writer() -> None:
        while bench.tenants < total and time.monotonic() - begun < seconds:
            number, bench.tenants = bench.tenants, bench.tenants + 1
            await server.send("POST", _TENANTS_PATH, {"metadata": {"name": f"t-{number}"}})

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_WRITERS):
            tasks.create_task(writer())
    return (bench.tenants - before) / (time.monotonic() - begun)


async def prepare(bench: Bench, server: Server) -> None:
    """The tenant that is asked, with an account that RBAC lets read one ConfigMap's kind."""
    await make(bench, server, 1)
    tenant = "/tenants/t-0"
    await server.send("POST", tenant + _MAPS, {"metadata": {"name": "m-1"}, "data": {"k": "x" * 1000}})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    await server.send("POST", tenant + _RBAC, {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": role})
    account = f"{tenant}/api/v1/namespaces/default/serviceaccounts/default/token"
    asked = {"spec": {"audiences": [], "expirationSeconds": 86400}}
    bench.token = (await server.send("POST", account, asked))["status"]["token"]


async def cost(bench: Bench, server: Server) -> Cost:
    await server.settled()
    rss = server.process.rss_bytes
    best = float("inf")
    for _ in range(_GET_ROUNDS):
        before = server.process.cpu_seconds
        run = await wrk.run(
            server.process.url, bench.token, ["get", f"{_MAPS}/m", "1"], seconds=_GET_SECONDS,
            connections=_GET_CONNECTIONS,
        )  # fmt: skip
        best = min(best, (server.process.cpu_seconds - before) / run.requests)
    return Cost(rss, stored_keys(bench.directory), best)


def stored_keys(directory: Path) -> int:
    (path,) = directory.glob("**/*.db")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        count: int = database.execute("SELECT count(*) FROM current").fetchone()[0]
    return count


def told(bench: Bench, now: Cost, when: str, *, goal: bool = True) -> None:
    first, more = bench.first, bench.tenants - 1
    assert first is not None
    whole = f"{bench.tenants:,} tenants, {when}"
    each = (now.rss - first.rss) / more / 1e3
    bench.note(f"{whole}: RSS per tenant", each, "KB", 12 if goal else None, lower=True)
    bench.note(f"{whole}: stored keys per tenant", (now.keys - first.keys) / more, "", 12, lower=True)
    slower = (now.get_seconds / first.get_seconds - 1) * 100
    bench.note(f"{whole}: server CPU of an authorised GET", now.get_seconds * 1e6, "µs")
    bench.note(f"{whole}: more than with one tenant", slower, "%", 10, lower=True)


async def restart(bench: Bench) -> None:
    begun = time.monotonic()
    async with running(bench) as server:
        bench.note(f"{bench.tenants:,} tenants: restart to ready", time.monotonic() - begun, "s", 20, lower=True)
        told(bench, await cost(bench, server), "after a restart")


async def measure(bench: Bench, totals: list[int]) -> None:
    async with running(bench) as server:
        await prepare(bench, server)
    async with running(bench) as server:  # both first and last are measured in a process that made nothing itself
        bench.first = await cost(bench, server)
        bench.note("1 tenant: RSS", bench.first.rss / 1e6, "MB")
        bench.note("1 tenant: server CPU of an authorised GET", bench.first.get_seconds * 1e6, "µs")
    for total in totals:
        async with running(bench) as server:
            if bench.tenants > 1 and _free_bytes() < _LEAST_FREE_BYTES:
                print("the curve ends here: memory is short", file=sys.stderr)
                return
            before, used = bench.tenants, server.process.cpu_seconds
            rate = await make(bench, server, total, seconds=_CURVE_SECONDS)
            cpu = (server.process.cpu_seconds - used) / (bench.tenants - before)
            bench.note(f"{bench.tenants:,} tenants: creation", rate, "tenants/s", 100)
            bench.note(f"{bench.tenants:,} tenants: server CPU of a creation", cpu * 1e3, "ms")
            await server.settled()
            bench.note(f"{bench.tenants:,} tenants: RSS where they were made", server.process.rss_bytes / 1e6, "MB")
        await restart(bench)
        if bench.tenants < total:
            print("the curve ends here: its time is over", file=sys.stderr)
            return


def _free_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LookupError("MemAvailable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tenants", type=int, default=TENANTS)
    parser.add_argument("--curve", action="store_true", help="goes on to 100,000 tenants")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), goals=arguments.tenants >= TENANTS)
        totals = [arguments.tenants, *(CURVE if arguments.curve else ())]
        try:
            uvloop.run(measure(bench, totals))
        finally:
            if bench.figures:
                report(bench.figures, arguments.json)


if __name__ == "__main__":
    main()
