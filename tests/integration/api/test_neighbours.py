"""What a tenant does that takes all it can get: its memory ends at its quota, and its neighbour hardly notices."""

import asyncio
import contextlib
import itertools
import json
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from hypernetes.api.status import StatusError
from hypernetes.cli import tenants
from hypernetes.client import Client, ClientConfig
from tests.integration.control_plane import ControlPlane, running

QUOTA_BYTES = 16 * 1024 * 1024
MAP_BYTES = 16 * 1024
SPARE_BYTES = 16 * 1024 * 1024  # of any server that writes: requests under way, SQLite's pages
CONNECTIONS, WRITERS = 500, 4
CONNECTION_BYTES = 512 * 1024  # with a piece of an answer in it, and what the allocator keeps of former ones
RATE, NEIGHBOURS = 100.0, 4  # the neighbour's requests per second, and its connections
SECONDS = 3.0
TIMES = 2.0  # the neighbour's p99 at most, to its quiet value
# Where the machine does more than this beside the test, the clock tells of that: there the time counts for which the
# server had a processor, and may be so much more.
QUIET_LOAD, WAIT_SECONDS = 1.0, 0.01
# The machine has other things to do, which come and go: what is quiet and what isn't is asked in turn, and medians are
# compared, of more rounds where the first ones don't tell.
LEAST_ROUNDS, MOST_ROUNDS = 3, 9
FIRST_NICE = -10
ANSWERED_SECONDS = 60.0
MAPS = "/api/v1/namespaces/default/configmaps"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


@dataclass(slots=True)
class Greedy:
    """The tenant that takes all it can get."""

    plane: ControlPlane
    client: Client
    token: str
    made: int = 0
    refused: int = 0
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def _write(self) -> None:
        while True:
            body = {"metadata": {"name": f"m-{next(self.numbers)}"}, "data": {"k": "x" * MAP_BYTES}}
            try:
                await self.client.request("POST", f"/tenants/acme{MAPS}", json=body)
                self.made += 1
            except StatusError as error:
                self.refused += "exceeded quota of the tenant" in error.message

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Meanwhile it makes ConfigMaps, and goes on when it is refused."""
        writers = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
        try:
            yield
        finally:
            for writer in writers:
                writer.cancel()
            ends = await asyncio.gather(*writers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[None]:
        """Meanwhile its connections are open, and each lists everything again and again."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.load.flooding", str(self.plane.port), str(authority(self.plane)),
            self.token, MAPS, str(CONNECTIONS), str(QUOTA_BYTES), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        put_first(process.pid)  # as the server is: it is to be a load
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
            yield
            told = json.loads((await asyncio.wait_for(process.communicate(b""), ANSWERED_SECONDS))[0])
            assert told["bytes"] >= QUOTA_BYTES, told
            print(f"  {told['lists']} lists, {told['bytes'] / 1e6:.0f} MB, {told['refused']} refused")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def token(client: Client) -> str:
    """Of an account that may do everything in its tenant."""
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": "all"}, "subjects": [subject], "roleRef": role}
    await client.request("POST", BINDINGS, json=body)
    return str((await client.request("POST", TOKEN, json={"spec": {}}))["status"]["token"])


def rss(plane: ControlPlane) -> int:
    """Bytes of memory that the server holds."""
    pages = Path(f"/proc/{plane.pid('apiserver')}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


async def asked(plane: ControlPlane, token: str) -> dict[str, float]:
    """How long the neighbour's GETs took, which come from a process of their own: see benchmarks/load/asking.py."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load.asking", str(plane.port), str(authority(plane)), token, f"{MAPS}/m",
        str(RATE), str(SECONDS), str(NEIGHBOURS), str(plane.pid("apiserver")), stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        told, _ = await asyncio.wait_for(process.communicate(), ANSWERED_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError("the neighbour is hardly answered at all") from None
    found: dict[str, float] = json.loads(told)
    return found


def put_first(pid: int) -> None:
    """Before what else the machine does, if this process may say so."""
    with contextlib.suppress(PermissionError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), FIRST_NICE)


def authority(plane: ControlPlane) -> Path:
    return plane.layout.root / "pki" / "ca.crt"


@dataclass(slots=True)
class Answered:
    """The neighbour's p99 in each round, in seconds by the clock, and without the time for which the server had no
    processor."""

    clock: list[float] = field(default_factory=list)
    net: list[float] = field(default_factory=list)

    def take(self, told: dict[str, float]) -> None:
        self.clock.append(told["p99"])
        self.net.append(told["net"])

    def nearly_as_quick_as(self, quiet: "Answered", *, by_the_clock: bool) -> bool:
        if by_the_clock:
            return median(self.clock) < TIMES * median(quiet.clock)
        return median(self.net) < median(quiet.net) + WAIT_SECONDS

    def __str__(self) -> str:
        return f"p99 {median(self.clock) * 1e3:.1f} ms, {median(self.net) * 1e3:.1f} without waits for a processor"


async def _is_quick_enough(plane: ControlPlane, token: str, greedy: Greedy) -> bool:
    """Whether the neighbour's p99 stays so near to its quiet value, whatever the greedy tenant does."""
    quiet, by_the_clock = Answered(), os.getloadavg()[0] < QUIET_LOAD
    loads = {"it writes": greedy.writing, "500 connections list everything": greedy.listing}
    beside = {what: Answered() for what in loads}
    for number in range(1, MOST_ROUNDS + 1):
        quiet.take(await asked(plane, token))
        for what, load in loads.items():
            async with load():
                beside[what].take(await asked(plane, token))
        enough = all(each.nearly_as_quick_as(quiet, by_the_clock=by_the_clock) for each in beside.values())
        if number >= LEAST_ROUNDS and number % 2 and enough:
            break
    print(f"the neighbour's GET, median of {number} rounds: quiet {quiet}; judged by the clock: {by_the_clock}")
    for what, each in beside.items():
        print(f"  while {what}: {each}")
    return enough


async def test_memory_ends_at_the_quota_and_the_neighbour_is_answered_nearly_as_quickly_as_ever(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, tenant="acme") as (plane, admin):
        await tenants.create(admin, plane.layout, "globex", None)
        quota = {"spec": {"quota": {"storedBytes": str(QUOTA_BYTES)}}}
        await admin.request(
            "PATCH", "/apis/hypernetes.io/v1/tenants/acme", json=quota, content_type="application/merge-patch+json"
        )  # fmt: skip
        kubeconfigs = [plane.layout.tenant_kubeconfig(name) for name in ("acme", "globex")]
        async with (
            Client(ClientConfig.from_kubeconfig(kubeconfigs[0])) as acme,
            Client(ClientConfig.from_kubeconfig(kubeconfigs[1])) as globex,
        ):
            greedy, quiet = Greedy(plane, acme, await token(acme)), await token(globex)
            await globex.request("POST", MAPS, json={"metadata": {"name": "m"}, "data": {"k": "x" * 1000}})
            await asked(plane, quiet)  # a server that has answered much holds more than one that has just begun
            before = rss(plane)
            async with greedy.writing():
                while not greedy.refused:
                    await asyncio.sleep(0.1)
            grown = rss(plane) - before
            print(f"\n{greedy.made} ConfigMaps of {MAP_BYTES} bytes until refused: {grown / 1e6:.1f} MB more memory, "
                  f"quota {QUOTA_BYTES / 1e6:.1f} MB")  # fmt: skip
            assert greedy.made * MAP_BYTES > 0.9 * QUOTA_BYTES
            assert grown < 2 * QUOTA_BYTES + SPARE_BYTES

            assert await _is_quick_enough(plane, quiet, greedy)
            assert rss(plane) - before < 2 * QUOTA_BYTES + SPARE_BYTES + CONNECTIONS * CONNECTION_BYTES
