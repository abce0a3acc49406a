"""How fast hn-apiserver answers: `python -m benchmarks.api [--quick] [--sketch] [--json FILE] [--only gets,…]`.

One server process over TLS with everything on (authentication, authorisation, admission, validation, a real store), and
beside it on the same cores what loads it (`benchmarks/load`), over ten thousand pods of about 3 KB. Each figure is the
best of several runs, with the server's own CPU time per request, which neighbours on the machine disturb least.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import uvloop

from benchmarks.load import h2load, pods, servers, wrk
from benchmarks.load.servers import TOKEN, Process
from benchmarks.report import Figure, report
from hypernetes.api import scheme
from hypernetes.apiserver import schema
from hypernetes.apiserver.fieldmanagement import entries, updating
from hypernetes.apiserver.fieldmanagement.entries import UPDATE, Manager
from hypernetes.apiserver.handlers import managers

CONNECTIONS = 64
_LIST_CONNECTIONS = 4  # a list keeps a core busy by itself
_PATCH_CONNECTIONS = 16
_JSON, _PROTOBUF = "application/json", "application/vnd.kubernetes.protobuf"
_SHARE_OF_JSON = 0.7  # of the rate in JSON, that the one in protobuf is at least
_SHARED_CONNECTIONS, _AT_ONCE = 16, 4  # over HTTP/2: as many requests under way as over HTTP/1.1
_WATCHES_EACH = 50  # on a connection, as a client of some dozen kinds has them
_STEADY_RATE = 200.0  # patches/s: what the delay of events is promised at
_SETTLE_SECONDS, _SETTLED_SHARE = 1.0, 0.05  # a server that used less than this share of a core for so long is idle
_SETTLE_DEADLINE_SECONDS = 20.0
_OPEN_SECONDS = 120.0  # for thousands of watches to be opened


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: the whole benchmark, or a look whether it runs."""

    pods: int = 10_000
    rounds: int = 3
    seconds: float = 4.0
    watchers: tuple[int, ...] = (100, 1000)
    idle: int = 3000


QUICK = Size(pods=200, rounds=1, seconds=1.0, watchers=(10,), idle=50)


@dataclass(slots=True)
class Bench:
    """One server with one store, and what was measured of it so far."""

    name: str
    server: Process
    size: Size
    directory: Path
    location: str  # of its store
    goals: bool = True  # those of the whole size
    figures: list[Figure] = field(default_factory=list)

    def note(self, what: str, value: float, unit: str, goal: float | None = None, *, lower: bool = False) -> None:
        self.figures.append(Figure(f"{self.name}: {what}", value, unit, goal if self.goals else None, lower))
        print(f"  {self.figures[-1].name}: {value:,.1f} {unit}", file=sys.stderr, flush=True)

    async def settled(self) -> None:
        """Returns when the server has done what earlier requests left behind, or after some time."""
        for _ in range(int(_SETTLE_DEADLINE_SECONDS / _SETTLE_SECONDS)):
            before = self.server.cpu_seconds
            await asyncio.sleep(_SETTLE_SECONDS)
            if self.server.cpu_seconds - before < _SETTLED_SHARE * _SETTLE_SECONDS:
                return

    async def wrk(
        self, *arguments: str, connections: int = CONNECTIONS, rounds: int | None = None, accept: str = _JSON
    ) -> "Best":  # fmt: skip
        best = Best()
        await self.settled()
        for _ in range(self.size.rounds if rounds is None else rounds):
            before = self.server.cpu_seconds
            run = await wrk.run(
                self.server.url,
                TOKEN,
                list(arguments),
                seconds=self.size.seconds,
                connections=connections,
                accept=accept,
            )
            best.take(run, (self.server.cpu_seconds - before) / run.requests)
        return best

    async def process(self, module: str, *arguments: object) -> asyncio.subprocess.Process:
        ca = str(self.server.ca)
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"benchmarks.load.{module}", str(self.server.port), ca, TOKEN, *map(str, arguments),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip


@dataclass(slots=True)
class Best:
    """The best of several runs, each figure by itself."""

    rate: float = 0.0
    megabytes_per_second: float = 0.0
    p50: float = float("inf")
    p99: float = float("inf")
    cpu: float = float("inf")  # of the server, seconds per request
    client_cpu: float = float("inf")  # of wrk, likewise

    def take(self, run: wrk.Run, cpu: float) -> None:
        self.rate = max(self.rate, run.rate)
        self.megabytes_per_second = max(self.megabytes_per_second, run.megabytes_per_second)
        self.p50, self.p99 = min(self.p50, run.p50), min(self.p99, run.p99)
        self.cpu, self.client_cpu = min(self.cpu, cpu), min(self.client_cpu, run.cpu / run.requests)


async def creates(bench: Bench) -> None:
    """Fills the server; this is done once, since what is there slows down nothing."""
    template = bench.directory / "pod-template.json"
    template.write_bytes(orjson.dumps(pods.pod(f"pod-{pods.PLACEHOLDER}", pods.SLOT_PLACEHOLDER)))
    before = bench.server.cpu_seconds
    run = await wrk.run(
        bench.server.url, TOKEN, ["create", pods.PATH, str(template), str(bench.size.pods), str(pods.SLOTS)],
        seconds=120, connections=CONNECTIONS,
    )  # fmt: skip
    cpu = (bench.server.cpu_seconds - before) / run.requests
    bench.note("creates", run.rate, "/s", 1500 if bench.name == "sqlite" else 1000)
    bench.note("creates, p99", run.p99 * 1e3, "ms")
    bench.note("creates, server CPU each", cpu * 1e6, "µs")
    bench.note("creates, client's CPU each", run.cpu / run.requests * 1e6, "µs")
    bench.note("creates, managers' part of the CPU", _managers_cpu_seconds() / cpu * 100, "%", 20, lower=True)
    bench.note(f"RSS with {run.requests} pods", bench.server.rss_bytes / 1e6, "MB", 210, lower=True)


async def gets(bench: Bench) -> None:
    best = await bench.wrk("get", f"{pods.PATH}/pod", str(bench.size.pods))
    bench.note("GETs", best.rate, "/s", 9000)
    bench.note("GETs, p50", best.p50 * 1e3, "ms")
    bench.note("GETs, p99", best.p99 * 1e3, "ms", 15, lower=True)
    bench.note("GETs, server CPU each", best.cpu * 1e6, "µs")
    bench.note("GETs, client's CPU each", best.client_cpu * 1e6, "µs")
    await _list_once(bench.server, _PROTOBUF)  # a message is made when somebody first asks for it
    in_protobuf = await bench.wrk("get", f"{pods.PATH}/pod", str(bench.size.pods), accept=_PROTOBUF)
    bench.note("GETs in protobuf", in_protobuf.rate, "/s", best.rate * _SHARE_OF_JSON)
    bench.note("GETs in protobuf, server CPU each", in_protobuf.cpu * 1e6, "µs")


async def lists(bench: Bench) -> None:
    for what, query, goal in (("LIST of all", "", 500), ("LIST limit=500", "?limit=500", None)):
        best = await bench.wrk("list", pods.PATH + query, connections=_LIST_CONNECTIONS)
        bench.note(what, best.rate, "/s")
        bench.note(what, best.megabytes_per_second, "MB/s", goal)
        bench.note(f"{what}, server CPU each", best.cpu * 1e3, "ms")
        bench.note(f"{what}, client's CPU each", best.client_cpu * 1e3, "ms")
        in_protobuf = await bench.wrk("list", pods.PATH + query, connections=_LIST_CONNECTIONS, accept=_PROTOBUF)
        bench.note(f"{what} in protobuf", in_protobuf.rate, "/s", best.rate * _SHARE_OF_JSON)
        bench.note(f"{what} in protobuf, server CPU each", in_protobuf.cpu * 1e3, "ms")
    best = await bench.wrk("list", f"{pods.PATH}?labelSelector={quote('slot=7')}", connections=_LIST_CONNECTIONS)
    bench.note("LIST by a label that 1 % has", best.rate, "/s", 760)
    bench.note("LIST by a label, server CPU each", best.cpu * 1e6, "µs")
    bench.note("LIST by a label, client's CPU each", best.client_cpu * 1e6, "µs")


async def shared(bench: Bench) -> None:
    """The same over HTTP/2, by h2load."""
    names = [f"{bench.server.url}{pods.PATH}/pod-{number}" for number in range(1, min(bench.size.pods, 1000) + 1)]
    whole, page = [f"{bench.server.url}{pods.PATH}"], [f"{bench.server.url}{pods.PATH}?limit=500"]
    for what, urls, connections, at_once in (
        ("GETs over HTTP/2", names, _SHARED_CONNECTIONS, _AT_ONCE),
        ("GETs over one HTTP/2 connection, one by one", names, 1, 1),
        ("LIST of all over HTTP/2", whole, _LIST_CONNECTIONS, 1),
        ("LIST limit=500 over HTTP/2", page, _LIST_CONNECTIONS, 1),
    ):
        await bench.settled()
        rate = megabytes = 0.0
        cpu = float("inf")
        for _ in range(bench.size.rounds):
            before = bench.server.cpu_seconds
            run = await h2load.run(urls, TOKEN, seconds=bench.size.seconds, connections=connections, at_once=at_once)
            rate, megabytes = max(rate, run.rate), max(megabytes, run.megabytes_per_second)
            cpu = min(cpu, (bench.server.cpu_seconds - before) / run.requests)
        bench.note(what, rate, "/s")
        bench.note(f"{what}, server CPU each", cpu * 1e6, "µs")
        if what.startswith("LIST"):
            bench.note(what, megabytes, "MB/s")


async def patches(bench: Bench) -> None:
    best = await bench.wrk("patch", f"{pods.PATH}/pod", str(bench.size.pods))
    bench.note("patches", best.rate, "/s")
    bench.note("patches, server CPU each", best.cpu * 1e6, "µs")
    bench.note("patches, client's CPU each", best.client_cpu * 1e6, "µs")


async def applies(bench: Bench) -> None:
    """Three managers say all of each pod, each with an annotation of its own that changes every time."""
    pod = pods.pod(f"pod-{pods.PLACEHOLDER}", pods.SLOT_PLACEHOLDER)
    pod["metadata"]["annotations"]["example.com/MANAGER"] = "TURN"
    for variable in pod["spec"]["containers"][0]["env"]:
        if "fieldRef" in variable.get("valueFrom", {}):
            variable["valueFrom"]["fieldRef"]["apiVersion"] = "v1"  # owned as a whole: without it, it is another one
    template = bench.directory / "applied-pod.json"
    template.write_bytes(orjson.dumps(pod))
    best = await bench.wrk("apply", f"{pods.PATH}/pod", str(template), str(bench.size.pods), str(pods.SLOTS))
    bench.note("applies by three managers", best.rate, "/s", 600 if bench.name == "sqlite" else None)
    bench.note("applies, server CPU each", best.cpu * 1e6, "µs")


def _managers_cpu_seconds() -> float:
    """What it costs to say who manages what of a new pod, of which there are others alike."""
    kind = schema.for_kind("v1", "Pod")
    pod, _ = kind.decode(pods.pod("pod-1", "1"))
    pod = kind.default({**pod, "status": {}})
    known = managers.versions_of(scheme.by_name("v1", "pods"))
    manager = Manager.of("wrk", UPDATE, "v1", "")
    rounds = 2_000
    before = time.process_time()
    for _ in range(rounds):
        entries.dump(updating.created(pod, {}, manager, known, "2026-01-01T00:00:00Z"))
    return (time.process_time() - before) / rounds


async def events(bench: Bench) -> None:
    for count in bench.size.watchers:
        for rate in (_STEADY_RATE, 0.0) if count <= 100 else (_STEADY_RATE / 10, 0.0):
            await _fan_out(bench, count, rate)
        await _fan_out(bench, count, 0.0, each=_WATCHES_EACH)


async def _fan_out(bench: Bench, watchers: int, rate: float, *, each: int = 0) -> None:
    """What `watchers` watches of all pods are told while pods are patched; `each`: how many share a connection."""
    async with _watching(bench, watchers, each) as watching:
        await bench.settled()
        before = bench.server.cpu_seconds
        patching = await bench.process("patching", bench.size.pods, rate, bench.size.seconds, _PATCH_CONNECTIONS)
        sent = json.loads((await patching.communicate())[0])
        seen = await _told(watching, sent["patches"] * watchers)
        cpu = bench.server.cpu_seconds - before
    if seen["events"] != sent["patches"] * watchers:
        raise wrk.LoadError(f"{sent['patches']} patches, {watchers} watchers, but {seen['events']} events")
    speed = f"{rate:.0f} patches/s" if rate else "full speed"
    what = f"{watchers} watchers{f', {each} a connection' if each else ''}, {speed}"
    at_hundred = bench.goals and watchers == 100 and not each
    bench.note(f"{what}: patches", sent["patches"] / sent["seconds"], "/s")
    bench.note(f"{what}: events", seen["events"] / seen["seconds"], "/s", 75_000 if at_hundred and not rate else None)
    bench.note(f"{what}: delay p50", seen["p50"] * 1e3, "ms")
    bench.note(f"{what}: delay p99", seen["p99"] * 1e3, "ms", 40 if at_hundred and rate else None, lower=True)
    bench.note(f"{what}: server CPU per event", cpu / seen["events"] * 1e6, "µs")
    bench.note(f"{what}: reader's CPU per event", seen["cpu"] / seen["events"] * 1e6, "µs")


async def idle(bench: Bench) -> None:
    """At a server that has had no watch yet: what one took goes back slowly, and is not taken a second time.

    The goal is for watches as client-go has them, all of a client on one connection.
    """
    for each, what in ((_WATCHES_EACH, f"{_WATCHES_EACH} a connection"), (0, "a connection each")):
        directory = bench.directory / f"idle-{each}" if bench.location == "sqlite" else bench.directory
        async with servers.apiserver(directory, bench.location) as server:
            fresh = replace(bench, server=server)
            await _revision(server)
            await fresh.settled()
            before = server.rss_bytes
            async with _watching(fresh, bench.size.idle, each):
                await fresh.settled()
                taken = (server.rss_bytes - before) / bench.size.idle
        bench.note(f"memory per idle watch, {what}", taken / 1e3, "KB", 10 if each else None, lower=True)


@contextlib.asynccontextmanager
async def _watching(bench: Bench, count: int, each: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with `count` watches that are open, from now on; `each`: how many share a connection, 0 for none."""
    revision = await _revision(bench.server)
    query = f"resourceVersion={revision}&allowWatchBookmarks=true&timeoutSeconds=600"
    process = await bench.process("watching", count, each, query)
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            assert process.stdout is not None
            if await process.stdout.readline() != b"ready\n":
                raise wrk.LoadError("the watches could not be opened")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _told(watching: asyncio.subprocess.Process, events: int) -> dict[str, Any]:
    """What the watches have seen, once they have seen so many events or no more come."""
    found: dict[str, Any] = json.loads((await watching.communicate(b"%d\n" % events))[0])
    return found


async def _revision(server: Process) -> str:
    revision: str = orjson.loads(await _list_once(server, _JSON, "?limit=1"))["metadata"]["resourceVersion"]
    return revision


async def _list_once(server: Process, accept: str, query: str = "") -> bytes:
    context = servers.client_context(server.ca)
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
    url = f"{server.url}{pods.PATH}{query}"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url, ssl=context) as answer:
        return await answer.read()


PARTS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "creates": creates,
    "gets": gets,
    "lists": lists,
    "shared": shared,
    "patches": patches,
    "applies": applies,
    "events": events,
    "idle": idle,
}


async def of_store(store: str, size: Size, parts: list[str], directory: Path, figures: list[Figure]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        location = store if store == "sqlite" else await stack.enter_async_context(servers.etcd(directory / "etcd"))
        server = await stack.enter_async_context(servers.apiserver(directory, location))
        bench = Bench(store, server, size, directory, location, goals=size is not QUICK, figures=figures)
        for part in ["creates", *parts]:
            await PARTS[part](bench)
        bench.note("RSS at the end", server.rss_bytes / 1e6, "MB")


async def of_sketch(size: Size, directory: Path, figures: list[Figure]) -> None:
    """The same requests to the least that a server can do; needs the certificate of a server that ran before."""
    body = orjson.dumps(pods.pod("pod-1", "1"))
    async with servers.sketch(directory, body.ljust(3000), size.pods) as server:
        bench = Bench("sketch", server, size, directory, "", goals=False, figures=figures)
        best = await bench.wrk("get", f"{pods.PATH}/pod", str(size.pods))
        bench.note("GETs", best.rate, "/s")
        bench.note("GETs, p99", best.p99 * 1e3, "ms")
        bench.note("GETs, server CPU each", best.cpu * 1e6, "µs")
        bench.note("GETs, client's CPU each", best.client_cpu * 1e6, "µs")
        best = await bench.wrk("list", pods.PATH, connections=_LIST_CONNECTIONS)
        bench.note("LIST of 500", best.megabytes_per_second, "MB/s")


async def measure(stores: list[str], size: Size, parts: list[str], figures: list[Figure], *, sketch: bool) -> None:
    """Adds to `figures` as it goes, so that they are there where something fails."""
    with tempfile.TemporaryDirectory() as scratch:
        for store in stores:
            await of_store(store, size, parts, Path(scratch) / store, figures)
        if sketch:
            await of_sketch(size, Path(scratch) / stores[0], figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="little of everything, in some seconds")
    parser.add_argument("--sketch", action="store_true", help="the yardstick, too")
    parser.add_argument("--store", action="append", choices=("sqlite", "etcd"), help="default: both")
    parser.add_argument("--only", help=f"some of {','.join(list(PARTS)[1:])}; pods are always created")
    arguments = parser.parse_args()
    parts = [part for part in PARTS if part != "creates" and part in (arguments.only or ",".join(PARTS)).split(",")]
    figures: list[Figure] = []
    stores, size = arguments.store or ["sqlite", "etcd"], QUICK if arguments.quick else Size()
    try:
        uvloop.run(measure(stores, size, parts, figures, sketch=arguments.sketch))
    finally:
        if figures:
            report(figures, arguments.json)


if __name__ == "__main__":
    main()
